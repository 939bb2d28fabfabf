package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// A router hears events as stage-router does.
type router struct {
	*world
	db    *store.DB
	clock time.Time
	n     int

	process *stage.Process // the installation's, of one stage
}

func newRouter(t *testing.T) *router {
	w := newWorld(t)
	w.exec(`INSERT INTO members (project_id, login, role, github_id) VALUES ('shop', 'alice', 'maintainer', 1), ('shop', 'rita', 'reader', NULL)`)
	db, err := store.Open(t.Context(), "stage-router", w.env.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	r := &router{world: w, db: db, clock: time.Now().UTC().Add(-time.Hour).Truncate(time.Second)}
	db.SetClock(func() time.Time { return r.clock })
	w.env.ProcessFile = "../../shared/stage/testdata/one_stage.yaml"
	text, err := os.ReadFile(w.env.ProcessFile)
	if err == nil {
		r.process, err = stage.Parse(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	db.UseProcess(r.process)
	return r
}

// hear takes an event as stage-router does, and then what that emitted for itself.
func (r *router) hear(e event.Event) {
	r.Helper()
	r.clock = r.clock.Add(time.Minute)
	about, in, err := stage.Hear(e)
	if err != nil {
		r.Fatal(err)
	}
	home, err := r.db.Home(r.Context(), about)
	if err != nil {
		r.Fatal(err)
	}
	emitted, err := r.db.Step(r.Context(), e, home.Key(), func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		item, learnt, err := tx.Item(ctx, home, in.Needs(home.Repository.Key, home.Issue))
		if err != nil {
			return events.Decision{}, err
		}
		next, d, err := stage.Decide(item, in, tx.Now())
		d.Audit = append(learnt, d.Audit...)
		return d, errors.Join(err, tx.SaveItem(ctx, next, item))
	})
	if err != nil {
		r.Fatal(err)
	}
	for _, e := range emitted {
		if t := e.Type(); t == (events.RunRequested{}).EventType() || t == (events.RunFinished{}).EventType() {
			r.admit(e)
		}
	}
}

func (r *router) admit(e event.Event) {
	r.Helper()
	if _, err := r.db.Step(r.Context(), e, "project/shop", func(ctx context.Context, tx *store.Tx) (d events.Decision, err error) {
		settings, places, err := tx.Places(ctx, "shop")
		if err != nil {
			return d, err
		}
		for _, a := range stage.Admit(settings, places, tx.Now()) {
			if err := tx.Admit(ctx, a); err != nil {
				return d, err
			}
			d.Emit, d.Audit = append(d.Emit, a.Emit...), append(d.Audit, a.Audit...)
		}
		return d, nil
	}); err != nil {
		r.Fatal(err)
	}
}

// label is a person's label on an issue, as GitHub tells of it.
func (r *router) label(issue int, label, login string) {
	r.Helper()
	r.hear(r.issue(issue, "labeled", label, login))
}

func (r *router) issue(issue int, action, label, login string) event.Event {
	r.Helper()
	id := map[string]int64{"alice": 1, "rita": 2, "mallory": 3}[login]
	body, err := json.Marshal(map[string]any{
		"action": action, "label": map[string]any{"name": label},
		"issue": map[string]any{"number": issue, "title": "A greeting", "body": "In French.", "state": map[bool]string{true: "closed", false: "open"}[action == "closed"],
			"labels": []any{map[string]any{"name": label}}, "updated_at": r.clock.Add(time.Minute), "user": map[string]any{"login": "alice", "id": 1}},
		"repository": map[string]any{"full_name": "acme/shop", "default_branch": "main", "clone_url": "https://github.example/acme/shop.git"},
		"sender":     map[string]any{"login": login, "id": id, "type": "User"},
	})
	if err != nil {
		r.Fatal(err)
	}
	e := event.New()
	e.SetID(fmt.Sprintf("delivery-%d", r.n))
	r.n++
	e.SetType(events.GitHubType("issues"))
	e.SetSource("https://github.com/acme/shop")
	e.SetExtension(events.ExtCorrelation, events.WorkItem("acme/shop", issue))
	if err := e.SetData(event.ApplicationJSON, json.RawMessage(body)); err != nil {
		r.Fatal(err)
	}
	r.stored(e)
	return e
}

// stored puts an event into the log, as who sends it does.
func (r *router) stored(e event.Event) {
	r.Helper()
	if _, err := r.db.Receive(r.Context(), []store.Arrival{{Event: e}}); err != nil {
		r.Fatal(err)
	}
}

// says is an event about the issue's newest run.
func (r *router) says(issue int, payload func(events.RunRef) events.Payload) {
	r.Helper()
	ref := events.RunRef{Project: "shop", Repository: "acme/shop", Issue: issue}
	ref.RunID = r.sql.Lines(`SELECT id::text FROM runs WHERE issue = $1 ORDER BY created_at DESC LIMIT 1`, issue)[0]
	emitted, err := r.db.Emit(r.Context(), store.Cause{Source: "/agent", ID: uuid.NewString()}, "", func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{Emit: []events.Draft{events.Now(payload(ref))}}, nil
	})
	if err != nil {
		r.Fatal(err)
	}
	r.hear(emitted[0])
}

func started(ref events.RunRef) events.Payload {
	return events.AgentStarted{RunRef: ref, Namespace: "n", Job: "agent"}
}

// looked is GitHub's word that what was reported is there.
func looked(ref events.RunRef) events.Payload {
	head := strings.Repeat("ab", 20)
	return events.GitHubLookedUp{RunRef: ref, Head: head, Tip: head}
}

func succeeded(ref events.RunRef) events.Payload {
	return events.AgentReported{RunRef: ref, Outcome: "succeeded", PullRequest: ref.Issue + 100, HeadSHA: strings.Repeat("ab", 20), Branch: fmt.Sprintf("codexk8s/issue-%d", ref.Issue)}
}

// state is all that may not change by looking.
func (r *router) state() string {
	return strings.Join(r.sql.Lines(`SELECT 'events ' || count(*) FROM events UNION ALL SELECT 'audit ' || count(*) FROM audit
		UNION ALL SELECT 'runs ' || string_agg(id::text || state, ',') FROM runs UNION ALL SELECT 'items ' || string_agg(issue || ':' || version, ',') FROM work_items`), "; ")
}

// plain takes out of a text what differs from one test run to the next.
func plainText(text string) string {
	for _, r := range [][2]string{
		{`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`, "ID"}, {`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "DAY TIME"}, {`\d\d:\d\d:\d\d`, "TIME"},
		{`\b[0-9a-f]{8}, (the|version|an)`, "HASH, $1"}, {`\b\d+(s|m|h\d\dm) ago`, "N ago"}, {`text [0-9a-f]{7}`, "text DIGEST"},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return text
}

func (r *router) golden(what, want string, args ...string) {
	r.Helper()
	text, err := r.doctor(args...)
	if err != nil {
		r.Errorf("%s: %v", what, err)
	}
	if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(plainText(text))); diff != "" {
		r.Errorf("%s (-want +got):\n%s\n%s", what, diff, plainText(text))
	}
}

// TestAnIssueIsExplained: what was done and why, what a label would do, where its run stands.
func TestAnIssueIsExplained(t *testing.T) {
	r := newRouter(t)
	r.label(1, "run:dev", "mallory")
	r.label(1, "run:dev", "alice")
	r.label(2, "run:dev", "alice")
	r.label(3, "run:dev", "alice")
	r.says(1, started)
	r.golden("a run at work", explainedRun, "explain", "acme/shop#1")
	r.golden("a run that waits for its place", explainedQueue, "explain", "https://github.com/Acme/Shop/issues/3")
	r.golden("an issue that nobody has touched", explainedNothing, "explain", "acme/shop#9")
	r.golden("a repository of nobody", explainedNobody, "explain", "acme/other#1")
}

// TestSimulatedEventsChangeNothing, and say what the same label says when it comes.
func TestSimulatedEventsChangeNothing(t *testing.T) {
	r := newRouter(t)
	r.label(1, "run:dev", "alice")
	r.says(1, started)
	before := r.state()
	for event, want := range map[string]string{
		"label run:dev by alice":          "does nothing (run_active)",
		"label run:abort by @Alice":       "It stops run",
		"label run:dev by rita":           "does nothing (sender_not_permitted)",
		"label run:abort by mallory":      "does nothing (sender_not_permitted)",
		"label run:dev by robot[bot]":     "does nothing (sender_is_bot)",
		"label run:nothing by alice":      "does nothing (unknown_stage)",
		"label bug by alice":              "does nothing: it means nothing to any run",
		"close by mallory":                "It stops run",
		"reopen by alice":                 "does nothing: ",
		"comment looks good by alice":     "does nothing: no discussion is on, so only /approve",
		"comment /approve by alice":       "does nothing: no request of an agent is open here",
		"label \"run:dev:revise\" by bob": "does nothing (sender_not_permitted)",
	} {
		text, err := r.doctor("simulate", "--", "acme/shop#1", event)
		if err != nil || !strings.Contains(text, want) || !strings.HasSuffix(text, "Nothing was changed.\n") {
			t.Errorf("%s: %v, want %q\n%s", event, err, want, text)
		}
	}
	text, err := r.doctor("simulate", "-o", "json", "https://github.com/Acme/Shop/issues/2", "label run:dev by alice")
	var s simulation
	if err != nil || json.Unmarshal([]byte(text), &struct {
		*simulation
		Emits []struct{ Type string } `json:"emits"`
	}{simulation: &s}) != nil || s.Does != "starts" || s.Role != "maintainer" || len(s.Audit) != 1 {
		t.Errorf("%v %+v\n%s", err, s, text)
	}
	for _, args := range [][]string{{"acme/shop", "close by bob"}, {"acme/shop#1", "dance by bob"}, {"acme/shop#1", "label run:dev"}, {"acme/shop#1", "label by bob"}, {"acme/shop#1", "review shrugs by bob"}, {"acme/shop#1", "merge by bob"}} {
		if text, err := r.doctor("simulate", args[0], args[1]); err == nil || !strings.Contains(err.Error(), args[0]) && !strings.Contains(err.Error(), "want") {
			t.Errorf("%v: %v %s", args, err, text)
		}
	}
	if after := r.state(); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}

// TestTheSimulatedReviewIsTheRealOne: the same decision, by the same functions.
func TestTheSimulatedReviewIsTheRealOne(t *testing.T) {
	r := newRouter(t)
	r.label(1, "run:dev", "alice")
	r.says(1, started)
	r.says(1, succeeded)
	r.says(1, looked)
	r.golden("a review", simulatedReview, "simulate", "acme/shop#101", "review approved by alice")
	text, err := r.doctor("simulate", "acme/shop#1", "review request changes by alice")
	if err != nil || !strings.Contains(text, "It starts a run of dev (revise)") || !strings.Contains(text, "+state:in-review") {
		t.Errorf("%v\n%s", err, text)
	}
}

// backtest runs the doctor with a process that differs from the installation's by some replacements.
func (r *router) backtest(args []string, replaced ...string) (string, error) {
	r.Helper()
	text := strings.NewReplacer(replaced...).Replace(r.process.Text)
	if len(replaced) > 0 && text == r.process.Text {
		r.Fatalf("the process has no %q", replaced)
	}
	return r.doctor(append(append([]string{"backtest"}, args...), base64.StdEncoding.EncodeToString([]byte(text)))...)
}

// TestABacktestTellsWhatAChangeWouldHaveDone to three recorded stories.
func TestABacktestTellsWhatAChangeWouldHaveDone(t *testing.T) {
	r := newRouter(t)
	for issue := 1; issue <= 2; issue++ {
		r.label(issue, "run:dev", "alice")
		r.says(issue, started)
	}
	r.says(1, succeeded)
	r.says(1, looked)
	r.label(2, "run:abort", "alice")
	r.label(3, "run:docs", "alice")
	before := r.state()
	if text, err := r.backtest(nil); err != nil || !strings.HasPrefix(text, "15 events with") || !strings.Contains(text, " 0 issues would") || strings.Contains(text, "left out") {
		t.Errorf("by the same process: %v\n%s", err, text)
	}
	text, err := r.backtest(nil, "label: run:dev\n", "label: run:docs\n", "timeout: 60m", "timeout: 61m")
	for _, want := range []string{
		"acme/shop#1\n", "label run:dev by alice\n      was: starts run:dev (role dev, gpt-5.4, reasoning high)\n      is:  starts nothing (unknown_stage)",
		"github.looked_up  (may follow from the first)\n      was: run ends: succeeded\n      is:  nothing", "labels at the end: state:in-review; now none",
		"acme/shop#3\n", "label run:docs by alice\n      was: starts nothing (unknown_stage)\n      is:  starts run:docs (role dev, gpt-5.4, reasoning high)",
		"2 runs were requested; the changed process starts 1.", "3 issues would",
	} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%v: not in it: %q\n%s", err, want, text)
		}
	}
	if text, err := r.backtest([]string{"-o", "json"}, "timeout: 60m", "timeout: 1s"); err != nil || strings.Count(text, "\n") != 1 || !strings.Contains(text, `"runs":2`) {
		t.Errorf("a second is no less than timers may be late: %v\n%s", err, text)
	}
	r.exec(`UPDATE events SET stored_at = stored_at + interval '30 minutes' WHERE type = 'dev.codexk8s.agent.reported'`)
	if text, err := r.backtest(nil, "timeout: 60m", "timeout: 2m"); err != nil || !strings.Contains(text, "is:  run ends: timed_out (deadline)") {
		t.Errorf("%v\n%s", err, text)
	}
	r.exec(`DELETE FROM members WHERE login = 'alice'`)
	if text, err := r.backtest(nil); err != nil || !strings.Contains(text, "the present process starts 0 in the replay too. 2 issues are left out") {
		t.Errorf("members have changed: %v\n%s", err, text)
	}
	if text, err := r.backtest([]string{"-since", "2999-01-01"}); err != nil || !strings.HasPrefix(text, "0 events") {
		t.Errorf("%v\n%s", err, text)
	}
	for _, args := range [][]string{{"backtest", "version: 1"}, {"backtest", base64.StdEncoding.EncodeToString([]byte("version: 9"))}, {"backtest", "-since", "yesterday", ""}} {
		if text, err := r.doctor(args...); err == nil {
			t.Errorf("%v: %s", args, text)
		}
	}
	if after := r.state(); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}
