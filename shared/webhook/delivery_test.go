package webhook

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const testGUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		name, event, payload      string
		want                      Delivery
		typ, source, subject, err string
	}{
		{
			name: "issue labeled", event: "issues",
			payload: `{"action":"labeled","issue":{"user":{"login":"ann"},"number":12},"label":{"name":"run:dev"},
				"repository":{"name":"api","full_name":"Acme/api","owner":{"login":"Acme"}},"sender":{"login":"bob"},"installation":{"id":7}}`,
			want: Delivery{Event: "issues", Action: "labeled", Label: "run:dev", Owner: "Acme", Repository: "Acme/api", Number: 12, Sender: "bob", Installation: 7},
			typ:  "dev.knative.source.github.issues", source: "https://github.com/Acme/api", subject: "12",
		},
		{
			name: "pull request", event: "pull_request",
			payload: `{"action":"opened","number":9,"pull_request":{"number":9},"repository":{"full_name":"a/b"},"sender":{"login":"dependabot[bot]"}}`,
			want:    Delivery{Event: "pull_request", Action: "opened", Owner: "a", Repository: "a/b", Number: 9, Sender: "dependabot[bot]"},
			typ:     "dev.knative.source.github.pull_request", source: "https://github.com/a/b", subject: "9",
		},
		{
			name: "comment on a pull request counts by the issue", event: "issue_comment",
			payload: `{"issue":{"number":3,"pull_request":{"number":4}},"repository":{"full_name":"a/b"}}`,
			want:    Delivery{Event: "issue_comment", Owner: "a", Repository: "a/b", Number: 3},
			typ:     "dev.knative.source.github.issue_comment", source: "https://github.com/a/b", subject: "3",
		},
		{
			name: "without a repository", event: "installation",
			payload: `{"action":"created","installation":{"id":5,"account":{"login":"acme"}}}`,
			want:    Delivery{Event: "installation", Action: "created", Installation: 5},
			typ:     "dev.knative.source.github.installation", source: "https://github.com",
		},
		{
			name: "fields of another type are as good as absent", event: "issues",
			payload: `{"action":5,"issue":{"number":"12"},"number":1.5,"repository":null,"sender":[{"login":"x"}],"installation":{"id":null}}`,
			want:    Delivery{Event: "issues"},
			typ:     "dev.knative.source.github.issues", source: "https://github.com",
		},
		{
			name: "escaped keys, and the last of two wins as in encoding/json", event: "issues",
			payload: `{"\u0061ction":"opened","action":"clo\u0073ed","sender":{"login":"a"},"sender":{}}`,
			want:    Delivery{Event: "issues", Action: "closed"},
			typ:     "dev.knative.source.github.issues", source: "https://github.com",
		},
		{name: "position of an error", event: "issues", payload: "{\"action\":\"opened\",\n  \"issue\": {\"number\": 01}}", err: `malformed JSON at 2:24: unexpected '1', want a comma or a closing brace`},
		{name: "end of input", event: "issues", payload: `{"action":"op`, err: `malformed JSON at 1:14: unexpected end, want a closing quote`},
		{name: "nothing", event: "issues", payload: ``, err: `malformed JSON at 1:1: unexpected end, want an object`},
		{name: "no object", event: "issues", payload: `[1]`, err: `malformed JSON at 1:1: unexpected '[', want an object`},
		{name: "trailing", event: "issues", payload: "{}\n\nx", err: `malformed JSON at 3:1: unexpected 'x', want nothing after the object`},
		{name: "bare control character", event: "issues", payload: "{\"a\":\"\x01\"}", err: `malformed JSON at 1:7: unexpected '\x01', want no bare control character in a string`},
		{name: "repository that is a place", event: "issues", payload: `{"repository":{"full_name":"acme/.."}}`, err: `repository.full_name is not owner/name`},
		{name: "repository that cannot be one", event: "issues", payload: `{"repository":{"full_name":"a/b\r\nx: y"}}`, err: `repository.full_name is not owner/name`},
		{name: "no event", event: "", payload: `{}`, err: `header X-GitHub-Event is missing or no event name: ""`},
		{name: "impossible event", event: "issues\n", payload: `{}`, err: `header X-GitHub-Event is missing or no event name: "issues\n"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Classify(tt.event, testGUID, []byte(tt.payload))
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("error %v\n want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tt.want.GUID = testGUID
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			e := got.CloudEvent([]byte(tt.payload), time.Now())
			envelope := []string{e.Type(), e.Source(), e.Subject()}
			if diff := cmp.Diff([]string{tt.typ, tt.source, tt.subject}, envelope); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCloudEvent(t *testing.T) {
	received := time.Date(2026, 11, 1, 13, 0, 0, 0, time.FixedZone("", 3600))
	payload := []byte(" {\"odd\":  1}\n")
	of := func(d Delivery) map[string]any {
		e := d.CloudEvent(payload, received)
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
		return map[string]any{
			"id": e.ID(), "type": e.Type(), "source": e.Source(), "subject": e.Subject(), "time": e.Time().Format(time.RFC3339),
			"content type": e.DataContentType(), "data": string(e.Data()), "extensions": e.Extensions(),
		}
	}
	want := map[string]any{
		"id": testGUID, "type": "dev.knative.source.github.issues", "source": "https://github.com/Acme/api", "subject": "12",
		"time": "2026-11-01T12:00:00Z", "content type": "application/json", "data": string(payload),
		"extensions": map[string]any{
			"action": "labeled", "label": "run:dev", "owner": "Acme", "repository": "Acme/api", "sender": "bob",
			"correlationid": "acme/api#12", "partitionkey": "acme/api#12",
		},
	}
	d := Delivery{GUID: testGUID, Event: "issues", Action: "labeled", Label: "run:dev", Owner: "Acme", Repository: "Acme/api", Number: 12, Sender: "bob", Installation: 7}
	if diff := cmp.Diff(want, of(d)); diff != "" {
		t.Errorf("an issue: %s", diff)
	}
	d.Event, d.Action, d.Label = "pull_request", "", ""
	want["type"] = "dev.knative.source.github.pull_request"
	want["extensions"] = map[string]any{"owner": "Acme", "repository": "Acme/api", "sender": "bob", "partitionkey": "acme/api#12"}
	if diff := cmp.Diff(want, of(d)); diff != "" {
		t.Errorf("a pull request, which is no work item: %s", diff)
	}
	want["type"], want["source"], want["subject"], want["extensions"] = "dev.knative.source.github.ping", "https://github.com", "", map[string]any(nil)
	if diff := cmp.Diff(want, of(Delivery{GUID: testGUID, Event: "ping"})); diff != "" {
		t.Errorf("without a repository: %s", diff)
	}
}

func TestSamePayload(t *testing.T) {
	const payload = `{"action":"opened","issue":{"id":9007199254740993,"title":"a & b"},"labels":["x","y"]}`
	for _, tt := range []struct {
		name, other string
		want        bool
	}{
		{"the same bytes", payload, true},
		{"written anew", `{"labels": ["x", "y"], "issue": {"title": "a \u0026 b", "id": 9007199254740993}, "action": "opened"}`, true},
		{"through an App's hook", `{"action":"opened","issue":{"id":9007199254740993,"title":"a & b"},"labels":["x","y"],"installation":{"id":7}}`, true},
		{"another action", strings.Replace(payload, "opened", "closed", 1), false},
		{"a digit that a float has not", strings.Replace(payload, "993", "992", 1), false},
		{"another order of a list", strings.Replace(payload, `"x","y"`, `"y","x"`, 1), false},
		{"a member more", strings.Replace(payload, "{", `{"a":1,`, 1), false},
		{"an installation elsewhere", strings.Replace(payload, `"id"`, `"installation":1,"id"`, 1), false},
		{"no JSON", "x", false},
		{"no object", "[]", false},
	} {
		if got := SamePayload([]byte(payload), []byte(tt.other)); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
		if got := SamePayload([]byte(tt.other), []byte(payload)); got != tt.want {
			t.Errorf("%s, the other way round: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// TestOneEventThroughSeveralHooks: each hook is told what its owner may know, and the event is one.
func TestOneEventThroughSeveralHooks(t *testing.T) {
	const payload = `{"action":"labeled","label":{"name":"run:dev"},"issue":{"number":1,"title":"a","updated_at":"2026-11-01T12:00:00Z"},` +
		`"repository":{"full_name":"acme/api","id":7},"sender":{"login":"ann","id":2}}`
	const push = `{"ref":"refs/heads/main","after":"1","repository":{"full_name":"acme/api"},"sender":{"login":"ann"}}`
	with := func(payload, old, new string) string { return strings.Replace(payload, old, new, 1) }
	for _, tt := range []struct {
		name, one, other string
		want             bool
	}{
		{"an organisation's", payload, with(payload, `{"action"`, `{"organization":{"login":"acme"},"action"`), true},
		{"an enterprise's", payload, with(payload, `{"action"`, `{"enterprise":{"slug":"acme"},"action"`), true},
		{"an App's", payload, with(payload, `{"action"`, `{"installation":{"id":7},"action"`), true},
		{"with the repository's properties", payload, with(payload, `"id":7`, `"id":7,"custom_properties":{"tier":"1"}`), true},
		{"with what nobody reads", payload, with(payload, `"login":"ann"`, `"login":"ann","user_view_type":"public"`), true},
		{"another label", payload, with(payload, "run:dev", "run:abort"), false},
		{"another issue", payload, with(payload, `"number":1`, `"number":2`), false},
		{"another moment", payload, with(payload, "12:00:00", "12:00:01"), false},
		{"another person", payload, with(payload, `"id":2`, `"id":3`), false},
		{"another repository", payload, with(payload, `"id":7`, `"id":8`), false},
		{"another text", payload, with(payload, `"title":"a"`, `"title":"b"`), false},
		{"a push of an organisation's hook", push, with(push, `{"ref"`, `{"organization":{"login":"acme"},"ref"`), true},
		{"another push: we don't read it, and it is another", push, with(push, `"after":"1"`, `"after":"2"`), false},
	} {
		if got := SamePayload([]byte(tt.one), []byte(tt.other)); got != tt.want || SamePayload([]byte(tt.other), []byte(tt.one)) != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestClassifyWantsADeliveryID(t *testing.T) {
	for _, guid := range []string{"", "a b", "ä", strings.Repeat("1", 129), "x\r\ny"} {
		if _, err := Classify("ping", guid, []byte(`{}`)); err == nil {
			t.Errorf("GUID %q accepted", guid)
		}
	}
}

// example is one of GitHub's real payloads as npm's @octokit/webhooks-examples has them.
type example struct {
	event   string
	payload json.RawMessage
}

func examples(t testing.TB) []example {
	t.Helper()
	file := filepath.Join("..", "..", "test", "node_modules", "@octokit", "webhooks-examples", "api.github.com", "index.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("GitHub's webhook examples are missing, run make tools: %v", err)
	}
	var groups []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(data, &groups); err != nil {
		t.Fatal(err)
	}
	var all []example
	for _, g := range groups {
		for _, p := range g.Examples {
			all = append(all, example{g.Name, p})
		}
	}
	if len(all) < 300 {
		t.Fatalf("only %d examples, want GitHub's three hundred: run make tools", len(all))
	}
	return all
}

// Every real payload is accepted, and the pass over its bytes finds what a full decoding finds.
func TestClassifyEveryExampleOfGitHub(t *testing.T) {
	for _, ex := range examples(t) {
		got, err := Classify(ex.event, testGUID, ex.payload)
		if err != nil {
			t.Errorf("%s: %v\n%.200s", ex.event, err, ex.payload)
			continue
		}
		var full struct {
			Action             string
			Number             int64
			Issue, PullRequest struct {
				Number int64
			}
			Pull       struct{ Number int64 } `json:"pull_request"`
			Repository struct {
				FullName string `json:"full_name"`
			}
			Label        struct{ Name string }
			Sender       struct{ Login string }
			Installation struct{ ID int64 }
		}
		if err := json.Unmarshal(ex.payload, &full); err != nil {
			t.Fatalf("%s: %v", ex.event, err)
		}
		want := Delivery{
			GUID: testGUID, Event: ex.event, Action: full.Action, Label: attribute(full.Label.Name), Repository: full.Repository.FullName,
			Sender: full.Sender.Login, Installation: full.Installation.ID, Number: full.Issue.Number,
		}
		want.Owner, _, _ = strings.Cut(full.Repository.FullName, "/")
		if want.Number == 0 {
			want.Number = full.Pull.Number
		}
		if want.Number == 0 {
			want.Number = full.Number
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", ex.event, diff)
		}
	}
}

// The scanner and encoding/json agree on what is JSON, and a refusal names a place inside the payload.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"action":"labeled","issue":{"number":12},"repository":{"full_name":"a/b"}}`, `[]`, `{"a":[1,-0.5e+3,true,null,"\u00e4\n"]}`,
		"{\"a\" : \t\r\n1}", `{"a":01}`, `{"a":"\x"}`, `{"a":1,}`, `{"a":tru}`, `{"number":-9223372036854775808}`, "{\"a\":\"\xff\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		d, err := Classify("issues", testGUID, payload)
		var syntax *SyntaxError
		object := false
		var fields map[string]json.RawMessage
		if json.Unmarshal(payload, &fields) == nil && fields != nil {
			object = true
		}
		switch {
		case errors.As(err, &syntax):
			if object {
				t.Errorf("refused what encoding/json reads: %v\n%q", err, payload)
			}
			if syntax.Line < 1 || syntax.Column < 1 || syntax.Column > len(payload)+1 {
				t.Errorf("error outside the payload: %v", err)
			}
		case err == nil || d.Repository != "":
			if !object {
				t.Errorf("accepted what encoding/json refuses: %q", payload)
			}
		}
	})
}

func labeledPayload(t testing.TB) []byte {
	t.Helper()
	for _, ex := range examples(t) {
		var p struct{ Action string }
		if ex.event == "issues" && json.Unmarshal(ex.payload, &p) == nil && p.Action == "labeled" {
			return ex.payload
		}
	}
	t.Fatal("no issues.labeled among the examples")
	return nil
}

func BenchmarkClassify(b *testing.B) {
	payload := labeledPayload(b)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Classify("issues", testGUID, payload); err != nil {
			b.Fatal(err)
		}
	}
}
