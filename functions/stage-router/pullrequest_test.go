package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
)

// reviewed is an item whose first run has opened pull request #2 and succeeded.
func reviewed(t *testing.T) *fixture {
	f := setup(t)
	f.deliver("guid-label", "issues", fmt.Sprintf(labeled, "alice"))
	for _, q := range []string{
		`UPDATE runs SET state = 'succeeded', finished_at = now()`,
		`UPDATE work_items SET pull_request = 2, head_sha = 'sha1', pull = '{"delivered": true}'`,
	} {
		f.sql.Do(q)
	}
	return f
}

// pull is the payload of an event of pull request #2; more stands beside it.
func pull(action, state, more string) string {
	return fmt.Sprintf(`{"action":%q,"number":2,"pull_request":{"number":2,%s,"labels":null,"body":null,
		"html_url":"https://github.example/acme/demo/pull/2","user":{"login":"codexk8s[bot]","type":"Bot"},
		"base":{"ref":"main","repo":{"full_name":"acme/demo"}}},
		"repository":{"full_name":"acme/demo","default_branch":"main"},"sender":{"login":"alice","type":"User"}%s}`, action, state, more)
}

const (
	atHead   = `"head":{"ref":"codexk8s/issue-1","sha":"sha1","repo":{"full_name":"acme/demo"}}`
	isOpen   = `"state":"open",` + atHead
	isClosed = `"state":"closed",` + atHead
	isMerged = `"state":"closed","merged":false,"merged_at":"2026-11-01T12:30:00Z",` + atHead
)

func review(id int, state, commit string) string {
	return fmt.Sprintf(`,"review":{"id":%d,"state":%q,"commit_id":%q,"body":"Please.","user":{"login":"alice","id":9,"type":"User"}}`, id, state, commit)
}

// shown is what GitHub was last asked to show: labels of the issue, those of the pull request, and the comment's last
// line.
func (f *fixture) shown() string {
	f.Helper()
	var data []byte
	err := f.sql.QueryRow(f.Context(), `
		SELECT data FROM events
		WHERE type = 'dev.codexk8s.github.change.requested'
		ORDER BY (convert_from(data, 'UTF8')::jsonb ->> 'commentVersion')::int DESC LIMIT 1
	`).Scan(&data)
	if err != nil {
		f.Fatal(err)
	}
	var c events.GitHubChangeRequested
	if err := json.Unmarshal(data, &c); err != nil {
		f.Fatal(err)
	}
	comment, _, _ := strings.Cut(c.Comment, "\n\nWhat may follow")
	lines := strings.Split(strings.TrimSpace(comment), "\n")
	return fmt.Sprintf("+%s -%s / +%s -%s: %s", c.On, c.Off, c.PullOn, c.PullOff, lines[len(lines)-1])
}

