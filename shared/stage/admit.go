package stage

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
)

// Place is a run of a project that holds a place, or waits for one.
type Place struct {
	Run
	Repository   string
	RepositoryID int64
	Issue        int
	BaseBranch   string
	Money
}

func (q Place) ref() events.RunRef {
	return events.RunRef{RunID: q.ID, Project: q.Project, Repository: q.Repository, RepositoryID: q.RepositoryID, Issue: q.Issue}
}

// An Admission says what happens to one run that waits for a place: it starts, or keeps waiting.
type Admission struct {
	Place                  // as it is now: Starting with its deadline, or Queued
	Was      State         // Requested or Queued
	Waited   time.Duration // since it was requested, or since it had its answers
	Reason   string        // why it keeps waiting: role_full, project_full, budget_day; "" = it starts
	Position int           // in the project's queue, from 1; 0 = it starts
	events.Decision
}

// Admit goes through the active runs of one project and decides for each waiting one whether it may start. Each role
// has a limit, set by the run's own process, and the project has one for all roles; a run whose role is full holds up
// no other run.
//
// Places go round: the next one is for the role that has the fewest, so that many runs of one role keep no other role
// waiting. Of a role, and among roles that have as many, the oldest request goes first; a run that had begun has an
// older one than those that have not. So each run gets a place in the end: its role has the fewest once its runs have
// ended, and nobody new is older.
func Admit(s project.Settings, places []Place, now time.Time) []Admission {
	busy, waiting, lines := 0, 0, []line{}
	for i := range places {
		q := &places[i]
		switch l := lineOf(&lines, q.Role); {
		case q.State.Queues():
			l.waiting = append(l.waiting, q)
			waiting++
		case q.holdsPlace():
			l.busy++
			l.turns++
			busy++
		}
	}
	f, timed := fundsOf(places), false
	for _, l := range lines {
		slices.SortStableFunc(l.waiting, func(a, b *Place) int { return a.CreatedAt.Compare(b.CreatedAt) })
	}
	all, position := make([]Admission, 0, waiting), 0
	for range waiting {
		l := nextOf(lines)
		w := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.turns++
		all = append(all, Admission{Place: *w, Was: w.State, Waited: now.Sub(later(w.CreatedAt, w.ResumedAt)), Position: position + 1})
		a := &all[len(all)-1]
		var again time.Time
		switch limit := w.Process.Role(l.role).Parallel; {
		case busy >= s.Limit():
			a.queue("project_full", s.Limit())
		case l.busy >= limit:
			a.queue("role_full", limit)
		case now.Before(w.ModelUntil):
			a.queue("model_limited", 0)
			again = w.ModelUntil.Add(w.turn(w.ModelUntil.Sub(now)))
		case !f.reserve(s, &a.Place, now):
			a.queue(f.short, 0)
			again = f.until
		default:
			busy++
			l.busy++
			a.start(s, now)
		}
		position = max(position, a.Position)
		if !again.IsZero() && !timed { // the queue is looked at again then, for all
			a.Emit, timed = append(a.Emit, events.At(again, events.RunResumed{RunRef: a.ref()})), true
		}
	}
	return all
}

// A line is the runs of one role.
type line struct {
	role    string
	busy    int      // that hold a place
	turns   int      // busy, and those that come before its next
	waiting []*Place // oldest first
}

func lineOf(lines *[]line, role string) *line {
	i := slices.IndexFunc(*lines, func(l line) bool { return l.role == role })
	if i < 0 {
		i, *lines = len(*lines), append(*lines, line{role: role})
	}
	return &(*lines)[i]
}

// nextOf is the line whose turn it is, of those where somebody waits.
func nextOf(lines []line) (next *line) {
	for i := range lines {
		l := &lines[i]
		if len(l.waiting) > 0 && (next == nil || cmp.Or(cmp.Compare(l.turns, next.turns), l.waiting[0].CreatedAt.Compare(next.waiting[0].CreatedAt)) < 0) {
			next = l
		}
	}
	return next
}

func (a *Admission) start(s project.Settings, now time.Time) {
	a.Position, a.Run.Position = 0, 0
	a.Deadline, a.Decision = Start(s, a.Place, now)
	a.PausedAt, a.JobOver = time.Time{}, false
	a.to(Starting)
}

// queue keeps the run waiting, says so in the audit the first time, and to people when it has come nearer by a step.
func (a *Admission) queue(reason string, limit int) {
	a.Reason = reason
	if a.to(Queued) {
		a.Audit = []events.Record{{
			Actor: platform, Action: "run.queued", Run: a.ID, Reason: "no_free_place", Process: a.Process.Hash,
			Detail: fmt.Sprintf("%s: %d at a time; it is number %d of those that wait", reason, limit, a.Position),
		}}
		if limit == 0 {
			a.Audit[0].Detail = fmt.Sprintf("%s is reserved by other runs, or people are asked to extend it; it is number %d of those that wait", reason, a.Position)
		}
	}
	if told := told(a.Position); told != a.Run.Position {
		a.Run.Position = told
		a.Emit = append(a.Emit, events.Now(events.RunQueued{RunRef: a.ref()}))
	}
}

// told is a position as people are told it: exact up to 3, then in steps. So when a place is given, a handful of runs
// is told that they have come nearer, however many wait.
func told(position int) int {
	for _, step := range []int{1, 2, 3, 10, 30, 100, 300} {
		if position <= step {
			return step
		}
	}
	return 1000 // or more
}

// queued shows people how far a run has come that waits for a place.
func (d *decision) queued() { d.redo = d.item.Run.State.Queues() }

// inQueue says where a run waits.
func inQueue(position int) string {
	switch {
	case position == 0:
		return ""
	case position <= 3:
		return fmt.Sprintf(", number %d in its project's queue", position)
	case position < 1000:
		return fmt.Sprintf(", among the first %d in its project's queue", position)
	}
	return ", in its project's queue"
}

// Start emits the request for an admitted run's agent, or for what must be known first, and its timers. A run that had
// waited for people gets the time it had left.
func Start(s project.Settings, q Place, now time.Time) (deadline time.Time, d events.Decision) {
	deadline = now.Add(q.Process.StageOf(q.Stage, q.Kind).Timeout)
	if !q.PausedAt.IsZero() {
		deadline = q.Deadline.Add(now.Sub(q.PausedAt))
	}
	ref := q.ref()
	d.Emit = append(begin(s, q, deadline, now), events.At(deadline, events.RunDeadline{RunRef: ref}))
	d.Audit = []events.Record{{Actor: platform, Action: "run.admitted", Run: q.ID, Process: q.Process.Hash}}
	return deadline, d
}
