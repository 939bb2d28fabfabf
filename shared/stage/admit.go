package stage

import (
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
}

func (q Place) ref() events.RunRef {
	return events.RunRef{RunID: q.ID, Project: q.Project, Repository: q.Repository, RepositoryID: q.RepositoryID, Issue: q.Issue}
}

// An Admission says what happens to one run that waits for a place: it starts, or keeps waiting.
type Admission struct {
	Place                  // as it is now: Starting with its deadline, or Queued
	Was      State         // Requested or Queued
	Waited   time.Duration // since it was requested, or since it had its answers
	Reason   string        // why it keeps waiting: role_full, project_full; "" = it starts
	Position int           // in the project's queue, from 1; 0 = it starts
	events.Decision
}

// Admit goes through the active runs of one project and decides for each waiting one, oldest first, whether it may
// start. Each role has a limit, set by the run's own process, and the project has one for all roles; a run whose role
// is full holds up no other run.
func Admit(s project.Settings, places []Place, now time.Time) []Admission {
	busy, byRole := 0, map[string]int{}
	var waiting []Place
	for _, q := range places {
		switch {
		case q.State.Queues():
			waiting = append(waiting, q)
		case q.holdsPlace():
			busy++
			byRole[q.Role]++
		}
	}
	slices.SortStableFunc(waiting, func(a, b Place) int { return a.CreatedAt.Compare(b.CreatedAt) })
	all, position := make([]Admission, 0, len(waiting)), 0
	for _, w := range waiting {
		a := Admission{Place: w, Was: w.State, Waited: now.Sub(later(w.CreatedAt, w.ResumedAt)), Position: position + 1}
		switch limit := w.Process.Role(w.Role).Parallel; {
		case busy >= s.Limit():
			a.queue("project_full", s.Limit())
		case byRole[w.Role] >= limit:
			a.queue("role_full", limit)
		default:
			busy++
			byRole[w.Role]++
			a.start(s, now)
		}
		position = max(position, a.Position)
		all = append(all, a)
	}
	return all
}

func (a *Admission) start(s project.Settings, now time.Time) {
	a.Position = 0
	a.Deadline, a.Decision = Start(s, a.Place, now)
	a.PausedAt, a.JobOver = time.Time{}, false
	a.to(Starting)
}

// queue keeps the run waiting, and says so in the audit the first time.
func (a *Admission) queue(reason string, limit int) {
	a.Reason = reason
	if a.to(Queued) {
		a.Audit = []events.Record{{
			Actor: platform, Action: "run.queued", Run: a.ID, Reason: "no_free_place", Process: a.Process.Hash,
			Detail: fmt.Sprintf("%s: %d at a time; it is number %d of those that wait", reason, limit, a.Position),
		}}
	}
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
