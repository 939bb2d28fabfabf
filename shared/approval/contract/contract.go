// Package contract has the public contract between the platform and HTTP approvers and executors, version 1, as an
// OpenAPI 3.1 document: what an adapter is sent, what it may answer, what it calls back, and who repeats what.
//
// The document is the contract, so what it promises changes only by adding. Its examples are held against its own
// schemas.
package contract

import _ "embed"

// OpenAPI is the document, YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte
