package main

import (
	"log/slog"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/github"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// TestACredentialOutlivesARename: GitHub gives no token by a former name. The run asks by the repository's number, and
// where that is not known, for the number first.
func TestACredentialOutlivesARename(t *testing.T) {
	hub, err := fakegithub.New(fakegithub.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Close() })
	if err := hub.CreateOrganization("acme"); err != nil {
		t.Fatal(err)
	}
	if err := hub.CreateRepository("acme/shop", map[string]string{"README.md": "shop"}); err != nil {
		t.Fatal(err)
	}
	clients, err := github.Open(github.Config{URL: hub.APIURL(), AppID: hub.AppID(), AppKey: hub.AppPrivateKey()})
	if err != nil {
		t.Fatal(err)
	}
	client, err := clients.For(t.Context(), "acme/shop")
	if err != nil {
		t.Fatal(err)
	}
	known, _, err := client.Repositories.Get(t.Context(), "acme", "shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.MoveRepository("acme/shop", "acme/store", "acme"); err != nil {
		t.Fatal(err)
	}
	f := setup(t)
	f.h.token = clients.Token
	f.exec(`INSERT INTO repositories (full_name, project_id) VALUES ('acme/shop', 'shop')`)
	for _, number := range []int64{known.GetID(), 0} {
		f.exec(`UPDATE repositories SET github_id = nullif($1, 0)`, number)
		got, err := f.agent().GetGitCredential(t.Context(), &agentapi.GetGitCredentialRequest{})
		if err != nil || !strings.HasPrefix(got.GetPassword(), "ghs_") {
			t.Errorf("with number %d: %v", number, err)
		}
	}
	f.exec(`UPDATE repositories SET github_id = 424242`)
	if _, err := f.agent().GetGitCredential(t.Context(), &agentapi.GetGitCredentialRequest{}); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("of a repository that the App does not have: %v", err)
	}
}
