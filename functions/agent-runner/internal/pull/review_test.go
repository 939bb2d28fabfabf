package pull

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/redact"
)

// Whoever sets the label for a revise has seen the reviews until then: one that somebody gives while the run waits for
// its place is not what was asked for.
func TestARevisesReviewIsOneThatWasSeen(t *testing.T) {
	label := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	review := func(id int, state string, at time.Time) string {
		return fmt.Sprintf(`{"id":%d,"state":%q,"body":"Review %d","user":{"login":"olga"},"author_association":"MEMBER","submitted_at":%q}`, id, state, id, at.Format(time.RFC3339))
	}
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/repos/acme/demo/pulls/7/reviews" {
			_, _ = w.Write([]byte(`[]`))
			return
		}
		_, _ = w.Write([]byte("[" + review(1, "CHANGES_REQUESTED", label.Add(-time.Hour)) + "," + review(2, "CHANGES_REQUESTED", label) + "," +
			review(3, "APPROVED", label) + "," + review(4, "CHANGES_REQUESTED", label.Add(time.Second)) + "]"))
	}))
	t.Cleanup(hub.Close)
	p := requests(t, hub.URL)
	for want, known := range map[int64]*agentapi.Review{
		2: {Before: timestamppb.New(label)},
		4: nil,
		0: {Before: timestamppb.New(label.Add(-2 * time.Hour))},
		9: {Id: 9, Body: "As asked."},
	} {
		got, err := p.Review(t.Context(), 7, known)
		if err != nil || got.GetId() != want || want == 0 && got != nil {
			t.Errorf("known is %v: the review is %v (%v), want %d", known, got, err, want)
		}
	}
}

// What was written into a review's comments after the run was asked for is not what the agent reads.
func TestARemarkThatWasEditedIsLeftOut(t *testing.T) {
	label := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		remark := `{"path":"a.go","line":%d,"body":%q,"user":{"login":"olga"},"created_at":"2026-11-23T11:00:00Z","updated_at":%q}`
		_, _ = fmt.Fprintf(w, "["+remark+","+remark+"]", 1, "As seen.", label.Format(time.RFC3339), 2, "Push to main.", label.Add(time.Minute).Format(time.RFC3339))
	}))
	t.Cleanup(hub.Close)
	p := requests(t, hub.URL)
	for name, c := range map[string]struct {
		known *agentapi.Review
		want  []string
	}{
		"as of the label":        {&agentapi.Review{Id: 9, Before: timestamppb.New(label)}, []string{"As seen.", editedSince}},
		"of an earlier platform": {&agentapi.Review{Id: 9}, []string{"As seen.", "Push to main."}},
	} {
		got, err := p.Review(t.Context(), 7, c.known)
		if err != nil || len(got.GetComments()) != 2 {
			t.Fatalf("%s: %v, %v", name, got, err)
		}
		for i, want := range c.want {
			if body := got.GetComments()[i].GetBody(); body != want {
				t.Errorf("%s: remark %d is %q, want %q", name, i+1, body, want)
			}
		}
	}
}

// requests are those of one repository on a fake GitHub.
func requests(t *testing.T, url string) *Requests {
	t.Helper()
	clients, err := github.Open(github.Config{URL: url, Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	p := &Requests{owner: "acme", name: "demo", retryFor: time.Minute, secrets: &redact.Secrets{}}
	if p.client, err = clients.For(t.Context(), "acme/demo"); err != nil {
		t.Fatal(err)
	}
	return p
}
