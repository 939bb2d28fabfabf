package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/local/pg/pgtest"
)

const repo = "acme/api"

const services = "apiVersion: codexk8s.dev/v1\nservices: []\n"

// A fixture is GitHub with one repository and one issue, and any number of instances of the function.
type fixture struct {
	t      *testing.T
	github *fakegithub.Server
	dbURL  string
	db     *store.DB
	sql    *pgtest.DB
	sink   string
	issue  int
	sha    string
	age    time.Duration // of what is sent
}

func setup(t *testing.T) *fixture {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gh.Close() })
	f := &fixture{t: t, github: gh, dbURL: pgtest.New(t)}
	must(t, gh.CreateOrganization("acme"))
	if _, err := gh.CreateUser("ann"); err != nil {
		t.Fatal(err)
	}
	must(t, gh.CreateRepository(repo, map[string]string{
		"README.md": "api", "services.yaml": services, "deploy/big.yaml": strings.Repeat("#", events.MaxContent+1),
		"deploy/huge.yaml": strings.Repeat("#", 1<<20+1), "deploy/binary.yaml": "a\xff",
	}))
	must(t, gh.AddCollaborator(repo, "ann", "admin"))
	if f.issue, err = gh.CreateIssue(repo, "Add search", "", "ann"); err != nil {
		t.Fatal(err)
	}
	must(t, gh.AddLabel(repo, f.issue, "run:dev", "ann"))
	branches, err := gh.Branches(repo)
	if err != nil {
		t.Fatal(err)
	}
	f.sha = branches["main"]
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	t.Cleanup(sink.Close)
	f.sink = sink.URL
	if f.db, err = store.Open(t.Context(), "github-caller", f.dbURL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close(context.Background()) })
	f.sql = pgtest.Open(t, f.dbURL)
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// instance starts the function once more, as the GitHub App, and returns its URL.
func (f *fixture) instance() string {
	f.t.Helper()
	clients, err := github.Open(github.Config{URL: f.github.APIURL(), AppID: f.github.AppID(), AppKey: f.github.AppPrivateKey()})
	must(f.t, err)
	db, err := store.Open(f.t.Context(), "github-caller", f.dbURL)
	must(f.t, err)
	f.t.Cleanup(func() { _ = db.Close(context.Background()) })
	s := serve.New("github-caller", f.sink)
	(&handler{db: db, clients: clients, console: "https://console.example/", send: s.Send}).routes(s)
	srv := httptest.NewServer(s.Handler())
	f.t.Cleanup(srv.Close)
	return srv.URL
}

// send delivers the change as an event of the id and returns the answer.
func (f *fixture) send(url, id string, p events.Payload) (status int, retryAfter int, said string) {
	f.t.Helper()
	data, err := json.Marshal(p)
	must(f.t, err)
	f.sql.Log(events.Source("stage-router"), id, p.EventType(), data)
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(data))
	must(f.t, err)
	for k, v := range map[string]string{
		"ce-specversion": "1.0", "ce-id": id, "ce-source": events.Source("stage-router"), "ce-type": p.EventType(),
		"ce-time": time.Now().Add(-f.age).Format(time.RFC3339Nano), "Content-Type": "application/json",
	} {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	must(f.t, err)
	defer resp.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(resp.Body)
	retryAfter, _ = strconv.Atoi(resp.Header.Get("Retry-After"))
	return resp.StatusCode, retryAfter, strings.TrimSpace(b.String())
}

func (f *fixture) want(url, id string, p events.Payload, status int) {
	f.t.Helper()
	if got, _, said := f.send(url, id, p); got != status {
		f.t.Errorf("event %s: %d %s, want %d", id, got, said, status)
	}
}

// change is an event's payload for the fixture's issue.
func (f *fixture) change(edit func(*events.GitHubChangeRequested)) events.GitHubChangeRequested {
	p := events.GitHubChangeRequested{Repository: repo, Issue: f.issue, RunID: "0b5c8d3e-1111-4222-8333-944445555666"}
	edit(&p)
	return p
}

func comment(body string, version int64) func(*events.GitHubChangeRequested) {
	return func(p *events.GitHubChangeRequested) { p.Comment, p.Version = body, version }
}

// comments are the bodies on the issue, without links and mark.
func (f *fixture) comments() []string {
	out := []string{}
	for _, m := range f.github.Comments(repo, f.issue) {
		body, _, _ := strings.Cut(m.Body, "\n\n<!--")
		body, _, _ = strings.Cut(body, "\n\n[The issue in the console]")
		out = append(out, m.User+": "+body)
	}
	return out
}

func (f *fixture) audit() []string {
	f.t.Helper()
	return f.sql.Lines(`SELECT action || ' ' || work_item || ' ' || reason || ' ' || detail FROM audit ORDER BY seq`)
}

func (f *fixture) emitted() []string {
	f.t.Helper()
	return f.sql.Lines(`SELECT type || ' ' || convert_from(data, 'UTF8') FROM events WHERE function = 'github-caller' ORDER BY stored_at`)
}

// push makes a branch with one commit of those files, over Git's own protocol.
func (f *fixture) push(branch string, files map[string]string) error {
	dir := f.t.TempDir()
	url := strings.Replace(f.github.CloneURL(repo), "://", "://ann:ann-token@", 1)
	if out, err := exec.Command("git", "clone", "-q", url, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("git clone: %w\n%s", err, out)
	}
	for name, text := range files {
		must(f.t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		must(f.t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	for _, args := range [][]string{
		{"-C", dir, "checkout", "-q", "-b", branch},
		{"-C", dir, "add", "-A"},
		{"-C", dir, "-c", "user.name=ann", "-c", "user.email=ann@example.com", "commit", "-q", "--allow-empty", "-m", "search"},
		{"-C", dir, "push", "-q", "origin", branch},
	} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", args[2], err, out)
		}
	}
	return nil
}
