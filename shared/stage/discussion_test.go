package stage

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
)

// News of a comment come in any order; what GitHub says last of it counts.
func TestACommentIsWhatItWasLast(t *testing.T) {
	noon := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	alice := Person{Login: "alice", ID: 1}
	says := func(action, body string, minute int) Commented {
		at := noon.Add(time.Duration(minute) * time.Minute)
		return Commented{Remark: Remark{Comment: 10, By: "alice", ByID: 1, Body: body, At: at}, Action: action, Labels: []string{"mode:discussion"}, Sender: alice}
	}
	first, second, third := says("created", "one", 0), says("edited", "two", 1), says("edited", "three", 2)
	gone := says("deleted", "three", 3)
	for name, c := range map[string]struct {
		news []Commented
		want []string
	}{
		"in order":                       {[]Commented{first, second, third}, []string{"three"}},
		"an older edit after a newer":    {[]Commented{first, third, second}, []string{"three"}},
		"an edit before its comment":     {[]Commented{second, first}, []string{"two"}},
		"all the other way round":        {[]Commented{third, second, first}, []string{"three"}},
		"its end before its edit":        {[]Commented{first, gone, third}, nil},
		"its end before itself":          {[]Commented{gone, first}, nil},
		"its end and its edit before it": {[]Commented{third, gone, first, second}, nil},
		"an edit of an older comment":    {[]Commented{third}, nil},
		"an edit into a command":         {[]Commented{first, says("edited", "/approve", 1)}, nil},
		"an edit into a command, first":  {[]Commented{says("edited", "/approve", 1), first}, nil},
	} {
		item := Item{
			Repository: "acme/demo", Issue: 1, Project: &Project{ID: "demo", SenderRole: "maintainer"}, Process: Default(),
			Talk: Talk{On: true}, Run: &Run{ID: "r", Stage: "dev", State: Running}, // so that what is said waits
		}
		for _, in := range c.news {
			var err error
			if item, _, err = Decide(item, in, noon.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, r := range item.Talk.Waiting {
			got = append(got, r.Body)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Explain and simulate know of discussions: the label is offered until one is on, then a comment is what begins a turn.
func TestADiscussionIsForeseen(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	alice := Person{Login: "alice", ID: 1}
	item := Item{
		Repository: "acme/demo", RepositoryKey: "acme/demo", Issue: 1, Title: "Idea", UpdatedAt: now.Add(-time.Hour), Process: Default(),
		Project: &Project{ID: "demo", SenderRole: access.Maintainer},
	}
	offered := func() bool {
		t.Helper()
		all, err := Prospects(item, now)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(all, func(p Prospect) bool {
			return p.Act == "mode:discussion" && p.Started != nil && p.Started.Kind == events.KindDiscussion
		})
	}
	if !offered() {
		t.Error("the discussion's label is not offered")
	}
	item.Talk.On, item.Labels = true, []string{"mode:discussion"}
	if offered() {
		t.Error("the label is offered where a discussion is on")
	}
	_, _, c, err := Foresee(item, item.IfCommented("Which database?", alice, now), now)
	if err != nil || c.Started == nil || len(c.Started.Talk) != 1 || c.Started.Talk[0].Body != "Which database?" {
		t.Errorf("a comment comes to %+v, %v", c, err)
	}
}
