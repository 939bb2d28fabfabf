package store_test

import (
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
)

// What need not be in the log is another system's, from a source that was named with scheme and host.
func TestWhatMayBeUnlogged(t *testing.T) {
	db := newWorld(t).as("stage-router")
	for _, prefix := range []string{"", "https://", "github.com/acme", "/acme", ":"} {
		if err := db.AllowUnlogged([]string{"https://github.com/acme/", prefix}); err == nil {
			t.Errorf("the prefix %q is accepted", prefix)
		}
	}
	may := func(eventType, source string) bool {
		e := event.New()
		e.SetType(eventType)
		e.SetSource(source)
		return db.MayBeUnlogged(e)
	}
	if may(events.GitHubType("issues"), "https://github.com/acme/shop") {
		t.Error("accepted before anything is allowed")
	}
	if err := db.AllowUnlogged([]string{"https://github.com/acme/"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		eventType, source string
		want              bool
	}{
		{events.GitHubType("issues"), "https://github.com/acme/shop", true},
		{events.GitHubType("issues"), "https://github.com/acmeevil/shop", false},
		{events.GitHubType("issues"), "https://evil.example/https://github.com/acme/", false},
		{events.RunRequested{}.EventType(), "https://github.com/acme/shop", false},
	} {
		if got := may(c.eventType, c.source); got != c.want {
			t.Errorf("%s from %s: %t", c.eventType, c.source, got)
		}
	}
}
