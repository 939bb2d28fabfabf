package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/store"
)

func TestUsage(t *testing.T) {
	w := newWorld(t)
	w.exec(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/shop', 12, 'Acme/Shop')`)
	w.exec(`
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, started_at, work_ms)
		VALUES ('7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8', 'acme/shop', 12, 'shop', 'dev', 'dev', 'running', 'codex', 'm', 'ann', 'i', 'n', now(), now(), 0)`)
	w.exec(`
		INSERT INTO llm_calls (id, run_id, model, endpoint, status, started_at, duration_ms, input_tokens, cached_tokens, output_tokens, reasoning_tokens, cost_microusd)
		SELECT gen_random_uuid(), run::uuid, 'm', 'responses', 200, now() - interval '1 day' * days, 1, 1000, 800, 50, 20, money
		FROM (VALUES ('7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8', 0, 1234567), ('7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8', 1, 1), (NULL, 0, 7), (NULL, 40, 9000000)) c (run, days, money)`)
	w.exec(`UPDATE runs SET work_ms = 90500`)
	text, err := w.doctor("usage", "-by", "issue")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(text, "\n\n")
	want := `   dollars  calls  tokens in  cached  tokens out  reasoning  minutes  issue
  1.234568      2       2000    1600         100         40      1.5  acme/shop#12
  0.000007      1       1000     800          50         20      0.0  (the platform itself)
  1.234575      3       3000    2400         150         60      1.5  in all
`
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
	text, err = w.doctor("usage", "-o", "csv", "-since", "2000-01-01")
	want = "project,calls,input_tokens,cached_tokens,output_tokens,reasoning_tokens,dollars,work_seconds\n,2,2000,1600,100,40,9.000007,0.000\nshop,2,2000,1600,100,40,1.234568,90.500\n"
	if diff := cmp.Diff(want, text); diff != "" || err != nil {
		t.Errorf("CSV (-want +got): %v\n%s", err, diff)
	}
	text, err = w.doctor("usage", "-o", "json", "-by", "model")
	var got usage
	if err != nil || json.Unmarshal([]byte(text), &got) != nil {
		t.Fatalf("%v: %s", err, text)
	}
	row := store.Spending{Name: "m", Calls: 3, Input: 3000, Cached: 2400, Output: 150, Reasoning: 60, MicroUSD: 1_234_575, WorkMS: 90_500}
	total := row
	total.Name = ""
	now := time.Now().UTC()
	if diff := cmp.Diff(usage{By: "model", Since: got.Since, Until: got.Until, Rows: []store.Spending{row}, Total: total}, got); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	if since, err := time.Parse(time.DateOnly, got.Since); err != nil || now.Sub(since) < 29*24*time.Hour || now.Sub(since) > 31*24*time.Hour {
		t.Errorf("since %s", got.Since)
	}
	for _, bad := range [][]string{{"-by", "person"}, {"-since", "yesterday"}, {"-o", "xml"}, {"shop"}} {
		if out, err := w.doctor(append([]string{"usage"}, bad...)...); err == nil || out != "" {
			t.Errorf("usage %s: %q, %v", bad, out, err)
		}
	}
}
