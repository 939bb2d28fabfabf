package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/migrations"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/manifest"
)

const wellText = `ok    services          12 ready
ok    brokers           1 ready
ok    triggers          8 ready
ok    sinkbindings      1 ready
ok    apiserversources  1 ready
ok    pingsources       1 ready
ok    configmaps        2 there
ok    pods              0 there
ok    run namespaces    0 there
ok    schema            version N
ok    last tick         Ns ago
ok    last webhook      never
ok    projects          1 with 1 repository
ok    runs              none active
ok    held back         nothing
ok    budgets           no run spends from one
ok    money and limits  no run waits for them
ok    heartbeats        0 silent runs
ok    requests          none open
ok    receipts          0 overdue, 0 planned or under way
ok    dead letters      0
ok    GitHub's limit    not met
ok    models' limits    not met
ok    prices            AGE
ok    audit             0 rows sealed and verified, 0 not sealed yet

All is well.
`

func TestAWellPlatform(t *testing.T) {
	w := newWorld(t)
	text, err := w.doctor()
	if err != nil {
		t.Error(err)
	}
	text = regexp.MustCompile(`\b[0-9]+s ago|version [0-9]+`).ReplaceAllStringFunc(text, func(s string) string {
		return regexp.MustCompile(`[0-9]+`).ReplaceAllString(s, "N")
	})
	text = regexp.MustCompile(`(?m)^(ok    prices +).*20\d\d-.*$`).ReplaceAllString(text, "${1}AGE")
	if diff := cmp.Diff(wellText, text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	asJSON, err := w.doctor("-o", "json")
	if err != nil {
		t.Error(err)
	}
	var r report
	if err := json.Unmarshal([]byte(asJSON), &r); err != nil || !r.Well || len(r.Checks) != strings.Count(wellText, "\nok ")+1 {
		t.Errorf("%v\n%s", err, asJSON)
	}
}

// TestWhatWaitsForMoneyIsSeen, since when and until when, and is no fault.
func TestWhatWaitsForMoneyIsSeen(t *testing.T) {
	w := newWorld(t)
	w.exec(`INSERT INTO work_items (repository, issue, full_name) SELECT 'acme/shop', n, 'acme/shop' FROM generate_series(1, 2) AS n`)
	w.exec(`
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, waiting_for, engine, model, requested_by, intent, namespace, created_at, paused_at, not_before, bounds)
		SELECT gen_random_uuid(), 'acme/shop', n, 'shop', 'dev', 'dev', 'waiting', CASE n WHEN 1 THEN 'budget' ELSE 'rate_limit' END, 'codex', 'm', 'ann', n, 'n', now(),
		       now() - n * interval '1 hour 10 seconds', CASE n WHEN 2 THEN '2999-01-01Z'::timestamptz END, '[{"scope": "issue", "name": "acme/shop#1", "most": {"microusd": 10000000}}]'
		FROM generate_series(1, 2) AS n`)
	w.exec(`INSERT INTO spending (kind, project_id, name, period, microusd) VALUES ('issue', 'shop', 'acme/shop#1', '', 9500000)`)
	w.exec(`INSERT INTO model_pauses (model, until, reason, tries) VALUES ('m', now() + interval '90 minutes 30 seconds', 'quota_exhausted', 1)`)
	text, err := w.doctor()
	for _, want := range []string{
		"\nok    budgets           95 % of this issue (acme/shop#1) is used: $9.50 of $10.00\n",
		"\nok    money and limits  acme/shop#2 since 2h00m ago for its model, until 2999-01-01 00:00:00; acme/shop#1 since 1h00m ago for people to extend its budget\n",
		"\nok    models' limits    m is not asked for 1h30m (quota_exhausted)\n",
	} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%v\n%s\nlacks %s", err, text, want)
		}
	}
}

