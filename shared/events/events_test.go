package events

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

var at = time.Date(2026, 11, 1, 12, 30, 0, 0, time.UTC)

// examples has one payload of each type, every field filled: TestGolden says so.
var examples = append([]Payload{
	RunRequested{RunRef: ref, Stage: "dev", Kind: KindRevise, RequestedBy: "alice"},
	RunFinished{RunRef: ref, State: "failed", Reason: "oom_killed"},
	RunQueued{RunRef: ref},
	RunWaiting{RunRef: ref, For: "approval"},
	RunResumed{RunRef: ref, Extended: []BudgetExtension{{Kind: "project", Name: "demo", Period: "2026-11-28", Tokens: 500000, MicroUSD: 2000000, WorkMS: 900000, Runs: 3}}},
	RunDeadline{RunRef: ref},
	HoldRequested{RunRef: ref},
	CommandRequested{
		Repository: "acme/demo", RepositoryID: 77, Issue: 12, RunID: ref.RunID, Command: CommandStart, Label: "run:dev:revise", Text: "Keep the old name of the flag.",
		Seen: "0123456", By: GitHubAccount{Login: "alice", ID: 1}, At: at,
	},
	StormDue{Repository: "acme/shop", RepositoryID: 42, Issue: 12, Look: 1},
	RunCheck{RunRef: ref, Namespace: "codexk8s-run-0123456789ab", Round: 2, Silent: true, Attempt: 1},
	AgentRequested{
		RunRef: ref, Namespace: "codexk8s-run-0123456789ab", Stage: "dev", Role: "dev", Engine: "codex",
		Deadline: at, ExpiresAt: at.Add(time.Hour), CPU: "1", Memory: "2Gi", Runtime: "gvisor", Sandbox: "agent-sandbox", Attempt: 1, Kubernetes: KubernetesRead, Services: []Service{{
			Name: "prices", Image: "ghcr.io/acme/prices:1.4", Port: 9000, Protocol: "h2c", Command: []string{"/prices"}, Args: []string{"--demo"},
			Env: map[string]string{"CURRENCY": "EUR"}, Secrets: map[string]string{"DATABASE_URL": "database/url"}, CPU: "500m", Memory: "512Mi", MaxScale: 2, Ready: "/healthz",
		}},
	},
	AgentStopRequested{RunRef: ref, Namespace: "codexk8s-run-0123456789ab", Attempt: 1, Reason: "aborted"},
	AgentStarted{RunRef: ref, Namespace: "codexk8s-run-0123456789ab", Job: "agent", Attempt: 1},
	AgentDelayed{RunRef: ref, Namespace: "codexk8s-run-0123456789ab", Attempt: 1, Reason: "namespace_stuck", Message: "It is still there."},
	AgentFinished{RunRef: ref, Namespace: "codexk8s-run-0123456789ab", Attempt: 1},
	AgentFailed{RunRef: ref, Namespace: "codexk8s-run-0123456789ab", Attempt: 1, Reason: "image_pull", Message: "The image can't be pulled."},
	AgentReported{
		RunRef: ref, Attempt: 1, Outcome: "failed", Reason: "write_scope", Summary: "Done.", Branch: "codexk8s/issue-12", HeadSHA: "c0ffee",
		PullRequest: 13, PullRequestURL: "https://github.com/acme/demo/pull/13", ThreadID: "t-1", ChangedFiles: []string{"main.go"}, Incomplete: true,
	},
	EnvironmentExpired{RunRef: ref, Namespace: "codexk8s-run-0123456789ab"},
	EnvironmentRemoved{RunRef: ref, Namespace: "codexk8s-run-0123456789ab"},
	GitHubChangeRequested{
		Repository: "acme/demo", RepositoryID: 77, Issue: 12, PullRequest: 13, RunID: ref.RunID,
		On: []string{"state:in-review"}, Off: []string{"run:dev"},
		PullOn: []string{"state:in-review"}, PullOff: []string{"state:approved"}, PullBase: "main",
		Comment: "Done.", Version: 3,
		Status: &CommitStatus{SHA: "c0ffee", State: "success", Context: "codexk8s/dev", Description: "Done."},
		Note:   &GitHubNote{Key: "approval/" + ref.RunID, Text: "Approval needed", Version: 1},
		Base:   "main", Branch: "codexk8s/issue-12",
	},
	GitHubChanged{Repository: "acme/demo", Issue: 12, RunID: ref.RunID, CommentID: 99},
	GitHubLookupRequested{
		RunRef: ref, Attempt: 1, Path: "services.yaml", Ref: "main", Files: []string{"docs/prd.md"}, In: []string{"codexk8s/issue-12", "main"},
		Head: "c0ffee", PullRequest: 13, Branch: "codexk8s/issue-12", Base: "badf00d", Write: []string{"**/*.md"}, Words: []string{"run:prd"},
	},
	GitHubReviewRequested{RunRef: ref, PullRequest: 34, Branch: "codexk8s/issue-12", Head: "c0ffee", Role: "reviewer", Model: "gpt-5.4", Text: "Fit.\n\n## Findings\n- `a.go:3` **minor**: x"},
	GitHubReviewed{RunRef: ref, PullRequest: 34, Head: "c0ffee", ReviewID: 7, URL: "https://github.com/acme/demo/pull/34#pullrequestreview-7", OnLines: 1, InSummary: 2,
		Reason: "github_refused", Message: "GitHub refuses it."},
	GitHubLookedUp{
		RunRef: ref, Attempt: 1, Path: "services.yaml", Ref: "main", Found: true, Content: "services: []", SHA: "c0ffee",
		Head: "c0ffee", From: "main", Files: []FoundFile{{Path: "docs/prd.md", In: "main", SHA: "beef", Size: 7, Faults: []string{"line 3: TODO"}, Says: "run:prd"}}, Outside: []string{"main.go"},
		Tip: "c0ffee", Apart: true, Checks: []Check{{Name: "build", State: CheckFailed, Said: "failure: 2 tests failed"}},
		Reason: "too_large", Message: "The file has 70000 bytes.",
	},
	GitHubLabelsRequested{Repository: "acme/demo", RepositoryID: 77, Labels: []RepositoryLabel{{Name: "run:dev", Colour: "1d76db", Description: "Works on the issue"}}},
	LabelObserved{
		Repository: "acme/demo", RepositoryID: 77, Issue: 12, Title: "T", Body: "B", URL: "https://github.com/acme/demo/issues/12", Label: "run:dev",
		Labels: []string{"run:dev"}, Sender: "alice", SenderID: 1, SenderType: "User", LabeledAt: at, UpdatedAt: at, Rewriter: "mallory", DefaultBase: "main", CloneURL: "https://github.com/acme/demo.git",
	},
	LLMRequested{RequestID: "r-1", Model: "gpt-5.4", Messages: []LLMMessage{{Role: "user", Content: "Hello"}}, MaxTokens: 100},
	LLMAnswered{RequestID: "r-1", Model: "gpt-5.4", Content: "Hello", InputTokens: 1, OutputTokens: 2},
	BudgetWarned{RunRef: ref, Scope: "issue", Percent: 80, Line: "80 % of the budget of this issue is used: $8.10 of $10.00"},
	NoticeRequested{RunRef: ref, Key: "budget issue " + ref.RunID + " 80",
		Text: "80 % of the budget of this issue is used: $8.10 of $10.00, by run:dev on acme/demo#12.", Targets: []ApprovalTarget{{Channel: "slack", Target: "C0123ABC"}}},
	LLMLimited{RunRef: ref, Attempt: 1, Model: "gpt-5.4", Fallback: "gpt-5.3-codex", Until: at, Reason: "rate_limited", Message: "Rate limit reached."},
	LLMFailed{RequestID: "r-1", Reason: "refused", Message: "No."},
}, approvals...)

