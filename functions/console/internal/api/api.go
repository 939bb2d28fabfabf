// Package api is the console's contract, openapi.yaml, with the types and the server that are generated from it
// (`make generate`). The contract is written by hand and comes first: what is not in it does not exist.
package api

import (
	_ "embed"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var document []byte

// Document serves the contract. Everybody may read it.
func Document(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(document) // the reader may have gone
}

// rights are the operations of package access by operationId.
var rights = sync.OnceValue(func() map[string]string {
	var contract struct {
		Paths map[string]map[string]yaml.Node
	}
	if err := yaml.Unmarshal(document, &contract); err != nil {
		panic(err) // the program is incomplete
	}
	all := map[string]string{}
	for _, item := range contract.Paths {
		for _, node := range item {
			var o struct {
				ID    string `yaml:"operationId"`
				Right string `yaml:"x-access"`
			}
			if node.Decode(&o) == nil && o.ID != "" { // what is no operation is a list of parameters
				all[o.ID] = o.Right
			}
		}
	}
	return all
})

// Right is the operation of package access that an operation of the contract is, by the name of its method.
func Right(method string) string { return rights()[strings.ToLower(method[:1])+method[1:]] }

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