// TestWhatIsHeldBackIsSeen, and is no fault.
func TestWhatIsHeldBackIsSeen(t *testing.T) {
	w := newWorld(t)
	w.exec(`INSERT INTO work_items (repository, issue, full_name, held, held_at)
		SELECT 'acme/shop', n, 'acme/shop', CASE n WHEN 1 THEN '{"label": "run:dev", "skipped": true}' ELSE '{"label": "run:dev"}' END::jsonb, now() - n * interval '1 hour'
		FROM generate_series(1, 3) AS n`)
	text, err := w.doctor()
	want := "\nok    held back         acme/shop: 2 issues since 3h00m ago, the first is #3; whoever may start runs lets it go by taking the process's labels.held off\n"
	if err != nil || !strings.Contains(text, want) {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestWhatCanBeWrong breaks a well platform in one way at a time: each is found, and nothing else.
func TestWhatCanBeWrong(t *testing.T) {
	run := `INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/shop', 1, 'acme/shop');
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, started_at, waiting_for)
		VALUES ('11111111-1111-1111-1111-111111111111', 'acme/shop', 1, 'shop', 'dev', 'dev', '%', 'codex', 'm', 'bob', 'i', 'n', now() - interval '1 hour', now() - interval '1 hour', 'approval')`
	event := `INSERT INTO events (source, id, type, time, data, stored_at) VALUES ('/s', 'e', 't', now(), '{}', now() - interval '1 hour');`
	for name, c := range map[string]struct {
		spoil func(*world)
		check string
		want  []string
	}{
		"a Service is not ready": {func(w *world) {
			w.set("serving.knative.dev", "services", "timekeeper", ready("False", "RevisionMissing", "secret \"codexk8s-database\"\nnot found"))
		}, "services", []string{`timekeeper: RevisionMissing: secret "codexk8s-database" not found`}},
		"Knative is behind": {func(w *world) { w.set("eventing.knative.dev", "brokers", "default", map[string]any{}) },
			"brokers", []string{"default: Knative has not looked at it yet"}},
		"a Trigger is missing": {func(w *world) { w.remove("eventing.knative.dev", "triggers", "stage-router") },
			"triggers", []string{"stage-router: missing"}},
		"a ConfigMap is missing": {func(w *world) { w.remove("", "configmaps", "codexk8s-settings") },
			"configmaps", []string{"codexk8s-settings: missing"}},
		"a Secret is missing": {func(w *world) {
			w.put(`{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: codexk8s}, spec: {containers: [{name: user-container, image: i}]}, status: {containerStatuses: [
				{name: user-container, image: i, imageID: i, lastState: {}, ready: false, restartCount: 0, state: {waiting: {reason: CreateContainerConfigError, message: 'secret "codexk8s-github" not found'}}}]}}`)
		}, "pods", []string{`p, container user-container: CreateContainerConfigError: secret "codexk8s-github" not found`}},
		"a namespace is past its time": {func(w *world) {
			w.put(`{apiVersion: v1, kind: Namespace, metadata: {name: codexk8s-run-a, labels: {app.kubernetes.io/managed-by: codexk8s},
				annotations: {codexk8s.dev/expires-at: "` + time.Now().Add(-50*time.Hour).UTC().Format(time.RFC3339) + `", codexk8s.dev/correlation-id: "acme/shop#1"}}}`)
			w.put(`{apiVersion: v1, kind: Namespace, metadata: {name: somebody-elses}}`)
		}, "run namespaces", []string{"codexk8s-run-a: expired 2 days ago, acme/shop#1"}},
		"a run is not in the database": {func(w *world) {
			for id, name := range map[string]string{"11111111-1111-1111-1111-111111111111": "codexk8s-run-a", "22222222-2222-2222-2222-222222222222": "codexk8s-run-b"} {
				w.put(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + name + `, labels: {app.kubernetes.io/managed-by: codexk8s, codexk8s.dev/run: ` + id + `},
					annotations: {codexk8s.dev/expires-at: "` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `", codexk8s.dev/correlation-id: "acme/shop#1"}}}`)
			}
			w.exec(strings.Replace(run, "%", "waiting", 1))
		}, "run namespaces", []string{"codexk8s-run-b: its run 22222222-2222-2222-2222-222222222222 is not in the database, acme/shop#1"}},
		"no tick": {func(w *world) { w.exec(`DELETE FROM ticks`) }, "last tick", []string{"nothing that is due is sent, no loss is found"}},
		"no repository": {func(w *world) { w.exec(`DELETE FROM repositories`) },
			"projects", []string{"no repository belongs to a project, so no label starts anything"}},
		"an agent is silent": {func(w *world) { w.exec(strings.Replace(run, "%", "running", 1)) },
			"heartbeats", []string{"run 11111111-1111-1111-1111-111111111111 of acme/shop#1 was heard of 1h00m ago"}},
		"nobody is shown a request": {func(w *world) {
			w.exec(strings.Replace(run, "%", "waiting", 1) + `;
				INSERT INTO approvals (id, run_id, state, asked_at, ticket) SELECT ('00000000-0000-4000-8000-00000000000' || n)::uuid, '11111111-1111-1111-1111-111111111111', 'open', now(), ticket::json
				FROM (VALUES (1, '{"request": {"repository": "acme/shop", "issue": 1}, "places": [{"channel": "all"}, {"channel": "slack", "target": "C1", "failed": "bot_kicked"}]}'),
					(2, '{"places": [{"channel": "slack", "target": "C1", "failed": "bot_kicked"}, {"channel": "github", "version": 1}]}'), (3, '{"places": [{"channel": "all"}]}')) AS t (n, ticket)`)
		}, "requests", []string{"request 00000000-0000-4000-8000-000000000001 of acme/shop#1 is shown nowhere (slack C1: bot_kicked)"}},
		"nobody admits": {func(w *world) { w.exec(strings.Replace(run, "%", "queued", 1)) },
			"runs", []string{"shop: 1 run for a place though none is taken, the oldest since 1h00m"}},
		"a timer is not sent": {func(w *world) {
			w.exec(strings.Replace(event, "now() - interval '1 hour'", "now()", 1) + `INSERT INTO pending (function, source, id, due_at) VALUES ('stage-router', '/s', 'e', now() - interval '13 minutes')`)
		}, "receipts", []string{"stage-router: 1 event due and not sent"}},
		"a receipt is late": {func(w *world) {
			w.exec(event + `INSERT INTO pending (function, source, id, due_at, attempts) VALUES ('stage-router', '/s', 'e', now() + interval '3 minutes', 4)`)
		}, "receipts", []string{"stage-router: 1 event without receipt, the oldest since 1h00m"}},
		"a dead letter": {func(w *world) {
			w.exec(`INSERT INTO dead_letters (function, source, id, type, envelope) VALUES ('stage-router', '/s', 'e', 't', '{}')`)
		}, "dead letters", []string{"stage-router: 1"}},
		"the schema is old": {func(w *world) { w.exec(`DELETE FROM goose_db_version WHERE version_id > 1`) },
			"schema", []string{fmt.Sprintf("this release needs version %d", migrations.Latest())}},
		"the audit is not sealed": {func(w *world) {
			w.exec(`INSERT INTO audit (at, actor, action, function) VALUES (now() - interval '1 hour', 'a', 'b', 'c')`)
		}, "audit", []string{"the oldest row that is not sealed is of 1h00m ago"}},
		"the audit was changed": {func(w *world) {
			w.exec(`INSERT INTO audit (actor, action, function) VALUES ('bob', 'b', 'c')`)
			db, err := store.Open(w.Context(), "timekeeper", w.env.DatabaseURL)
			if err != nil {
				w.Fatal(err)
			}
			defer func() { _ = db.Close(w.Context()) }()
			if _, err := db.SealAudit(w.Context(), 10); err != nil {
				w.Fatal(err)
			}
			w.exec(`ALTER TABLE audit DISABLE TRIGGER ALL; UPDATE audit SET actor = 'eve'`)
		}, "audit", []string{"the audit was changed: batch 1 has 1 rows of 1, or other ones than were sealed"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.spoil(w)
			text, err := w.doctor("-o", "json")
			if !errors.Is(err, errUnwell) {
				t.Fatalf("%v\n%s", err, text)
			}
			var r report
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				t.Fatal(err)
			}
			got := map[string][]string{}
			for _, check := range r.Checks {
				for _, f := range check.Faults {
					got[check.Name] = append(got[check.Name], f.What)
					if f.Do == "" {
						t.Errorf("%s: nothing to do", f.What)
					}
				}
			}
			if diff := cmp.Diff(map[string][]string{c.check: c.want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestWhatAnOverlayLeavesOutIsNotMissed: config/overlays/github-source has no webhook-adapter, and says so.
func TestWhatAnOverlayLeavesOutIsNotMissed(t *testing.T) {
	w := newWorld(t)
	w.remove("serving.knative.dev", "services", "webhook-adapter")
	w.remove("", "configmaps", "codexk8s-event-sources")
	overlay, err := os.ReadFile("../../config/overlays/github-source/Kustomization")
	if err != nil {
		t.Fatal(err)
	}
	value := regexp.MustCompile(`name: WITHOUT, value: "([^"]*)"`).FindSubmatch(overlay)
	if value == nil {
		t.Fatal("the overlay sets no WITHOUT")
	}
	w.env.Without = strings.Split(string(value[1]), ",")
	if text, err := w.doctor(); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestAnOutageIsAFaultLikeAnother: what can be asked is.
func TestAnOutageIsAFaultLikeAnother(t *testing.T) {
	w := newWorld(t)
	w.api.SetOutage(true)
	text, err := w.doctor()
	if !errors.Is(err, errUnwell) || !strings.Contains(text, "BAD   services") || !strings.Contains(text, "could not be checked: listing services") || !strings.Contains(text, "ok    audit") {
		t.Errorf("%v\n%s", err, text)
	}
	w.api.SetOutage(false)
	w.env.DatabaseURL = "postgres://user:secret@127.0.0.1:1/none"
	text, err = w.doctor()
	if !errors.Is(err, errUnwell) || !strings.Contains(text, "ok    services") || !strings.Contains(text, "BAD   database") || strings.Contains(text, "secret@") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestDeadLettersAreListedAndReplayed(t *testing.T) {
	w := newWorld(t)
	if text, err := w.doctor("dead-letters"); err != nil || text != "No dead letters.\n" {
		t.Errorf("%v %s", err, text)
	}
	w.exec(`INSERT INTO events (source, id, type, time, data) VALUES ('https://github.com/acme/shop', 'e''1', 'dev.codexk8s.run.requested', now(), '{}')`)
	w.exec(`INSERT INTO dead_letters (function, source, id, type, code, error, envelope, died_at)
		VALUES ('stage-router', 'https://github.com/acme/shop', 'e''1', 'dev.codexk8s.run.requested', 422, E'no\n\x1b[2Jsuch project', '{}', '2026-11-23T10:00:00Z')`)
	text, err := w.doctor("dead-letters")
	if err != nil {
		t.Fatal(err)
	}
	const query = "function=stage-router&id=e%271&source=https%3A%2F%2Fgithub.com%2Facme%2Fshop"
	want := "2026-11-23T10:00:00Z  dev.codexk8s.run.requested at stage-router, code 422\n    no [2Jsuch project\n    make replay QUERY='" + query + "'\n"
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text, err := w.doctor("replay", query); err != nil || !strings.Contains(text, "will be sent to stage-router again") {
		t.Errorf("%v %s", err, text)
	}
	if text, err := w.doctor(); err == nil || !strings.Contains(text, "0 overdue, 1 planned or under way") {
		t.Errorf("after the replay: %v\n%s", err, text)
	}
	if text, err := w.doctor("dead-letters", "-o", "json"); err != nil || !strings.Contains(text, `"replayedAt"`) {
		t.Errorf("%v %s", err, text)
	}
	for _, args := range [][]string{{"replay"}, {"replay", "function=x"}, {"replay", "function=x&source=y&id=z"}, {"-o", "xml"}, {"cure"}, {"-x"}} {
		if text, err := w.doctor(args...); err == nil || errors.Is(err, errUnwell) {
			t.Errorf("%v: %v %s", args, err, text)
		}
	}
}

func TestALinkCodeIsForMembersWithANumber(t *testing.T) {
	w := newWorld(t)
	w.exec(`INSERT INTO members (project_id, login, role, github_id) VALUES ('*', 'bob', 'owner', 7), ('*', 'carl', 'owner', NULL)`)
	text, err := w.doctor("link-code", "Bob")
	if err != nil || !strings.Contains(text, "/start ") || !strings.Contains(text, "/codexk8s link ") {
		t.Errorf("%v %s", err, text)
	}
	for _, args := range [][]string{{"link-code"}, {"link-code", "carl"}, {"link-code", "mallory"}, {"link-code", "bob", "ann"}} {
		if text, err := w.doctor(args...); err == nil {
			t.Errorf("%v: %s", args, text)
		}
	}
}

// A bound repository's labels are asked for at once, those of the process in force.
func TestLabelsOfABoundRepository(t *testing.T) {
	w := newWorld(t)
	text, err := w.doctor("labels", "Acme/Shop")
	if err != nil || !strings.Contains(text, fmt.Sprintf("The %d labels of acme/shop will be made", len(stage.Default().Catalogue()))) {
		t.Errorf("%v %s", err, text)
	}
	var asked events.GitHubLabelsRequested
	for _, line := range w.sql.Lines(`SELECT convert_from(data, 'UTF8') FROM events WHERE type = 'dev.codexk8s.github.labels.requested'`) {
		if err := json.Unmarshal([]byte(line), &asked); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(events.GitHubLabelsRequested{Repository: "acme/shop", Labels: stage.Default().Catalogue()}, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, args := range [][]string{{"labels"}, {"labels", "acme/other"}} {
		if text, err := w.doctor(args...); err == nil {
			t.Errorf("%v: %s", args, text)
		}
	}
}

// TestTheReleasesParts holds the names that are looked for against the manifests.
func TestTheReleasesParts(t *testing.T) {
	set, err := manifest.Load("../../config", "../../eventing")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	add := func(plural string, o metav1.Object) { want[plural] = append(want[plural], o.GetName()) }
	for _, o := range set.Services {
		add("services", o)
	}
	for _, o := range set.Brokers {
		add("brokers", o)
	}
	for _, o := range set.Triggers {
		add("triggers", o)
	}
	for _, o := range set.SinkBindings {
		add("sinkbindings", o)
	}
	for _, o := range set.APIServerSources {
		add("apiserversources", o)
	}
	for _, o := range set.PingSources {
		add("pingsources", o)
	}
	for _, o := range set.ConfigMaps {
		add("configmaps", o)
	}
	r, err := thisRelease()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, p := range append(parts, configMap) {
		got[p.resource.Resource] = r.names(p)
	}
	for _, names := range want {
		slices.Sort(names)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-manifests +doctor):\n%s", diff)
	}
}
