// Package contract has the public contract between the platform and HTTP approvers and executors, version 1, as an
// OpenAPI 3.1 document: what an adapter is sent, what it may answer, what it calls back, and who retries what.
//
// The document is the contract, so it changes only by additions. A test checks its examples against its schemas.
package contract

import _ "embed"

// OpenAPI is the document, YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte
