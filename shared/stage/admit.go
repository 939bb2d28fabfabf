package stage

import (
	"slices"
	"time"

	"codexk8s.dev/shared/events"
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

// Admit decides, over all active runs of one project, which of those that wait
// may start. Each role has its limit and the project has one for all; a run
// whose role is full holds nobody else up. Within a role the oldest comes first.
func Admit(p *Process, s Settings, places []Place) (start []Place) {
	limit := s.Limit()
	busy, byRole := 0, map[string]int{}
	var waiting []Place
	for _, q := range places {
		switch q.State {
		case Requested, Queued:
			waiting = append(waiting, q)
		case Starting, Running:
			busy++
			byRole[q.Role]++
		case Waiting, Succeeded, Failed, Cancelled, TimedOut:
			// It holds no pod.
		}
	}
	slices.SortStableFunc(waiting, func(a, b Place) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for _, w := range waiting {
		if busy >= limit {
			break
		}
		if byRole[w.Role] >= p.Role(w.Role).Parallel {
			continue
		}
		busy++
		byRole[w.Role]++
		start = append(start, w)
	}
	return start
}

// Start turns an admitted run into the request for its agent, or for what must be
// known before, with its timers.
func Start(p *Process, s Settings, q Place, now time.Time) (deadline time.Time, d events.Decision) {
	deadline = now.Add(p.Stage(q.Stage).Timeout)
	ref := q.ref()
	d.Emit = append(begin(p, s, q, deadline, now), events.At(deadline, events.RunDeadline{RunRef: ref}))
	d.Audit = []events.Record{{Actor: platform, Action: "run.admitted", Run: q.ID}}
	return deadline, d
}
