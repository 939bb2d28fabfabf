// Package eventing is the manifests of this folder, for a program that looks whether a cluster has them.
package eventing

import "embed"

// Files are the manifests of a release without overlays; those of config/ are beside them.
//
//go:embed *.yaml
var Files embed.FS
