// Package contract has the public contract between the platform and HTTP approvers and executors, version 1, as an
// OpenAPI 3.1 document: what an adapter is sent, what it may answer, what it calls back, and who retries what.
//
// The document is the contract, so it changes only by additions. It is written in YAML, for people, and served in JSON
// by approval-callback. A test checks its examples against its schemas.
package contract

import (
	_ "embed"
	"encoding/json"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openAPI []byte

// JSON is the document. It is read at the first call, which the start of a function need not wait for.
var JSON = sync.OnceValue(func() []byte {
	var document any
	err := yaml.Unmarshal(openAPI, &document)
	if err != nil {
		panic("openapi.yaml: " + err.Error())
	}
	text, err := json.Marshal(document)
	if err != nil {
		panic("openapi.yaml: " + err.Error())
	}
	return text
})
