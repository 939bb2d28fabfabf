package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/webhook"
)

// timekeeper stores a delivery that never came as GitHub's list shows it. When somebody has it delivered once more,
// from whichever hook, its bytes are others and it says the same.
func TestTheRealBytesOfWhatWasTakenFromGitHubsList(t *testing.T) {
	f := setup(t)
	const listed = `{"sender": {"login": "bob"}, "repository": {"full_name": "Acme/api"}, "issue": {"number": 12, "title": "a \u0026 b"}, "action": "opened"}`
	d, err := webhook.Classify("issues", "g-1", []byte(listed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.db.Receive(t.Context(), []store.Arrival{store.Delivered(d.CloudEvent([]byte(listed), time.Now()), 0, webhook.SamePayload)}); err != nil {
		t.Fatal(err)
	}
	const real = `{"action":"opened","issue":{"number":12,"title":"a & b"},"repository":{"full_name":"Acme/api"},"sender":{"login":"bob"}}`
	for _, tt := range []struct{ name, body, want string }{
		{"through the repository's hook", real, "200 duplicate"},
		{"through the App's hook", strings.TrimSuffix(real, "}") + `,"installation":{"id":7}}`, "200 duplicate"},
		{"through the organisation's hook", strings.TrimSuffix(real, "}") + `,"organization":{"login":"acme"}}`, "200 duplicate"},
		{"through the enterprise's hook", strings.Replace(strings.TrimSuffix(real, "}"), `"Acme/api"`, `"Acme/api","custom_properties":{"tier":"1"}`, 1) + `,"enterprise":{"id":1}}`, "200 duplicate"},
		{"with another content", strings.Replace(real, "a & b", "a & c", 1), "422 refused"},
		{"of another repository", strings.Replace(real, "Acme/api", "Acme/web", 1), "422 refused"},
	} {
		a := f.post("/github", headers("g-1", "issues", "new", []byte(tt.body)), []byte(tt.body))
		if got := fmt.Sprint(a.Code, " ", a.Status); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	f.stop()
	if len(f.broker.got) != 0 {
		t.Errorf("sent once more: %v", f.broker.got)
	}
	if diff := cmp.Diff([]string{"true"}, f.rows(`SELECT data = convert_to('`+listed+`', 'UTF8') FROM events`)); diff != "" {
		t.Errorf("the log of events: %s", diff)
	}
	if diff := cmp.Diff([]string{"github:bob id_reused", "github:bob id_reused"}, f.rows(`SELECT actor, reason FROM audit`)); diff != "" {
		t.Error(diff)
	}
}

// GitHub gives an event one GUID for all hooks that hear it.
func TestTwoHooksAtOnceAreOneEvent(t *testing.T) {
	setup(t).atOnce(labeled, strings.TrimSuffix(labeled, "}")+`,"installation":{"id":7}}`)
}
