package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// A request that GitHub shows is delivered, and one that it refuses is not, whatever becomes of the rest of the change:
// then another channel stands in. An outage says nothing yet.
func TestARequestOnGitHubIsDeliveredOrNot(t *testing.T) {
	const locked, lacking = "Unable to create comment because issue is locked.", "Resource not accessible by integration"
	fault := func(path string, status int, said string) *fakegithub.Fault {
		return &fakegithub.Fault{Kind: "refusal", Method: "POST", Path: path, Status: status, Message: said, Requests: -1}
	}
	for _, c := range []struct {
		name       string
		fault      *fakegithub.Fault
		repository string
		status     int
		want       string
	}{
		{"shown", nil, repo, 202, "approval.delivered"},
		{"locked", fault("/comments", 403, locked), repo, 202, "approval.undeliverable github_locked"},
		{"a permission is missing", fault("/comments", 403, lacking), repo, 422, "approval.undeliverable github_refused"},
		{"no such repository", nil, "acme/gone", 202, "approval.undeliverable github_gone"},
		{"another part is refused", fault("/labels", 403, lacking), repo, 422, "approval.delivered"},
		{"an outage", fault("/comments", 502, "Bad gateway"), repo, 500, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := setup(t)
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
			var got []string
			for _, line := range f.sql.Lines(`
				SELECT concat_ws(' ', type, convert_from(data, 'UTF8')::jsonb ->> 'reason', convert_from(data, 'UTF8')::jsonb ->> 'requestId',
					convert_from(data, 'UTF8')::jsonb ->> 'version', convert_from(data, 'UTF8')::jsonb ->> 'channel')
				FROM events WHERE function = 'github-caller' AND type LIKE '%.approval.%'`) {
				got = append(got, strings.TrimPrefix(line, events.Prefix))
			}
			var want []string
			if c.want != "" {
				want = []string{fmt.Sprintf("%s %s 3 github", c.want, shown.RequestID)}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
		})
	}
}
