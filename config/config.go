// Package config is the manifests of this folder, for a program that looks whether a cluster has them.
package config

import "embed"

// Files are the manifests of a release without overlays; those of eventing/ are beside them.
//
//go:embed *.yaml
var Files embed.FS
