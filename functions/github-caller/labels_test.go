package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/stage"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// byName are the repository's labels.
func (f *fixture) byName() map[string]*gh.Label {
	f.t.Helper()
	clients, err := github.Open(github.Config{URL: f.github.APIURL(), AppID: f.github.AppID(), AppKey: f.github.AppPrivateKey()})
	must(f.t, err)
	client, err := clients.For(f.t.Context(), repo)
	must(f.t, err)
	all, err := client.Labels(f.t.Context(), "acme", "api")
	must(f.t, err)
	labels := map[string]*gh.Label{}
	for _, l := range all {
		labels[l.GetName()] = l
	}
	return labels
}

// The process's labels are made, all pages of them; one that was renamed gets its name back with its issues, one that
// was recoloured its colour. Others stay, and told twice nothing happens.
func TestTheLabelsOfARepository(t *testing.T) {
	f := setup(t)
	url := f.instance()
	for i := range 120 { // two pages
		must(t, f.github.CreateLabel(repo, fakegithub.Label{Name: strings.Repeat("x", i%40+1) + string(rune('a'+i/40)), Color: "ededed"}))
	}
	want := events.GitHubLabelsRequested{Repository: repo, Labels: stage.Default().Catalogue()}
	f.want(url, "1", want, http.StatusAccepted)
	theirs := f.byName()
	for _, l := range want.Labels {
		if got := theirs[l.Name]; got == nil || got.GetColor() != l.Colour || got.GetDescription() != l.Description {
			t.Errorf("%+v is %v", l, got)
		}
	}
	writes := len(f.github.Writes())
	f.want(url, "2", want, http.StatusAccepted)
	if more := f.github.Writes()[writes:]; len(more) != 0 {
		t.Errorf("written though all was right: %q", more)
	}

	admin := f.person()
	edit := func(name, body string) {
		req, err := admin.NewRequest(http.MethodPatch, "repos/acme/api/labels/"+name, map[string]string{"new_name": body})
		must(t, err)
		_, err = admin.Do(t.Context(), req, nil)
		must(t, err)
	}
	edit("run:dev", "go!")
	edit("state:blocked", "STATE:Blocked")
	must(t, f.github.CreateLabel(repo, fakegithub.Label{Name: "run:prd", Color: "000000", Description: "Mine"}))
	_, err := admin.Issues.DeleteLabel(t.Context(), "acme", "api", "run:abort")
	must(t, err)
	f.want(url, "3", want, http.StatusAccepted)
	if diff := cmp.Diff([]string{"acme/api: run:prd → run:prd; go! → run:dev; +run:abort"},
		f.sql.Lines(`SELECT detail FROM audit WHERE action = 'github.labels_changed' ORDER BY seq OFFSET 1`)); diff != "" {
		t.Errorf("put right (-want +got):\n%s", diff)
	}
	issue, err := f.github.Issue(repo, f.issue)
	must(t, err)
	if diff := cmp.Diff([]string{"run:dev"}, issue.Labels); diff != "" {
		t.Errorf("the issue with a label that was renamed (-want +got):\n%s", diff)
	}
}

// person is the client of the repository's administrator.
func (f *fixture) person() *gh.Client {
	f.t.Helper()
	token, err := f.github.CreateUser("zoe")
	must(f.t, err)
	must(f.t, f.github.AddCollaborator(repo, "zoe", "admin"))
	clients, err := github.Open(github.Config{URL: f.github.APIURL(), Token: token})
	must(f.t, err)
	client, err := clients.For(f.t.Context(), repo)
	must(f.t, err)
	return client.Client
}

// What GitHub refuses is audited and keeps none of the others; what may work later is asked for again.
func TestLabelsThatGitHubRefuses(t *testing.T) {
	f := setup(t)
	url := f.instance()
	want := events.GitHubLabelsRequested{Repository: repo, Labels: []events.RepositoryLabel{
		{Name: strings.Repeat("x", 51), Colour: "ffffff", Description: "Too long"}, {Name: "run:prd", Colour: "ffffff", Description: "Good"},
	}}
	f.want(url, "1", want, http.StatusAccepted)
	if f.byName()["run:prd"] == nil {
		t.Error("the good one is not there")
	}
	if diff := cmp.Diff([]string{reason.GitHubRefused}, f.sql.Lines(`SELECT reason FROM audit WHERE action = 'github.refused'`)); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "primary", Path: "/labels"}))
	if status, later, said := f.send(url, "2", want); status != http.StatusServiceUnavailable || later == 0 {
		t.Errorf("at a rate limit: %d, again after %d s: %s", status, later, said)
	}
	for id, bad := range map[string]events.GitHubLabelsRequested{"3": {Repository: "api", Labels: want.Labels}, "4": {Repository: repo}} {
		f.want(url, id, bad, http.StatusBadRequest)
	}
}
