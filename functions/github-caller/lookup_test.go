package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	fakegithub "codexk8s.dev/test/fakes/github"
)

func (f *fixture) lookup(repository, path, ref string) events.GitHubLookupRequested {
	run := events.RunRef{RunID: "0b5c8d3e-1111-4222-8333-944445555666", Project: "api", Repository: repository, Issue: f.issue}
	return events.GitHubLookupRequested{RunRef: run, Attempt: 1, Path: path, Ref: ref}
}

// answers are the payloads of what was emitted.
func (f *fixture) answers() (all []events.GitHubLookedUp) {
	f.t.Helper()
	for _, line := range f.emitted() {
		var a events.GitHubLookedUp
		prefix := a.EventType() + " "
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		must(f.t, json.Unmarshal([]byte(line[len(prefix):]), &a))
		all = append(all, a)
	}
	return all
}

func TestLookup(t *testing.T) {
	f := setup(t)
	url := f.instance()
	var want []events.GitHubLookedUp
	for i, c := range []struct {
		repository, path, ref string
		answer                events.GitHubLookedUp
	}{
		{repo, "services.yaml", "main", events.GitHubLookedUp{Found: true, Content: services, SHA: "9a63b3b2d795fd28f3e41b2c298c2321ea7a086b"}},
		{repo, "services.yaml", "", events.GitHubLookedUp{Found: true, Content: services, SHA: "9a63b3b2d795fd28f3e41b2c298c2321ea7a086b"}},
		{repo, "none.yaml", "main", events.GitHubLookedUp{}},
		{repo, "deploy", "main", events.GitHubLookedUp{Reason: "not_a_file", Message: "deploy is not a file in the repository."}},
		{repo, "deploy/big.yaml", "main", events.GitHubLookedUp{Reason: "too_large", Message: "deploy/big.yaml has 65537 bytes, at most 65536 are read."}},
		{repo, "deploy/huge.yaml", "main", events.GitHubLookedUp{Reason: "too_large", Message: "deploy/huge.yaml has 1048577 bytes, at most 65536 are read."}},
		{repo, "deploy/binary.yaml", "main", events.GitHubLookedUp{Reason: "not_text", Message: "deploy/binary.yaml is not text (UTF-8)."}},
		{repo, "services.yaml", "gone", events.GitHubLookedUp{Reason: "github_gone", Message: "services.yaml of acme/api can't be read: github answered 404 No commit found for the ref gone (gone, renamed, or not visible to this credential)."}},
		{"acme/gone", "services.yaml", "main", events.GitHubLookedUp{Reason: "github_gone", Message: "services.yaml of acme/gone can't be read: github answered 404 Not Found (gone, renamed, or not visible to this credential)."}},
	} {
		p := f.lookup(c.repository, c.path, c.ref)
		f.want(url, fmt.Sprint("e-", i), p, 202)
		c.answer.RunRef, c.answer.Attempt, c.answer.Path, c.answer.Ref = p.RunRef, p.Attempt, p.Path, p.Ref
		want = append(want, c.answer)
	}
	f.want(url, "e-0", f.lookup(repo, "services.yaml", "main"), 202) // a redelivery
	if diff := cmp.Diff(want, f.answers()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	item := events.WorkItem(repo, f.issue)
	if diff := cmp.Diff([]string{
		"github.looked_up " + item + "  services.yaml at main: 9a63b3b2d795fd28f3e41b2c298c2321ea7a086b, 41 bytes",
		"github.looked_up " + item + "  services.yaml: 9a63b3b2d795fd28f3e41b2c298c2321ea7a086b, 41 bytes",
		"github.looked_up " + item + "  none.yaml at main: there is none",
		"github.looked_up " + item + " not_a_file deploy at main; deploy is not a file in the repository.",
	}, f.audit()[:4]); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	for _, bad := range []events.GitHubLookupRequested{f.lookup("x", "a", ""), f.lookup(repo, "", ""), f.lookup(repo, "../a", ""), f.lookup(repo, strings.Repeat("a", 5000), "")} {
		f.want(url, fmt.Sprintf("bad %.5s", bad.Path), bad, 400)
	}
}

func TestALookupWaitsForWhatIsTemporary(t *testing.T) {
	f := setup(t)
	url := f.instance()
	p := f.lookup(repo, "services.yaml", "main")
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "outage", Path: "/contents"}))
	f.want(url, "e-1", p, 500)
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "secondary", RetryAfter: 600, Path: "/contents"}))
	for i, instance := range []string{url, f.instance()} {
		if status, after, said := f.send(instance, "e-1", p); status != 503 || after < 590 || after > 601 {
			t.Errorf("instance %d: %d, Retry-After %d, %s", i, status, after, said)
		}
	}
	if got := f.answers(); got != nil {
		t.Errorf("answered during the limit: %+v", got)
	}
	f.sql.Do(`UPDATE github_pauses SET until = now()`)
	f.want(f.instance(), "e-1", p, 202)
	if got := f.answers(); len(got) != 1 || !got[0].Found {
		t.Errorf("answered %+v", got)
	}
}
