package chat_test

import (
	"errors"
	"os"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	fakechat "codexk8s.dev/test/fakes/chat"
)

// slackApp is config/chats/slack-app.yaml: https://docs.slack.dev/reference/app-manifest
type slackApp struct {
	Display struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	} `json:"display_information"`
	Features struct {
		Bot struct {
			Name string `json:"display_name"`
		} `json:"bot_user"`
		Commands []struct {
			Command     string `json:"command"`
			URL         string `json:"url"`
			Description string `json:"description"`
			Hint        string `json:"usage_hint"`
		} `json:"slash_commands"`
	} `json:"features"`
	OAuth struct {
		Scopes struct {
			Bot []string `json:"bot"`
		} `json:"scopes"`
	} `json:"oauth_config"`
	Settings struct {
		Interactivity struct {
			Enabled bool   `json:"is_enabled"`
			URL     string `json:"request_url"`
		} `json:"interactivity"`
	} `json:"settings"` // no events: we hear clicks, forms and the command alone
}

// TestSlackApp: the App that people make from our manifest calls where we listen, has the command that we name, and the
// scopes that our calls need, each of them and no other.
func TestSlackApp(t *testing.T) {
	text, err := os.ReadFile("../../config/chats/slack-app.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var app slackApp
	if err := yaml.UnmarshalStrict(text, &app); err != nil {
		t.Fatal(err)
	}
	const url = "https://HOST/" + approval.Slack
	if !app.Settings.Interactivity.Enabled || app.Settings.Interactivity.URL != url || len(app.Features.Commands) != 1 ||
		app.Features.Commands[0].URL != url || app.Features.Commands[0].Command != "/codexk8s" || app.Features.Bot.Name == "" {
		t.Errorf("want one command /codexk8s, a bot, and every address to be %s: %+v", url, app)
	}
	scopes := app.OAuth.Scopes.Bot
	if err := allOfSlack(t, scopes); err != nil {
		t.Errorf("with the scopes %v: %v", scopes, err)
	}
	for i, scope := range scopes {
		if allOfSlack(t, slices.Delete(slices.Clone(scopes), i, i+1)) == nil {
			t.Errorf("nothing needs the scope %s", scope)
		}
	}
}

// allOfSlack does all that we do with Slack, in a public and in a private channel, as an App of these scopes.
func allOfSlack(t *testing.T, scopes []string) error {
	t.Helper()
	w := newWorldOf(t, fakechat.Options{Scopes: append([]string{}, scopes...)})
	slack, m := w.channels[approval.Slack].(*chat.Slack), secretSync()
	var failed []error
	try := func(err error) { failed = append(failed, err) }
	for _, target := range []string{"C1", "G1"} {
		posted, err := slack.Post(ctx(t), target, m)
		try(err)
		try(slack.Edit(ctx(t), posted.Ref, decided(m)))
		_, err = slack.Remind(ctx(t), posted.Ref, m, "Still waiting.")
		try(err)
		_, err = slack.Find(ctx(t), target, m, now.Add(-1))
		try(err)
	}
	for _, p := range w.fake.Posts(fakechat.Slack) {
		if len(p.Buttons) > 0 {
			_, err := w.fake.Click(ctx(t), p, "with a reason", "bob")
			try(err)
		}
	}
	_, err := w.fake.Link(ctx(t), fakechat.Slack, "K7PQ-22XY", "eve")
	try(err)
	return errors.Join(failed...)
}