func TestThePullRequestsLife(t *testing.T) {
	type act struct{ event, payload string }
	for name, c := range map[string]struct {
		acts []act
		runs int
		want string   // of shown
		said []string // the audit's reasons
	}{
		"changes requested after the merge": {
			[]act{{"pull_request_review", pull("submitted", isMerged, review(7, "changes_requested", "sha1"))}}, 1,
			"+[] -[state:approved state:in-review] / +[] -[state:approved state:in-review]: The pull request is merged. `run:dev` on the open issue starts another one.",
			[]string{"review.ignored pull_request_merged"},
		},
		"closed and reopened, then revised": {
			[]act{
				{"pull_request", pull("closed", isClosed, "")}, {"pull_request", pull("reopened", isOpen, "")},
				{"pull_request", pull("labeled", isOpen, `,"label":{"name":"Run:Dev:Revise"}`)},
			}, 2,
			"+[state:in-review] -[state:approved] / +[state:in-review] -[state:approved]: `run:abort` stops it.",
			[]string{"pull_request.closed ", "run.requested ", "run.admitted "},
		},
		"approved, then dismissed": {
			[]act{
				{"pull_request_review", pull("submitted", isOpen, review(7, "approved", "sha1"))},
				{"pull_request_review", pull("dismissed", isOpen, review(7, "dismissed", "sha1"))},
			}, 1,
			"+[state:in-review] -[state:approved] / +[state:in-review] -[state:approved]: Review the pull request: *Request changes* starts `run:dev:revise`, and so does the label.",
			[]string{"pull_request.approved ", "pull_request.unapproved review_dismissed"},
		},
		"approved, then pushed to": {
			[]act{
				{"pull_request_review", pull("submitted", isOpen, review(7, "approved", "sha1"))},
				{"pull_request", pull("synchronize", strings.Replace(isOpen, "sha1", "sha2", 1), "")},
			}, 1,
			"+[state:in-review] -[state:approved] / +[state:in-review] -[state:approved]: alice approved `sha1`, and the pull request is at `sha2` by now: " +
				"review it again. *Request changes* starts `run:dev:revise`, and so does the label.",
			[]string{"pull_request.approved ", "pull_request.unapproved pull_request_synchronize"},
		},
		"its branch renamed": {
			[]act{{"pull_request", pull("labeled", strings.Replace(isOpen, "codexk8s/issue-1", "greeting", 1), `,"label":{"name":"run:dev:revise"}`)}}, 2,
			"+[state:in-review] -[state:approved] / +[state:in-review] -[state:approved]: `run:abort` stops it.",
			[]string{"run.requested ", "run.admitted "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := reviewed(t)
			before := f.count(`SELECT max(seq) FROM audit`)
			for i, a := range c.acts {
				if got := f.deliver(fmt.Sprint("guid-", i), a.event, a.payload); got != http.StatusAccepted {
					t.Errorf("%s: answered %d", a.event, got)
				}
			}
			if n := f.count(`SELECT count(*) FROM runs`); n != c.runs {
				t.Errorf("%d runs, want %d", n, c.runs)
			}
			if diff := cmp.Diff(c.want, f.shown()); diff != "" {
				t.Errorf("shown (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.said, f.lines(fmt.Sprintf(`SELECT action || ' ' || reason FROM audit WHERE seq > %d AND action NOT LIKE 'member.%%' ORDER BY seq`, before))); diff != "" {
				t.Errorf("audit (-want +got):\n%s", diff)
			}
		})
	}
}

// The order of GitHub's times outlives the process: it is stored.
func TestWhatIsNewerIsRemembered(t *testing.T) {
	f := setup(t)
	at := func(action, clock, labels string) string {
		text := strings.NewReplacer(`"action":"labeled"`, fmt.Sprintf(`"action":%q`, action), "12:00:00", clock,
			`"labels":[{"name":"run:dev"}]`, `"labels":[`+labels+`]`).Replace(labeled)
		return fmt.Sprintf(text, "alice")
	}
	f.deliver("guid-1", "issues", at("unlabeled", "12:05:00", ""))
	f.deliver("guid-2", "issues", at("labeled", "12:00:00", `{"name":"run:dev"}`))
	if n := f.count(`SELECT count(*) FROM runs`); n != 0 {
		t.Errorf("%d runs for a label that is off", n)
	}
	f.deliver("guid-3", "issues", at("labeled", "12:30:00", `{"name":"run:dev"}`))
	f.deliver("guid-4", "issues", at("closed", "12:10:00", ""))
	abort := strings.Replace(at("labeled", "12:20:00", `{"name":"run:dev"},{"name":"run:abort"}`), `"label":{"name":"run:dev"}`, `"label":{"name":"run:abort"}`, 1)
	f.deliver("guid-5", "issues", abort)
	if n := f.count(`SELECT count(*) FROM runs r JOIN work_items w USING (repository, issue) WHERE r.state = 'starting' AND NOT w.closed`); n != 1 {
		t.Error("older news stopped the run")
	}
}

// What people write in a repository that is bound to no project is not kept, and not answered.
func TestARepositoryOfNobody(t *testing.T) {
	f := setup(t)
	f.deliver("guid-1", "issues", strings.Replace(fmt.Sprintf(labeled, "alice"), `"full_name":"acme/demo"`, `"full_name":"acme/unrelated"`, 1))
	if n := f.count(`SELECT (SELECT count(*) FROM work_items) + (SELECT count(*) FROM runs) + (SELECT count(*) FROM events WHERE function <> '')`); n != 0 {
		t.Errorf("%d rows were left", n)
	}
	if diff := cmp.Diff([]string{"label.ignored repository_not_bound"}, f.lines(`SELECT action || ' ' || reason FROM audit`)); diff != "" {
		t.Error(diff)
	}
}

// A trigger on a pull request of people gets its answer there.
func TestATriggerOnSomebodysPullRequest(t *testing.T) {
	f := setup(t)
	stray := strings.Replace(pull("labeled", isOpen, `,"label":{"name":"run:dev"}`), "codexk8s/issue-1", "feature", 1)
	f.deliver("guid-1", "pull_request", stray)
	want := "+[] -[run:dev] / +[] -[]: **Not started** (`run:dev`): The label stands on a pull request that no agent is at work on. " +
		"Set it on an issue, or on the pull request that an agent has opened for it."
	if diff := cmp.Diff(want, f.shown()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	before := f.count(`SELECT count(*) FROM events WHERE function <> ''`)
	f.deliver("guid-2", "pull_request", strings.Replace(stray, `"sender":{"login":"alice"`, `"sender":{"login":"mallory"`, 1))
	f.deliver("guid-3", "pull_request", strings.Replace(stray, `"labeled"`, `"unlabeled"`, 1))
	if n := f.count(`SELECT count(*) FROM events WHERE function <> ''`); n != before {
		t.Errorf("%d more events", n-before)
	}
}

// lines are the one column of a query's rows.
func (f *fixture) lines(query string) []string {
	f.Helper()
	return f.sql.Lines(query)
}
