package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"codexk8s.dev/shared/access"
)

// TestTheContractNamesRights: each operation of the contract is one of package access.
func TestTheContractNamesRights(t *testing.T) {
	doc, _ := readContract(t)
	n := 0
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			n++
			right, _ := o.Extensions["x-access"].(string)
			if !slices.Contains(access.Operations(), access.Operation(right)) {
				t.Errorf("%s %s needs %q, which package access does not know", method, path, right)
			}
		}
	}
	if n < 8 {
		t.Errorf("the contract has %d operations", n)
	}
}

func readContract(t *testing.T) (*openapi3.T, routers.Router) {
	t.Helper()
	data, err := os.ReadFile("internal/api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return doc, router
}

// TestAnswersAreTheContracts holds what the console answers, and refuses, to the contract.
func TestAnswersAreTheContracts(t *testing.T) {
	f := setup(t)
	r := f.ask(runC, "shop", nil)
	_, router := readContract(t)
	mary := f.as("mary")
	for path, want := range map[string]int{
		"GET /v1/me": 200, "GET /v1/runs": 200, "GET /v1/runs?q=state:failed&limit=1": 200, "GET /v1/runs/" + runA: 200, "GET /v1/runs/" + runA + "/timeline": 200,
		"GET /v1/runs/" + runB + "/log?from=-5": 200, "GET /v1/runs/" + runB + "/log?grep=error&limit=3": 200, "GET /v1/approvals": 200, "GET /v1/approvals/" + r.ID: 200,
		"GET /v1/runs?q=colour:red": 400, "GET /v1/runs?limit=x": 400, "GET /v1/runs?limit=1000": 400, "GET /v1/runs?colour=red": 400, "GET /v1/runs?cursor=x": 400, "GET /v1/runs?q=a&q=b": 400,
		"GET /v1/runs/" + missing: 404, "GET /v1/runs/%00": 404, "GET /v1/runs/no-uuid": 404, "GET /v1/runs/" + runB + "/log?from=9999999": 400, "GET /v1/approvals/x": 404,
		"POST /v1/approvals/" + r.ID + "/votes": 400, "POST /v1/approvals/" + r.ID + "/votes?dry_run=true": 400,
	} {
		method, address, _ := strings.Cut(path, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, f.server.URL+address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := mary.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", path, resp.StatusCode, body, want)
			continue
		}
		at, _ := http.NewRequestWithContext(t.Context(), method, address, http.NoBody)
		route, params, err := router.FindRoute(at)
		if err != nil {
			t.Errorf("%s is not in the contract: %v", path, err)
			continue
		}
		in := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: at, PathParams: params, Route: route}, Status: resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(body)),
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		}
		if err := openapi3filter.ValidateResponse(t.Context(), in); err != nil {
			t.Errorf("%s: %v\n%s", path, err, body)
		}
	}
}
