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

// An Admission is what becomes of one run that waits for a place: it starts, or goes on waiting.
type Admission struct {
	Place                  // as it is from now on: Starting with its deadline, or Queued
	Was      State         // Requested or Queued
	Waited   time.Duration // so far, since it was requested or had its answers
	Reason   string        // why it waits on: role_full, project_full; "" = it starts
	Position int           // among those of the project that wait on, from 1; 0 = it starts
	events.Decision
}

// Admit decides, over all active runs of one project, on each of those that wait
// whether it may start, the oldest first. Each role has its limit, by the run's own
// process, and the project has one for all; a run whose role is full holds nobody else up.
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

// queue lets the run wait on, and says so in the audit the first time.
func (a *Admission) queue(reason string, limit int) {
	a.Reason = reason
	if a.to(Queued) {
		a.Audit = []events.Record{{
			Actor: platform, Action: "run.queued", Run: a.ID, Reason: "no_free_place",
			Detail: fmt.Sprintf("%s: %d at a time; it is number %d of those that wait", reason, limit, a.Position),
		}}
	}
}

// Start turns an admitted run into the request for its agent, or for what must be
// known before, with its timers. One that has waited has the time that it had left.
func Start(s project.Settings, q Place, now time.Time) (deadline time.Time, d events.Decision) {
	deadline = now.Add(q.Process.Stage(q.Stage).Timeout)
	if !q.PausedAt.IsZero() {
		deadline = q.Deadline.Add(now.Sub(q.PausedAt))
	}
	ref := q.ref()
	d.Emit = append(begin(s, q, deadline, now), events.At(deadline, events.RunDeadline{RunRef: ref}))
	d.Audit = []events.Record{{Actor: platform, Action: "run.admitted", Run: q.ID}}
	return deadline, d
}
