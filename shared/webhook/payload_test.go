package webhook

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestIssueFromGitHubsPayload(t *testing.T) {
	payload := `{"action":"labeled",
		"label":{"id":1,"name":"run:dev"},
		"issue":{"number":12,"title":"Add search","body":null,"state":"open","html_url":"https://github.com/acme/api/issues/12",
			"labels":[{"name":"bug"},{"name":"run:dev"}],"user":{"login":"ann","id":3,"type":"User"},"updated_at":"2026-11-02T10:00:00+02:00"},
		"repository":{"id":77,"full_name":"acme/api","default_branch":"main","clone_url":"https://git.example/acme/api.git","private":true},
		"sender":{"login":"bob","id":4,"type":"User"}}`
	got, err := IssueFrom([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	want := IssueEvent{
		Action: "labeled", Label: "run:dev",
		Repository: Repository{Name: "acme/api", ID: 77, DefaultBranch: "main", CloneURL: "https://git.example/acme/api.git", Private: true},
		Number:     12, Title: "Add search", URL: "https://github.com/acme/api/issues/12", State: "open",
		Labels: []string{"bug", "run:dev"}, Author: Actor{"ann", "User", 3},
		UpdatedAt: time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC), Sender: Actor{"bob", "User", 4},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// GitHubSource decodes the payload into the structs of a library and writes those out again: fields that these lack are
// gone, absent times come as year 1, absent objects as empty ones.
func TestIssueFromGitHubSourcesPayload(t *testing.T) {
	payload := `{"action":"labeled","label":{"name":"run:dev"},
		"issue":{"number":12,"title":"Add search","updated_at":"0001-01-01T00:00:00Z","labels":null,"pull_request":null},
		"repository":{"full_name":"acme/api"},"sender":{"login":"ci[bot]"},"installation":{"id":0}}`
	got, err := IssueFrom([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	want := IssueEvent{
		Action: "labeled", Label: "run:dev",
		Repository: Repository{Name: "acme/api", CloneURL: "https://github.com/acme/api.git"},
		Number:     12, Title: "Add search", URL: "https://github.com/acme/api/issues/12", Labels: []string{},
		Sender: Actor{Login: "ci[bot]"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !got.Sender.Bot() {
		t.Error("a sender with the suffix [bot] is a bot even without its type")
	}
}

func TestReviewFrom(t *testing.T) {
	payload := `{"action":"submitted",
		"review":{"id":80,"state":"CHANGES_REQUESTED","body":"Please add a test.","commit_id":"abc","html_url":"https://github.com/acme/api/pull/9#pullrequestreview-80",
			"user":{"login":"ann","id":3,"type":"User"},"author_association":"MEMBER","submitted_at":"2026-11-02T10:00:00Z"},
		"pull_request":{"number":9,"state":"open","head":{"ref":"codexk8s/issue-12","sha":"abc","repo":{"full_name":"Acme/API"}},
			"base":{"ref":"main","sha":"def","repo":{"full_name":"acme/api"}},"user":{"login":"codex-k8s[bot]","id":5,"type":"Bot"}},
		"repository":{"full_name":"acme/api"},"sender":{"login":"ann","id":3,"type":"User"}}`
	got, err := ReviewFrom([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	want := ReviewEvent{
		Action:     "submitted",
		Repository: Repository{Name: "acme/api", CloneURL: "https://github.com/acme/api.git"},
		PullRequest: PullRequest{
			Number: 9, State: "open", URL: "https://github.com/acme/api/pull/9", Labels: []string{},
			HeadRef: "codexk8s/issue-12", HeadRepository: "Acme/API", HeadSHA: "abc", BaseRef: "main", BaseSHA: "def",
			Author: Actor{"codex-k8s[bot]", "Bot", 5},
		},
		Review: Review{
			ID: 80, State: "changes_requested", Body: "Please add a test.", Author: Actor{"ann", "User", 3}, CommitSHA: "abc",
			URL: "https://github.com/acme/api/pull/9#pullrequestreview-80", SubmittedAt: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC), Insider: true,
		},
		Sender: Actor{"ann", "User", 3},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.PullRequest.FromFork("acme/api") {
		t.Error("a branch of the same repository counted as a fork")
	}
}

func TestPullRequestFromForkThatWasDeleted(t *testing.T) {
	payload := `{"action":"closed","number":9,"pull_request":{"merged_at":"2026-11-02T10:00:00Z","merge_commit_sha":"fff",
		"head":{"ref":"x","sha":"abc","repo":null}},"repository":{"full_name":"acme/api"}}`
	got, err := PullRequestFrom([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	want := PullRequestEvent{
		Action:     "closed",
		Repository: Repository{Name: "acme/api", CloneURL: "https://github.com/acme/api.git"},
		PullRequest: PullRequest{
			Number: 9, URL: "https://github.com/acme/api/pull/9", Merged: true, MergeCommit: "fff", Labels: []string{},
			HeadRef: "x", HeadSHA: "abc",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !got.PullRequest.FromFork("acme/api") {
		t.Error("an unknown head repository must count as a fork")
	}
}

func TestPayloadsWithoutTheNecessary(t *testing.T) {
	for name, decode := range decoders {
		for _, payload := range []string{
			``, `null`, `[]`, `{}`, `{"repository":{"full_name":"a"}}`, `{"repository":{"full_name":"a/b"}}`,
			`{"repository":{"full_name":"a/b"},"issue":{"number":-1},"pull_request":{"number":-1}}`,
			`{"repository":{"full_name":"a/b"},"issue":[]}`,
		} {
			if payload == `{"repository":{"full_name":"a/b"},"issue":[]}` && name != "issues" {
				continue
			}
			if err := decode([]byte(payload)); err == nil {
				t.Errorf("%s: %s accepted", name, payload)
			}
		}
	}
}

var decoders = map[string]func([]byte) error{
	"issues":              func(p []byte) error { _, err := IssueFrom(p); return err },
	"pull_request":        func(p []byte) error { _, err := PullRequestFrom(p); return err },
	"pull_request_review": func(p []byte) error { _, err := ReviewFrom(p); return err },
	"issue_comment":       func(p []byte) error { _, err := CommentFrom(p); return err },
}

// Every real payload decodes, and so does each when any one of its fields is missing, at any of the upper levels,
// unless that field is one of the few that nothing can be done without.
func TestDecodeEveryExampleOfGitHub(t *testing.T) {
	t.Parallel()
	necessary := []string{
		"repository", "repository.full_name", "issue", "issue.number", "pull_request", "pull_request.number",
		"review", "review.id", "comment", "comment.id",
	}
	count := map[string]int{}
	seen := map[string]bool{}
	for _, ex := range examples(t) {
		decode := decoders[ex.event]
		if decode == nil {
			continue
		}
		count[ex.event]++
		if err := decode(ex.payload); err != nil {
			t.Errorf("%s: %v", ex.event, err)
		}
		var p struct{ Action string }
		if err := json.Unmarshal(ex.payload, &p); err != nil || seen[ex.event+p.Action] {
			continue // one of each action will do
		}
		seen[ex.event+p.Action] = true
		for path, payload := range without(t, ex.payload) {
			if err := decode(payload); err != nil && !slices.Contains(necessary, path) {
				t.Errorf("%s without %s: %v", ex.event, path, err)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"issues": 29, "pull_request": 29, "pull_request_review": 4, "issue_comment": 9}, count); diff != "" {
		t.Error(diff)
	}
}

// without returns the payload once for each field of its first two levels, with that field left out.
func without(t *testing.T, payload json.RawMessage) map[string]json.RawMessage {
	t.Helper()
	out := map[string]json.RawMessage{}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(payload, &top); err != nil {
		t.Fatal(err)
	}
	marshal := func(v any) json.RawMessage {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for key, value := range top {
		delete(top, key)
		out[key] = marshal(top)
		var inner map[string]json.RawMessage
		if json.Unmarshal(value, &inner) == nil {
			for sub, v := range inner {
				delete(inner, sub)
				top[key] = marshal(inner)
				out[key+"."+sub] = marshal(top)
				inner[sub] = v
			}
		}
		top[key] = value
	}
	return out
}

// No payload makes a decoder panic, and what is accepted names its repository.
func FuzzPayload(f *testing.F) {
	for _, p := range []string{
		`{"action":"labeled","label":{"name":"run:dev"},"issue":{"number":12,"labels":[{"name":"x"}]},"repository":{"full_name":"a/b"}}`,
		`{"action":"submitted","review":{"id":1,"state":"approved"},"pull_request":{"number":2,"head":{"repo":null}},"repository":{"full_name":"a/b"}}`,
		`{"action":"created","comment":{"id":1,"updated_at":1700000000},"issue":{"number":3,"pull_request":{}},"repository":{"full_name":"a/b"}}`,
		`{"issue":{"updated_at":"soon"}}`,
	} {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if e, err := IssueFrom(payload); err == nil && (e.Number <= 0 || e.Repository.Name == "") {
			t.Errorf("accepted without number or repository: %+v", e)
		}
		if e, err := ReviewFrom(payload); err == nil && (e.PullRequest.Number <= 0 || e.Review.ID == 0) {
			t.Errorf("accepted without pull request or review: %+v", e)
		}
		for _, decode := range decoders {
			_ = decode(payload)
		}
	})
}
