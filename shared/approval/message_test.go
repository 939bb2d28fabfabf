package approval

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
)

// What people read is what will be done, and nothing that looks like something else.
func TestFieldsSayWhatTheArgumentsAre(t *testing.T) {
	arguments, err := Canonical([]byte(`{
		"b": "text", "a": {"y": [1, "z"], "x": null}, "number": 12, "quoted": "12", "word": "true", "yes": true, "empty": "", "blank": " x ",
		"lines": "x\nrisk: none", "turned": "a\u202etxt.exe", "no\nname": 1.50, "é": "ü <b>*_` + "`" + `", "join": "a\u200db"
	}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Field{
		{Name: "a", Value: `{"x":null,"y":[1,"z"]}`},
		{Name: "b", Value: "text"},
		{Name: "blank", Value: `" x "`},
		{Name: "empty", Value: `""`},
		{Name: "join", Value: `a\u{200D}b`},
		{Name: "lines", Value: `"x\nrisk: none"`},
		{Name: "no name", Value: "1.50"},
		{Name: "number", Value: "12"},
		{Name: "quoted", Value: `"12"`},
		{Name: "turned", Value: `a\u{202E}txt.exe`},
		{Name: "word", Value: `"true"`},
		{Name: "yes", Value: "true"},
		{Name: "é", Value: "ü <b>*_`"},
	}
	if diff := cmp.Diff(want, fields(arguments)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMessage(t *testing.T) {
	r := asked(events.KindQuestion)
	r.Title, r.Options, r.FreeText, r.Justification, r.Risk = "Which\nway?\u200b", []string{"left\n", "right"}, true, "one\ntwo\u202e", "none"
	r.Links = []Link{{Text: "a\nb", URL: "https://example.com"}}
	sealed, err := Seal(r)
	if err != nil {
		t.Fatal(err)
	}
	ticket := Ticket{Request: sealed, Terms: Terms{Lang: "ru"}, State: Answered, Version: 2, Expires: start, Votes: []Cast{
		{Who: "carol", For: "bob", Vote: Vote{Choice: events.Answer, Option: 1, At: start}},
	}, Outcome: &Outcome{By: []string{"carol за bob"}, Option: 1}}
	want := Message{
		RequestID: sealed.ID, Digest: sealed.Digest[:12], Version: 2, Lang: "ru", Kind: events.KindQuestion, State: Answered, Action: "tool:secret_sync",
		Title: `Which way?\u{200B}`, Arguments: json.RawMessage(`{"name":"api-key"}`), Fields: []Field{{Name: "name", Value: "api-key"}},
		Justification: "one\ntwo\\u{202E}", Risk: "none", Links: []Link{{Text: "a b", URL: "https://example.com"}}, Options: []string{"left", "right"}, FreeText: true,
		Context: "acme/demo#12, этап dev, агент dev, запустил alice", IssueURL: "https://github.com/acme/demo/issues/12", Deadline: start, Quorum: 1,
		Votes: []VoteLine{{Who: "carol за bob", Choice: events.Answer, Text: "left", At: start}}, Outcome: "Ответ дан: carol за bob.",
	}
	if diff := cmp.Diff(want, ticket.Message()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
