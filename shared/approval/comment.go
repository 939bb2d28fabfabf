package approval

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A comment on GitHub says what its author wrote there last, by GitHub's time, in whatever order its webhooks come. So
// each of its texts is a vote of its own: its id is the comment's, with the time of the edit.

// CommentVote is the id of what a comment says since it was edited; the zero time = since it was written.
func CommentVote(comment int64, edited time.Time) string {
	id := fmt.Sprintf("%s:%d", GitHub, comment)
	if !edited.IsZero() {
		id += "@" + strconv.FormatInt(edited.Unix(), 10)
	}
	return id
}

// DeletedComment is the id of what is said by deleting a comment: nothing comes after it.
func DeletedComment(comment int64) string {
	return CommentVote(comment, time.Unix(math.MaxInt64, 0))
}

// edition reads a mark: whose text it is (a vote on another channel has only one), and since when.
func edition(mark string) (of string, since int64) {
	of, at, edited := strings.Cut(mark, "@")
	if !edited || !strings.HasPrefix(mark, GitHub+" ") {
		return mark, 0
	}
	if n, err := strconv.ParseInt(at, 10, 64); err == nil {
		since = n
	}
	return of, since
}

func sameComment(a, b Vote) bool {
	one, _ := edition(mark(a))
	other, _ := edition(mark(b))
	return one == other
}

// decide takes out what a comment said before. A request that has been decided stays so.
func (in Unsaid) decide(d *decision) error {
	d.lapse()
	if d.t.State.Final() || in.Who == nil || d.heard(in.Vote) {
		return nil
	}
	counted := slices.IndexFunc(d.t.Votes, func(c Cast) bool { return sameComment(c.Vote, in.Vote) })
	if _, may := d.seat(*in.Who, in.Members); counted < 0 && !may {
		return nil
	}
	d.remember(mark(in.Vote))
	if counted < 0 {
		return nil
	}
	d.t.Votes = slices.Delete(d.t.Votes, counted, counted+1)
	d.changed = true
	d.audit(actor(Voted{Vote: in.Vote, Who: in.Who}), "vote.withdrawn", "", "the comment says something else, or is gone")
	return nil
}

// repeats reports whether the comment has only been written differently.
func (d *decision) repeats(v Vote) bool {
	return slices.ContainsFunc(d.t.Votes, func(c Cast) bool {
		same := c.Vote.Option == v.Option && c.Vote.Text == v.Text || d.t.State.Final()
		return sameComment(c.Vote, v) && c.Vote.Choice == v.Choice && same
	})
}

// remember keeps the mark of what counts no more, or is not to count. Of a comment it is the newest one.
func (d *decision) remember(mark string) {
	of, _ := edition(mark)
	d.t.Past = slices.DeleteFunc(d.t.Past, func(past string) bool { old, _ := edition(past); return old == of })
	d.t.Past = append(d.t.Past, mark)
	d.t.Past = d.t.Past[max(len(d.t.Past)-maxPast, 0):]
}

// heard reports whether the vote counts, or did before a mind changed: whoever holds a vote can send it again. So does
// what a comment said before that one.
func (d *decision) heard(v Vote) bool {
	of, since := edition(mark(v))
	known := func(mark string) bool { other, at := edition(mark); return other == of && at >= since }
	return slices.ContainsFunc(d.t.Past, known) || slices.ContainsFunc(d.t.Votes, func(c Cast) bool { return known(mark(c.Vote)) })
}
