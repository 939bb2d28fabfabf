package approval_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
)

// What a comment means, where three requests have been made of its issue: two are open, one has been decided.
func TestWhatACommandMeans(t *testing.T) {
	now := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	ticket := func(id, digest string, state approval.State, options ...string) approval.Ticket {
		t := approval.Ticket{Request: approval.Request{ID: id, Digest: digest + "00000000000000000000000000000000000000000000000000", Options: options}, State: state}
		if state.Final() {
			t.Outcome = &approval.Outcome{At: now.Add(-time.Minute)}
		}
		return t
	}
	one := ticket("one", "029c7a8c5d21", approval.Denied)
	two := ticket("two", "1b7e00d4a9f3", approval.Open)
	three := ticket("three", "202611281030", approval.Open, "tea", "coffee")
	digest := approval.ShortDigest(one.Request)
	type all = []approval.Ticket
	for _, c := range []struct {
		of   all
		body string
		want string
	}{
		{all{two}, "/approve", "approve two"},
		{all{two, one}, "/approve.", "approve two"},
		{all{two, one}, "/approve!", "approve two"},
		{all{two, one}, "/deny: no", "deny two 'no'"},
		{all{two, one}, "/deny\u00a0too\u00a0risky", "deny two 'too\u00a0risky'"},
		{all{two, one}, "/Deny too risky\nreally", "deny two 'too risky\nreally'"},
		{all{two, one}, "/deny the facade is bad", "deny two 'the facade is bad'"},

		// They name the one that is decided, so they mean no other.
		{all{two, one}, "/approve " + digest, "approve one by digest"},
		{all{two, one}, "/approve `" + digest + "`", "approve one by digest"},
		{all{two, one}, "/approve " + digest[:7], "approve one by digest"},
		{all{two, one}, "/approve " + digest + ", thanks", "approve one by digest 'thanks'"},
		{all{two, one}, "/approve #" + digest, "approve one by digest"},
		{all{two, one}, "/approve " + one.Request.Digest, "approve one by digest"},
		{all{two, one}, "/approve one " + digest, "approve one by digest 'one " + digest + "'"},
		{all{two, one}, "/approve\u00a0" + digest, "approve one by digest"},
		{all{two, one}, "/approve: " + digest, "approve one by digest"},

		{all{two, one}, "/approve 0123456789ab", "which of two"},
		{all{two, one}, "/approve 0123456789ab, thanks", "which of two"},
		{all{three, two, one}, "/approve", "which of three two"},
		{all{three, two, one}, "/approve 1b7e00d4a9f3 202611281030", "which of three two"},
		{all{three, two, one}, "/approve 1b7e00d", "approve two by digest"},
		{all{one}, "/approve 0123456789ab", ""},
		{all{one}, "/approve", "approve one"}, // and is told that it comes late
		{all{one}, "/approve " + digest, "approve one by digest"},
		{nil, "/approve", ""},
		{nil, "/approve " + digest, ""},

		{all{three}, "/answer 2", "answer three 2"},
		{all{three}, "/answer 2.", "answer three 2"},
		{all{three}, "/answer 202611281030 1", "answer three by digest 1"},
		{all{three}, "/answer 2 is what I want", "answer three '2 is what I want'"},
		{all{three}, "/answer\nas it\n\nhas to be", "answer three 'as it\n\nhas to be'"},
		{all{two}, "/answer 2", "answer two '2'"},
		{all{two}, "/answer 202611281030", "answer two '202611281030'"},
		{all{two, one}, "/answer as in " + digest, "answer two 'as in " + digest + "'"},
	} {
		said, ok := approval.ReadCommand(c.body)
		if !ok {
			t.Errorf("%q is no command", c.body)
			continue
		}
		got, m := "", said.Of(c.of, now)
		switch {
		case len(m.Which) > 0:
			got = "which of"
			for _, t := range m.Which {
				got += " " + t.Request.ID
			}
		case m.Request != nil:
			got = fmt.Sprintf("%s %s", m.Vote.Choice, m.Vote.RequestID)
			if m.Vote.Digest != "" {
				got += " by digest"
			}
			if m.Vote.Text != "" {
				got += " '" + m.Vote.Text + "'"
			}
			if m.Vote.Option != 0 {
				got += fmt.Sprintf(" %d", m.Vote.Option)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q: %s", c.body, diff)
		}
	}
	if m := (approval.Command{Choice: events.Approve}).Of(all{one}, now.Add(time.Hour)); m.Request != nil {
		t.Errorf("long after the last request was decided a bare command means %s", m.Request.ID)
	}
}

func TestWhatIsNoCommand(t *testing.T) {
	for _, body := range []string{"", "approve", "> /approve", "I would /approve this", "/approved", "/approve-all", "/lgtm", "//approve", "/approve/this"} {
		if c, ok := approval.ReadCommand(body); ok {
			t.Errorf("%q is the command %+v", body, c)
		}
	}
}
