package main

import (
	"context"
	"crypto/sha256"
	"testing"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/github"
)

// A run that reviews gets a credential that only reads, whoever asks; with the results of checks, if the App may see
// them.
func TestAReviewsCredentialOnlyReads(t *testing.T) {
	f := setup(t)
	f.exec(`UPDATE runs SET kind = 'review'`)
	var asked []string
	f.h.token = func(_ context.Context, _ string, _ int64, p *gh.InstallationPermissions) (github.Token, error) {
		asked = append(asked, p.GetContents()+p.GetPullRequests()+p.GetIssues()+p.GetChecks()+p.GetStatuses())
		if p.Checks != nil {
			return github.Token{}, &github.Refused{Status: 422, Message: "The permissions requested are not granted to this installation."}
		}
		return github.Token{Value: "ghs_read"}, nil
	}
	pod := f.pod("first")
	if _, err := pod.GetAssignment(t.Context(), &agentapi.GetAssignmentRequest{}); err != nil {
		t.Fatal(err)
	}
	for name, who := range map[string]agentapi.SessionServiceClient{"the run token alone": f.agent(), "the pod": pod} {
		asked = nil
		got, err := who.GetGitCredential(t.Context(), &agentapi.GetGitCredentialRequest{})
		if err != nil || got.GetPassword() != "ghs_read" || len(asked) != 2 || asked[0] != "readreadreadreadread" || asked[1] != "readreadread" {
			t.Errorf("%s: %v, %v, asked for %q", name, got, err, asked)
		}
	}
}

// Who reviews has another conversation than who made what is reviewed.
func TestAReviewIsAnotherConversation(t *testing.T) {
	f := setup(t)
	save := func(data string) {
		t.Helper()
		sum := sha256.Sum256([]byte(data))
		if _, err := f.agent().SaveSnapshot(t.Context(), &agentapi.SaveSnapshotRequest{ThreadId: data, Sha256: sum[:], Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
	}
	load := func() string {
		t.Helper()
		got, err := f.agent().LoadSnapshot(t.Context(), &agentapi.LoadSnapshotRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return got.GetThreadId()
	}
	save("work")
	f.exec(`UPDATE runs SET kind = 'review'`)
	if got := load(); got != "" {
		t.Errorf("the reviewer goes on with %q", got)
	}
	save("review")
	if got := load(); got != "review" {
		t.Errorf("a reviewer who was interrupted goes on with %q", got)
	}
	f.exec(`UPDATE runs SET kind = 'revise'`)
	if got := load(); got != "work" {
		t.Errorf("the revise goes on with %q", got)
	}
}
