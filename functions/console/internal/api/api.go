// Package api is the console's contract, openapi.yaml, with the types and the server that are generated from it
// (`make generate`). The contract is written by hand and comes first: what is not in it does not exist.
package api

import (
	_ "embed"
	"net/http"
	"reflect"
	"strings"
)

//go:embed openapi.yaml
var document []byte

// Document serves the contract. Everybody may read it.
func Document(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(document) // the reader may have gone
}

// Parameters are the names that the operation of a generated request takes in the address.
func Parameters(request any) (names []string) {
	params, ok := reflect.TypeOf(request).FieldByName("Params")
	if !ok {
		return nil
	}
	for i := range params.Type.NumField() {
		name, _, _ := strings.Cut(params.Type.Field(i).Tag.Get("form"), ",")
		if name != "" { // that of a header is not in the address
			names = append(names, name)
		}
	}
	return names
}
