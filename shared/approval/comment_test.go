package approval_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
)

// News of a comment come in any order, and more than once. What counts is what its author wrote there last.
func TestACommentSaysWhatItSaidLast(t *testing.T) {
	noon := time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC)
	olga := approval.Person{GitHubAccount: events.GitHubAccount{Login: "olga", ID: 2}, Role: access.Maintainer}
	open := approval.Ticket{
		Request: approval.Request{ID: "r", Kind: events.KindApproval, At: noon}, State: approval.Open, Expires: noon.Add(24 * time.Hour),
		Terms: approval.Terms{Who: approval.Who{Roles: []string{string(access.Maintainer)}}, Quorum: 2},
	}
	says := func(choice events.Choice, text string, minute int) approval.Input {
		at := noon.Add(time.Duration(minute) * time.Minute)
		v := approval.Vote{RequestID: "r", Choice: choice, Text: text, At: at, By: events.Voter{Channel: approval.GitHub, Account: "2", Name: "olga"}}
		v.ID = approval.CommentVote(10, time.Time{})
		if minute > 0 {
			v.ID = approval.CommentVote(10, at)
		}
		if choice == "" {
			return approval.Unsaid{Vote: v, Who: &olga, Members: []approval.Person{olga}}
		}
		return approval.Voted{Vote: v, Who: &olga, Members: []approval.Person{olga}}
	}
	gone := says("", "", 9).(approval.Unsaid)
	gone.Vote.ID = approval.DeletedComment(10)
	for name, c := range map[string]struct {
		news []approval.Input
		want string
	}{
		"words, and then a command":     {[]approval.Input{says(events.Approve, "", 1)}, "approve "},
		"a command, and then words":     {[]approval.Input{says(events.Approve, "", 0), says("", "", 1)}, ""},
		"another command":               {[]approval.Input{says(events.Deny, "no", 0), says(events.Approve, "", 1), says(events.Approve, "well", 2)}, "approve well"},
		"back and forth":                {[]approval.Input{says(events.Approve, "", 0), says("", "", 1), says(events.Approve, "", 2)}, "approve "},
		"for another request, and back": {[]approval.Input{says(events.Approve, "", 0), says("", "", 1), says("", "", 2)}, ""},
		"deleted":                       {[]approval.Input{says(events.Approve, "", 0), says(events.Approve, "x", 1), gone}, ""},
	} {
		for order := range orders(len(c.news)) {
			is := open
			for _, i := range append(order, order...) { // each twice
				var err error
				if is, _, err = approval.Decide(is, c.news[i], noon.Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			got := ""
			for _, v := range is.Votes {
				got += string(v.Vote.Choice) + " " + v.Vote.Text
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s, told in the order %v (-want +got):\n%s", name, order, diff)
			}
		}
	}
}

// orders are all orders of the numbers below n.
func orders(n int) func(yield func([]int) bool) {
	return func(yield func([]int) bool) {
		var take func(sofar, rest []int) bool
		take = func(sofar, rest []int) bool {
			if len(rest) == 0 {
				return yield(sofar)
			}
			for i, x := range rest {
				left := append(append([]int{}, rest[:i]...), rest[i+1:]...)
				if !take(append(sofar[:len(sofar):len(sofar)], x), left) {
					return false
				}
			}
			return true
		}
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		take(nil, all)
	}
}
