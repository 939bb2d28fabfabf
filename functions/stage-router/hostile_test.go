package main

import (
	"fmt"
	"strings"
	"testing"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/test/hostile"
)

// TestHostileEvents: GitHub's payloads, and those of ours that carry what agents, models and people wrote.
func TestHostileEvents(t *testing.T) {
	f := setup(t)
	if got := f.deliver("labeled", "issues", fmt.Sprintf(labeled, "alice")); got != 202 {
		t.Fatal(got)
	}
	run := events.RunRef{Project: "demo", Repository: "acme/demo", Issue: 1}
	if err := f.sql.QueryRow(t.Context(), `SELECT id FROM runs`).Scan(&run.RunID); err != nil {
		t.Fatal(err)
	}
	templates := hostile.Templates(t,
		events.LabelObserved{Repository: "acme/demo", Issue: 2, Label: "run:dev", Labels: []string{"run:dev"}, Sender: "alice", SenderType: "User"},
		events.RunRequested{RunRef: run}, events.RunQueued{RunRef: run}, events.RunFinished{RunRef: run}, events.RunDeadline{RunRef: run}, events.RunCheck{RunRef: run},
		events.AgentStarted{RunRef: run}, events.AgentDelayed{RunRef: run}, events.AgentFinished{RunRef: run}, events.AgentFailed{RunRef: run}, events.AgentReported{RunRef: run},
		events.GitHubLookedUp{RunRef: run}, events.GitHubReviewed{RunRef: run}, events.RunWaiting{RunRef: run}, events.RunResumed{RunRef: run, Extended: []events.BudgetExtension{{Kind: "run", Name: run.RunID, Tokens: 1}}},
		events.ApprovalRequested{RunRef: run}, events.ApprovalDecided{RunRef: run}, events.ToolExecuted{RunRef: run}, events.LabelApproved{RunRef: run}, events.HoldRequested{RunRef: run}, events.LLMLimited{RunRef: run}, events.BudgetWarned{RunRef: run},
		events.CommandRequested{Repository: run.Repository, RepositoryID: run.RepositoryID, Issue: run.Issue, RunID: run.RunID, Command: events.CommandCancel},
		events.StormDue{Repository: run.Repository, RepositoryID: run.RepositoryID, Issue: run.Issue},
	)
	const pull = `"pull_request":{"number":2,"title":"t","body":"b","html_url":"https://github.example/acme/demo/pull/2","state":"open","draft":false,
		"merged":false,"merged_at":null,"merge_commit_sha":"1","labels":[{"name":"state:in-review"}],"updated_at":"2026-11-01T12:00:00Z",
		"head":{"ref":"codexk8s/issue-1","sha":"1","repo":{"id":7,"full_name":"acme/demo"}},"base":{"ref":"main","sha":"2","repo":{"id":7,"full_name":"acme/demo"}},
		"user":{"login":"bot","id":9,"type":"Bot"}},"repository":{"full_name":"acme/demo","id":7},"sender":{"login":"alice","id":1,"type":"User"}}`
	for action, body := range map[string]string{
		"pull_request":        `{"action":"closed","number":2,` + pull,
		"pull_request_review": `{"action":"submitted","review":{"id":5,"state":"changes_requested","body":"no","commit_id":"1","submitted_at":"2026-11-01T12:00:00Z","user":{"login":"alice","id":1,"type":"User"}},` + pull,
		"issue_comment": `{"action":"created","issue":{"number":1,"labels":[{"name":"mode:discussion"}]},"comment":{"id":5,"body":"Why?","updated_at":"2026-11-01T12:00:00Z",
			"user":{"login":"alice","id":1,"type":"User"}},"repository":{"full_name":"acme/demo","id":7},"sender":{"login":"alice","id":1,"type":"User"}}`,
		"check_run": `{"action":"completed","check_run":{"name":"build","head_sha":"1","status":"completed","check_suite":{"head_branch":"codexk8s/issue-1"}},
			"repository":{"full_name":"acme/demo","id":7},"sender":{"login":"ci","id":8,"type":"Bot"}}`,
		"check_suite": `{"action":"completed","check_suite":{"head_sha":"1","head_branch":"codexk8s/issue-1"},"repository":{"full_name":"acme/demo","id":7},"sender":{"login":"ci","id":8,"type":"Bot"}}`,
		"status":      `{"sha":"1","context":"build","state":"success","branches":[{"name":"codexk8s/issue-1"}],"repository":{"full_name":"acme/demo","id":7},"sender":{"login":"ci","id":8,"type":"Bot"}}`,
		"issues":      strings.Replace(fmt.Sprintf(labeled, "alice"), `"number":1`, `"number":3`, 1),
	} {
		templates[events.GitHubType(action)] = body
	}
	for _, eventType := range events.Catalog["stage-router"] {
		if templates[eventType] == "" {
			t.Errorf("%s has no template", eventType)
		}
	}
	hostile.Function{Name: function, Handler: f.router.Config.Handler, DB: f.db, SQL: f.sql}.Hear(t, templates)
}

// TestARunIsStoppedWhateverItsIssueSays: a run at work must always be stoppable.
func TestARunIsStoppedWhateverItsIssueSays(t *testing.T) {
	body := fmt.Sprintf(labeled, "alice")
	for name, stop := range map[string]string{
		"abort":  strings.Replace(strings.Replace(body, `"label":{"name":"run:dev"}`, `"label":{"name":"run:abort"}`, 1), "12:00:00", "12:05:00", 1),
		"closed": strings.NewReplacer(`"labeled"`, `"closed"`, `"open"`, `"closed"`, "12:00:00", "12:05:00").Replace(body),
	} {
		f := setup(t)
		if got := f.deliver("1", "issues", body); got != 202 {
			t.Fatalf("%s: the label: %d", name, got)
		}
		stop = strings.NewReplacer(`"A greeting"`, `"A\u0000 \ud800 `+strings.Repeat("x", 1<<20)+`"`, `"In French."`, `"\u0000"`).Replace(stop)
		if got := f.deliver("2", "issues", stop); got != 202 {
			t.Errorf("%s: %d", name, got)
		}
		var state stage.State
		if err := f.sql.QueryRow(t.Context(), `SELECT state FROM runs`).Scan(&state); err != nil || state != stage.Cancelled {
			t.Errorf("%s: the run is %s, %v", name, state, err)
		}
	}
}
