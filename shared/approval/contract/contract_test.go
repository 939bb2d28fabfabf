package contract

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is the contract as values of JSON.
func document(t *testing.T) any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSON()))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// schemas compiles the document's own.
func schemas(t *testing.T, doc any) func(pointer string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("contract.json", doc); err != nil {
		t.Fatal(err)
	}
	return func(pointer string) *jsonschema.Schema {
		s, err := c.Compile("contract.json#" + pointer)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// walk calls visit for everything in the document, with its JSON pointer.
func walk(v any, pointer string, visit func(pointer string, v map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(pointer, v)
		for key, inner := range v {
			walk(inner, pointer+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(key), visit)
		}
	case []any:
		for i, inner := range v {
			walk(inner, fmt.Sprintf("%s/%d", pointer, i), visit)
		}
	}
}

func TestExamplesFitTheirSchemas(t *testing.T) {
	doc := document(t)
	schema := schemas(t, doc)
	examples := 0
	walk(doc, "", func(pointer string, media map[string]any) {
		all, ok := media["examples"].(map[string]any)
		if !ok {
			return
		}
		// A pointer in a URL's fragment has its braces and dollar escaped.
		s := schema(strings.NewReplacer("{", "%7B", "}", "%7D", "$", "%24", "#", "%23").Replace(pointer) + "/schema")
		for name, example := range all {
			examples++
			if err := s.Validate(example.(map[string]any)["value"]); err != nil {
				t.Errorf("%s, example %s: %v", pointer, name, err)
			}
		}
	})
	if examples < 10 {
		t.Errorf("only %d examples were found", examples)
	}
}

func TestEverythingReferredToIsThere(t *testing.T) {
	doc := document(t)
	walk(doc, "", func(pointer string, v map[string]any) {
		ref, ok := v["$ref"].(string)
		if !ok {
			return
		}
		at := doc
		for _, step := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			inner, _ := at.(map[string]any)
			at = inner[step]
		}
		if at == nil {
			t.Errorf("%s refers to %s, which is not there", pointer, ref)
		}
	})
}

// What the adapters that are around send and get wrong is told apart.
func TestWhatTheSchemasRefuse(t *testing.T) {
	doc := document(t)
	schema := schemas(t, doc)
	for _, c := range []struct {
		schema, body string
		fits         bool
	}{
		{"ApproverCallback", `{"correlation_id":"a","decision":"approve","reason":"","tool":"x","unknown":1}`, true},
		{"ApproverCallback", `{"correlation_id":"a","decision":"approved"}`, false},
		{"ApproverCallback", `{"correlation_id":"a","decision":"pending"}`, false},
		{"ApproverCallback", `{"decision":"approve"}`, false},
		{"ApproverCallback", `{"correlation_id":"approve|1","decision":"approve"}`, false},
		{"ExecutorCallback", `{"correlation_id":"a","status":"success","result":"done"}`, false},
		{"ExecutorCallback", `{"correlation_id":"a","status":"success","result":{"selected_option":"x","custom":false}}`, false},
		{"ExecutorCallback", `{"correlation_id":"a","status":"success","result":{"selected_option":"x","selected_index":5,"custom":false}}`, false},
		{"ExecutorCallback", `{"correlation_id":"a","status":"success","result":{"selected_option":"x","custom":true}}`, true},
		{"ExecutorCallback", `{"correlation_id":"a","status":"error","result":"execution timeout"}`, true},
		{"ApproverAnswer", `{"decision":"pending","reason":"queued","correlation_id":"a"}`, true},
		{"ApproverAnswer", `{"status":"pending"}`, false},
	} {
		body, err := jsonschema.UnmarshalJSON(strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema("/components/schemas/" + c.schema).Validate(body); (err == nil) != c.fits {
			t.Errorf("%s %s: %v", c.schema, c.body, err)
		}
	}
}
