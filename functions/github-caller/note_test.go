package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	knative "knative.dev/pkg/observability/metrics"

	"codexk8s.dev/shared/events"
	fakegithub "codexk8s.dev/test/fakes/github"
)

func fault(path string, status int, said string) *fakegithub.Fault {
	return &fakegithub.Fault{Kind: "refusal", Method: "POST", Path: path, Status: status, Message: said, Requests: -1}
}

// A request that GitHub shows is delivered, and one that it refuses is not, whatever becomes of the rest of the change:
// then another channel stands in. An outage, or a limit, says nothing unless it lasts.
func TestARequestOnGitHubIsDeliveredOrNot(t *testing.T) {
	const locked, lacking = "Unable to create comment because issue is locked.", "Resource not accessible by integration"
	limit := func(d time.Duration) *fakegithub.Fault {
		return &fakegithub.Fault{Kind: "secondary", Path: "/comments", RetryAfter: int(d.Seconds()), Requests: -1}
	}
	for _, c := range []struct {
		name       string
		fault      *fakegithub.Fault
		age        time.Duration
		repository string
		status     int
		want       string
	}{
		{"shown", nil, 0, repo, 202, "approval.delivered"},
		{"locked", fault("/comments", 403, locked), 0, repo, 202, "approval.undeliverable github_locked"},
		{"a permission is missing", fault("/comments", 403, lacking), 0, repo, 422, "approval.undeliverable github_refused"},
		{"no such repository", nil, 0, "acme/gone", 202, "approval.undeliverable github_gone"},
		{"another part is refused", fault("/labels", 403, lacking), 0, repo, 422, "approval.delivered"},
		{"an outage", fault("/comments", 502, "Bad gateway"), 0, repo, 500, ""},
		{"an outage that lasts", fault("/comments", 502, "Bad gateway"), 11 * time.Minute, repo, 500, "approval.undeliverable unreachable"},
		{"an outage of something else", fault("/labels", 502, "Bad gateway"), 11 * time.Minute, repo, 500, ""},
		{"a short limit", limit(time.Minute), 0, repo, 503, ""},
		{"a long limit", limit(time.Hour), 0, repo, 503, "approval.undeliverable unreachable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := setup(t)
			f.age = c.age
			if c.fault != nil {
				must(t, f.github.FailNext(*c.fault))
			}
			shown := events.ApprovalDelivered{RequestID: "a0000000-3b57-4c0e-9d6a-52b0c1f4a9e8", Version: 3, ApprovalTarget: events.ApprovalTarget{Channel: "github"}}
			p := f.change(func(p *events.GitHubChangeRequested) {
				p.On, p.Repository = []string{"bug"}, c.repository
				p.Note = &events.GitHubNote{Key: "approval/" + shown.RequestID, Text: "May I?", Version: 3, Delivered: &shown}
			})
			url := f.instance()
			for range 2 { // it comes twice, and is said once
				f.want(url, "e-1", p, c.status)
			}
			var want []string
			if c.want != "" {
				want = []string{fmt.Sprintf("%s %s 3 github", c.want, shown.RequestID)}
			}
			if diff := cmp.Diff(want, f.saidOfRequests()); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
		})
	}
}

// saidOfRequests is what the function said of approvals' requests.
func (f *fixture) saidOfRequests() (all []string) {
	f.t.Helper()
	for _, line := range f.sql.Lines(`
		SELECT concat_ws(' ', type, convert_from(data, 'UTF8')::jsonb ->> 'reason', convert_from(data, 'UTF8')::jsonb ->> 'requestId',
			convert_from(data, 'UTF8')::jsonb ->> 'version', convert_from(data, 'UTF8')::jsonb ->> 'channel')
		FROM events WHERE function = 'github-caller' AND type LIKE '%.approval.%' ORDER BY seq`) {
		all = append(all, strings.TrimPrefix(line, events.Prefix))
	}
	return all
}

// What becomes of requests on GitHub is counted with those of the chats, so the same alert tells of it.
func TestRequestsOnGitHubAreCounted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	provider, err := knative.NewMeterProvider(t.Context(), knative.Config{Protocol: knative.ProtocolPrometheus, Endpoint: address})
	must(t, err)
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	otel.SetMeterProvider(provider)
	f := setup(t)
	url := f.instance()
	for id, c := range map[string]struct {
		status int
		fault  fakegithub.Fault
	}{
		"shown": {202, fakegithub.Fault{Kind: "outage", Path: "/nowhere"}}, "down": {500, fakegithub.Fault{Kind: "outage", Path: "/comments"}},
		"refused": {422, *fault("/comments", 403, "Resource not accessible by integration")},
	} {
		must(t, f.github.FailNext(c.fault))
		p := f.change(func(p *events.GitHubChangeRequested) {
			p.Note = &events.GitHubNote{Key: id, Text: "May I?", Version: 1, Delivered: &events.ApprovalDelivered{
				RequestID: id, Version: 1, ApprovalTarget: events.ApprovalTarget{Channel: "github"},
			}}
		})
		f.want(url, id, p, c.status)
		f.github.ClearFaults()
	}
	var got []string
	for end := time.Now().Add(10 * time.Second); len(got) == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // its server starts in the background
		if resp, err := http.Get("http://" + address + "/metrics"); err == nil {
			text, err := io.ReadAll(resp.Body)
			must(t, errors.Join(err, resp.Body.Close()))
			for _, m := range regexp.MustCompile(`codexk8s_approval_messages_total\{channel="github",.*outcome="([a-z_]+)".*\} (\d+)`).FindAllSubmatch(text, -1) {
				got = append(got, string(m[1])+" "+string(m[2]))
			}
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"delivered 1", "failed 1", "github_refused 1"}, got); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// When GitHub works again the request is shown there, and that is said.
func TestAnOutageThatEnds(t *testing.T) {
	f := setup(t)
	f.age = 11 * time.Minute
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "outage", Requests: -1}))
	shown := events.ApprovalDelivered{RequestID: "r", Version: 1, ApprovalTarget: events.ApprovalTarget{Channel: "github"}}
	p := f.change(func(p *events.GitHubChangeRequested) {
		p.Note = &events.GitHubNote{Key: "k", Text: "May I?", Version: 1, Delivered: &shown}
	})
	url := f.instance()
	f.want(url, "e-1", p, 500)
	f.github.ClearFaults()
	f.want(url, "e-1", p, 202)
	if diff := cmp.Diff([]string{"approval.undeliverable unreachable r 1 github", "approval.delivered r 1 github"}, f.saidOfRequests()); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}

// A note may stand on a pull request, and stays one comment there.
func TestANoteOnAPullRequest(t *testing.T) {
	f := setup(t)
	must(t, f.push(issueBranch, map[string]string{"a.md": "x"}))
	pull, err := f.github.OpenPullRequest(repo, "PRD", "", issueBranch, "main", "ann")
	must(t, err)
	p := f.change(func(p *events.GitHubChangeRequested) {
		p.Note = &events.GitHubNote{Key: "superseded/2", On: pull, Text: "No longer.", Version: 1}
	})
	url := f.instance()
	f.want(url, "e-1", p, 202)
	f.want(url, "e-2", p, 202)
	if all := f.github.Comments(repo, pull); len(all) != 1 || !strings.HasPrefix(all[0].Body, "No longer.") || len(f.comments()) != 0 {
		t.Errorf("on the pull request %+v, on the issue %v", all, f.comments())
	}
}