var ref = RunRef{RunID: "01234567-89ab-5def-8123-456789abcdef", Project: "demo", Repository: "acme/demo", RepositoryID: 77, Issue: 12}

// What is stored outlives the release that stored it: a golden file changes only by adding fields.
func TestGolden(t *testing.T) {
	for _, p := range examples {
		for f, v := range reflect.ValueOf(p).Fields() {
			if v.IsZero() {
				t.Errorf("%T: the example leaves %s empty", p, f.Name)
			}
		}
		got, err := json.MarshalIndent(p, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		file := filepath.Join("testdata", strings.TrimPrefix(p.EventType(), Prefix)+".json")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func TestEveryTypeOfOursInTheCatalogHasAnExample(t *testing.T) {
	var known []string
	for _, p := range examples {
		known = append(known, p.EventType())
	}
	for function, types := range Catalog {
		for _, typ := range types {
			if IsOurs(typ) && !slices.Contains(known, typ) {
				t.Errorf("%s consumes %s, which no payload has", function, typ)
			}
		}
	}
}

func cause() event.Event {
	e := event.New()
	e.SetID("guid-1")
	e.SetSource("https://github.com/acme/demo")
	e.SetType(GitHubType("issues"))
	e.SetExtension(ExtTraceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	return e
}

func TestTheSameDecisionHasTheSameEnvelope(t *testing.T) {
	a, err := New(cause(), "stage-router", 0, Now(RunDeadline{RunRef: ref}))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := New(cause(), "stage-router", 0, Now(RunDeadline{RunRef: ref}))
	if diff := cmp.Diff(a.String(), b.String()); diff != "" {
		t.Error(diff)
	}
	want := map[string]any{
		ExtCorrelation: "acme/demo#12", ExtPartition: "acme/demo#12", extCausation: "guid-1",
		ExtTraceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	if diff := cmp.Diff(want, a.Extensions()); diff != "" {
		t.Errorf("extensions (-want +got):\n%s", diff)
	}
	other, _ := New(cause(), "stage-router", 1, Now(RunDeadline{RunRef: ref}))
	elsewhere, _ := New(cause(), "run-observer", 0, Now(RunDeadline{RunRef: ref}))
	if a.ID() == other.ID() || a.ID() == elsewhere.ID() {
		t.Error("two different drafts have one id")
	}
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	e := cause()
	if _, err := Decode[RunCheck](e); err == nil {
		t.Error("an event of another type was decoded")
	}
	e.SetType(RunCheck{}.EventType())
	if err := e.SetData(event.ApplicationJSON, []byte(`{"round":"three"}`)); err != nil {
		t.Fatal(err)
	}
	_, err := Decode[RunCheck](e)
	if r, ok := AsRejected(err); !ok || !r.Malformed {
		t.Errorf("got %v, want a refusal of malformed data", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range examples {
		data, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := cause()
		e.SetType(AgentReported{}.EventType())
		e.DataEncoded = data
		e.SetDataContentType(event.ApplicationJSON)
		p, err := Decode[AgentReported](e)
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if p2 := new(AgentReported); json.Unmarshal(again, p2) != nil || !bytes.Equal(again, must(json.Marshal(p2))) {
			t.Errorf("%s does not survive a round trip", data)
		}
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// An event that is stored and can't be sent would be tried for half a day.
func TestSendable(t *testing.T) {
	for name, change := range map[string]func(*event.Event){
		"a line end":       func(e *event.Event) { e.SetSubject("a\r\nCe-Type: b") },
		"a zero byte":      func(e *event.Event) { e.SetExtension("sender", "a\x00") },
		"a long source":    func(e *event.Event) { e.SetSource("https://example.com/" + strings.Repeat("x", maxAttribute)) },
		"no UTF-8":         func(e *event.Event) { e.SetSubject("\xff") },
		"a long extension": func(e *event.Event) { e.SetExtension(ExtCorrelation, strings.Repeat("ü", maxAttribute)) },
	} {
		e := event.New()
		e.SetID("id 1, größe \"100 %\"")
		e.SetSource("test")
		e.SetExtension("n", 5)
		if err := Sendable(e); err != nil {
			t.Fatal(err)
		}
		change(&e)
		if rejected, ok := AsRejected(Sendable(e)); !ok || rejected.Reason != "unsendable" {
			t.Errorf("%s: %v", name, Sendable(e))
		}
	}
	if _, err := New(event.New(), "test", 0, Now(RunDeadline{RunRef{RunID: "a\nb"}})); err == nil {
		t.Error("a run id of two lines became an event's subject")
	}
}
