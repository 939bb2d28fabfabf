package manifests_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWhatTheOperatorMakesIsSaid: config/100-namespace.yaml lists every key of every Secret that a function reads, and
// "Connect chats" of config/README.md all that belongs to a chat, the settings too.
func TestWhatTheOperatorMakesIsSaid(t *testing.T) {
	list, chats := read(t, "config/100-namespace.yaml"), section(t, read(t, "config/README.md"), "## Connect chats\n")
	for name, s := range load(t).services {
		for _, e := range s.Spec.Template.Spec.Containers[0].Env {
			switch {
			case e.ValueFrom == nil:
			case e.ValueFrom.SecretKeyRef != nil:
				secret, key := e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Key
				if !strings.Contains(list, secret) || !slices.Contains(strings.Fields(list), key) {
					t.Errorf("%s reads %s of Secret %s, which config/100-namespace.yaml does not list", name, key, secret)
				}
				if secret == "codexk8s-chat" && key != "keys" && !strings.Contains(chats, "`"+key+"`") {
					t.Errorf("config/README.md says nothing of the key %s under Connect chats", key)
				}
			case e.ValueFrom.ConfigMapKeyRef != nil && name == "approval-notifier":
				if key := e.ValueFrom.ConfigMapKeyRef.Key; key != "observability" && !strings.Contains(chats, "`"+key+"`") {
					t.Errorf("config/README.md says nothing of the setting %s under Connect chats", key)
				}
			}
		}
	}
	for _, chat := range []string{"Telegram", "Slack", "Mattermost", "Jira", "Your own"} {
		_, text, found := strings.Cut(chats, "\n**"+chat+".**")
		text, _, _ = strings.Cut(text, "\n\n**")
		if n := strings.Count(text, "\n") + 1; !found || n > 10 || len(text) > 1200 {
			t.Errorf("how to connect %s takes %d lines, %d characters", chat, n, len(text))
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section is a README's text between a heading and the next.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(text, heading)
	if !found {
		t.Fatalf("there is no %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}
