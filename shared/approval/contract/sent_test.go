package contract

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/webhook"
)

// What the platform itself sends keeps the contract, be it short, long, or nothing at all.
func TestWhatThePlatformSends(t *testing.T) {
	schema := schemas(t, document(t))
	bodies := map[string]*jsonschema.Schema{}
	for path, name := range map[string]string{"/approve": "ApproveRequest", "/execute": "ExecuteRequest", "/decided": "DecidedRequest"} {
		bodies[path] = schema("/components/schemas/" + name)
	}
	sent := map[string]int{}
	adapter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent[r.URL.Path]++
		body, err := jsonschema.UnmarshalJSON(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
			return
		}
		if err := bodies[r.URL.Path].Validate(body); err != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		for name, parameter := range map[string]string{"Idempotency-Key": "IdempotencyKey", chat.HeaderTimestamp: "Timestamp", chat.HeaderSignature: "Signature"} {
			if err := schema("/components/parameters/" + parameter + "/schema").Validate(r.Header.Get(name)); err != nil {
				t.Errorf("%s, %s: %v", r.URL.Path, name, err)
			}
		}
		if id := body.(map[string]any)["correlation_id"]; id != r.Header.Get("Idempotency-Key") {
			t.Errorf("the id is %v and the key %s", id, r.Header.Get("Idempotency-Key"))
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer adapter.Close()
	now := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	c := &chat.HTTP{
		Approvers: map[string]chat.Approver{"desk": {URL: adapter.URL, Secrets: webhook.Secrets{[]byte("shared-with-the-desk")}}},
		Callback:  "https://codexk8s.example.com", Keys: webhook.Secrets{[]byte("our-own-key-for-callbacks")}, Client: adapter.Client(), Now: func() time.Time { return now },
	}
	long := strings.Repeat("ü\"\n", 10_000)
	for _, words := range []string{"", "A", "Ten words would be more than these.", long} {
		for _, kind := range []approval.Kind{events.KindApproval, events.KindQuestion} {
			m := events.ApprovalMessage{
				RequestID: "aaaaaaaa-89ab-5def-8123-456789abcdef", Digest: "0123456789ab", Version: 1, Lang: "en", Kind: kind, State: approval.Open, Action: "tool:secret_sync",
				Title: words, Justification: words, Risk: words, Context: words, Deadline: now.Add(-time.Hour), Quorum: 1, IssueURL: "https://github.com/acme/shop/issues/12",
				Links: []events.ApprovalLink{{Text: words, URL: "https://github.com/acme/shop"}}, FreeText: kind == events.KindQuestion,
			}
			if kind == events.KindQuestion {
				m.Options = []string{"left " + words, "right " + words}
			} else if arguments, err := json.Marshal(map[string]string{"name": words}); err == nil {
				m.Arguments = arguments
			}
			posted, err := c.Post(t.Context(), "desk", m)
			if err == nil {
				m.State, m.Outcome = approval.Expired, "Expired: nobody decided in time."
				err = c.Edit(t.Context(), posted.Ref, m)
			}
			if err != nil {
				t.Errorf("%s, %d bytes: %v", kind, len(words), err)
			}
		}
	}
	if sent["/approve"] != 4 || sent["/execute"] != 4 || sent["/decided"] != 8 {
		t.Errorf("sent %v", sent)
	}
}
