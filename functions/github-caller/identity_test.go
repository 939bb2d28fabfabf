package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// bind makes the fixture's repository one that is known by its number, under the name that it has now.
func (f *fixture) bind() (number int64) {
	f.t.Helper()
	clients, err := github.Open(github.Config{URL: f.github.APIURL(), AppID: f.github.AppID(), AppKey: f.github.AppPrivateKey()})
	must(f.t, err)
	client, err := clients.For(f.t.Context(), repo)
	must(f.t, err)
	known, _, err := client.Repositories.Get(f.t.Context(), "acme", "api")
	must(f.t, err)
	number = known.GetID()
	f.exec(`INSERT INTO projects (id, name) VALUES ('p', 'P')`)
	f.exec(`INSERT INTO repositories (full_name, project_id, github_id, name) VALUES ('acme/api', 'p', $1, 'acme/api')`, number)
	return number
}

func (f *fixture) exec(sql string, args ...any) {
	f.t.Helper()
	f.sql.Do(sql, args...)
}

// TestAChangeUnderAFormerNameReachesTheRepository: what was asked for before a rename is done after it, whether the
// rename is known here or GitHub alone knows, and goes to nobody who has taken over the name.
func TestAChangeUnderAFormerNameReachesTheRepository(t *testing.T) {
	f := setup(t)
	url, number := f.instance(), f.bind()
	change := func(version int64, body string) events.GitHubChangeRequested {
		return f.change(func(p *events.GitHubChangeRequested) {
			p.Repository, p.RepositoryID = repo, number
			p.Comment, p.Version, p.On = body, version, []string{"state:in-review"}
		})
	}
	f.want(url, "e-1", change(1, "before"), 202)
	must(t, f.github.MoveRepository(repo, "acme/Interface", "acme"))
	f.want(url, "e-2", change(2, "GitHub alone knows"), 202)
	must(t, f.github.CreateRepository(repo, map[string]string{"README.md": "another"}))
	must(t, f.github.AddCollaborator(repo, "ann", "admin"))
	other, err := f.github.CreateIssue(repo, "Another's", "", "ann")
	must(t, err)
	f.exec(`UPDATE repositories SET name = 'acme/Interface'`)
	f.want(url, "e-3", change(3, "known here"), 202)
	var got []string
	for _, m := range f.github.Comments("acme/interface", f.issue) {
		got = append(got, m.Body)
	}
	links := "[The issue in the console](https://console.example/issues/acme/Interface/1) · [its run](https://console.example/runs/0b5c8d3e-1111-4222-8333-944445555666)"
	if diff := cmp.Diff([]string{"known here\n\n" + links + "\n\n<!-- codexk8s:status acme/api#1 -->"}, got); diff != "" {
		t.Errorf("comments (-want +got):\n%s", diff)
	}
	issue, err := f.github.Issue("acme/interface", f.issue)
	must(t, err)
	if diff := cmp.Diff([]string{"run:dev", "state:in-review"}, issue.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if n := len(f.github.Comments(repo, other)); n != 0 {
		t.Errorf("whoever has the name now was told %d times", n)
	}
}

// TestARunKeepsTheCommitOfItsBase: that of the branch when the run was asked for, unless its agent has begun before.
func TestARunKeepsTheCommitOfItsBase(t *testing.T) {
	f := setup(t)
	url := f.instance()
	f.bind()
	must(t, f.push("later", nil))
	runs := []string{"0b5c8d3e-0000-4000-8000-000000000001", "0b5c8d3e-0000-4000-8000-000000000002"}
	for i, pod := range []string{"", "a pod"} {
		f.exec(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/api', $1, 'acme/api')`, i+1)
		f.exec(`INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, pod)
			VALUES ($1, 'acme/api', $2, 'p', 'dev', 'dev', 'queued', 'codex', 'm', 'ann', $3, 'n', now(), nullif($4, '')::bytea)`, runs[i], i+1, runs[i], pod)
	}
	for i, p := range []events.GitHubChangeRequested{
		{RunID: runs[0], Base: "no/such"}, {RunID: runs[0], Base: "main"}, {RunID: runs[0], Base: "later"}, {RunID: runs[1], Base: "main"},
	} {
		p.Repository, p.Issue = repo, f.issue
		f.want(url, fmt.Sprint("e-", i), p, 202)
	}
	for i, want := range []string{f.sha, ""} {
		if run, err := f.db.AgentRun(t.Context(), runs[i]); err != nil || run.BaseCommit != want {
			t.Errorf("run %d is based on %q, want %q (%v)", i+1, run.BaseCommit, want, err)
		}
	}
	want := []string{"github.changed acme/api#1  ", "github.changed acme/api#1  run based on " + f.sha + " of main", "github.changed acme/api#1  ", "github.changed acme/api#1  "}
	if diff := cmp.Diff(want, f.audit()); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}
}

// TestAChangeNeedsOneConnection: while one is held with the work item, no second one is asked for. As many changes at
// once as there are connections would wait for each other.
func TestAChangeNeedsOneConnection(t *testing.T) {
	f := setup(t)
	f.dbURL += map[bool]string{true: "&", false: "?"}[strings.Contains(f.dbURL, "?")] + "pool_max_conns=1"
	url := f.instance()
	f.want(url, "e-1", f.change(func(p *events.GitHubChangeRequested) { p.Base, p.Comment, p.Version = "main", "first", 1 }), 202)
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "primary", Path: "/comments"}))
	if status, after, said := f.send(url, "e-2", f.change(comment("second", 2))); after == 0 {
		t.Errorf("at the limit: %d %s, to be tried again after %d s", status, said, after)
	}
}

// TestTheSecondPagesAreRead: of an issue's labels, and of its comments for the one that was made and not noted.
func TestTheSecondPagesAreRead(t *testing.T) {
	f := setup(t)
	f.want(f.instance(), "e-1", f.change(comment("first", 1)), 202)
	first := f.github.Comments(repo, f.issue)[0].Body
	clients, err := github.Open(github.Config{URL: f.github.APIURL(), AppID: f.github.AppID(), AppKey: f.github.AppPrivateKey()})
	must(t, err)
	client, err := clients.For(t.Context(), repo)
	must(t, err)
	other, err := f.github.CreateIssue(repo, "Much discussed", "", "ann")
	must(t, err)
	for n := range 100 {
		_, err := f.github.Comment(repo, other, first, "ann") // anybody can copy the mark
		must(t, err)
		must(t, f.github.AddLabel(repo, other, fmt.Sprint("topic-", n), "ann"))
	}
	must(t, f.github.AddLabel(repo, other, "run:dev", "ann"))
	mark := strings.ReplaceAll(first, fmt.Sprintf("#%d ", f.issue), fmt.Sprintf("#%d ", other))
	_, _, err = client.Issues.CreateComment(t.Context(), "acme", "api", other, &gh.IssueComment{Body: &mark})
	must(t, err)
	f.want(f.instance(), "e-2", f.change(func(p *events.GitHubChangeRequested) {
		p.Issue, p.Comment, p.Version, p.Off = other, "second", 1, []string{"run:dev"}
	}), 202)
	all := f.github.Comments(repo, other)
	if len(all) != 101 || !strings.HasPrefix(all[100].Body, "second") {
		t.Errorf("there are %d comments, the last one is %q", len(all), all[len(all)-1].Body)
	}
	issue, err := f.github.Issue(repo, other)
	must(t, err)
	if len(issue.Labels) != 100 || slices.Contains(issue.Labels, "run:dev") {
		t.Errorf("the issue has %d labels: %q", len(issue.Labels), issue.Labels)
	}
}
