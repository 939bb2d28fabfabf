package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/tool"
)

const toolRun = "0b5c8d3e-1111-4222-8333-944445555666"

func (f *fixture) labels(id, name, arguments string, number int) events.ToolApproved {
	return events.ToolApproved{
		RunRef: events.RunRef{RunID: toolRun, Project: "p", Repository: repo, Issue: number}, CallID: id, Tool: name, Arguments: json.RawMessage(arguments),
	}
}

// An agent's labels are put on and taken off, told twice once; what GitHub refuses is told the agent.
func TestAnAgentsLabels(t *testing.T) {
	f := setup(t)
	f.sql.Do(`
		WITH p AS (INSERT INTO projects (id, name) VALUES ('p', 'p')),
		     w AS (INSERT INTO work_items (repository, issue, full_name) VALUES ($1, $2, $1))
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at)
		VALUES ($3, $1, $2, 'p', 'dev', 'dev', 'running', 'codex', 'm', 'ann', 'i', 'n', now())
	`, repo, f.issue, toolRun)
	url := f.instance()
	f.want(url, "1", f.labels("1", tool.LabelsAdd, `{"add":["bug","size/S"],"on":"issue"}`, f.issue), http.StatusAccepted)
	f.want(url, "2", f.labels("2", tool.LabelsTransition, `{"add":["feature"],"on":"issue","remove":["BUG"]}`, f.issue), http.StatusAccepted)
	f.want(url, "1", f.labels("1", tool.LabelsAdd, `{"add":["bug","size/S"],"on":"issue"}`, f.issue), http.StatusAccepted)
	f.want(url, "3", f.labels("3", tool.LabelsRemove, `{"on":"issue","remove":["never there"]}`, f.issue), http.StatusAccepted)
	f.want(url, "4", f.labels("4", tool.SecretSync, `{"name":"x"}`, f.issue), http.StatusAccepted)
	issue, err := f.github.Issue(repo, f.issue)
	must(t, err)
	slices.Sort(issue.Labels)
	if want := []string{"feature", "run:dev", "size/S"}; !slices.Equal(issue.Labels, want) {
		t.Errorf("labels %q, want %q", issue.Labels, want)
	}
	f.want(url, "5", f.labels("5", tool.LabelsAdd, `{"add":["bug"],"on":"issue"}`, 999), http.StatusAccepted)
	f.sql.Do(`UPDATE runs SET state = 'cancelled', finished_at = now()`)
	f.want(url, "6", f.labels("6", tool.LabelsAdd, `{"add":["late"],"on":"issue"}`, f.issue), http.StatusAccepted)
	var told []string
	for _, line := range f.emitted() {
		var e events.ToolExecuted
		if err := json.Unmarshal([]byte(line[strings.IndexByte(line, '{'):]), &e); err != nil {
			t.Fatal(err)
		}
		told = append(told, strings.TrimSpace(e.CallID+" "+e.Reason))
	}
	if want := []string{"1", "2", "3", "5 github_gone", "6 run_is_over"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
