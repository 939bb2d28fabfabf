package stage

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"codexk8s.dev/shared/project"
)

// queues is a project whose runs end one after the other, the oldest first.
type queues struct {
	process  *Process
	settings project.Settings
	places   []Place
	at       time.Time
	started  []string // ids, in order
	told     int      // events to people
}

func newQueues(limit int, parallel ...int) *queues {
	p := Default()
	p.Roles = nil
	for i, n := range parallel {
		p.Roles = append(p.Roles, Role{Name: roleName(i), Parallel: n})
	}
	return &queues{process: p, settings: project.Settings{Parallel: limit}, at: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
}

func roleName(i int) string { return fmt.Sprintf("role%d", i) }

func (q *queues) request(role int) (id string) {
	q.at = q.at.Add(time.Second)
	id = fmt.Sprintf("%s-%d", roleName(role), len(q.places)+int(q.at.Unix()))
	q.places = append(q.places, Place{Run: Run{ID: id, Process: q.process, Role: roleName(role), Stage: "dev", State: Requested, CreatedAt: q.at}})
	return id
}

// admit returns the roles of the runs that start.
func (q *queues) admit() (started []string) {
	q.told = 0
	for _, a := range Admit(q.settings, q.places, q.at) {
		at := slices.IndexFunc(q.places, func(p Place) bool { return p.ID == a.ID })
		q.places[at] = a.Place
		if a.State == Starting {
			q.started, started = append(q.started, a.ID), append(started, a.Role)
			continue
		}
		q.told += len(a.Emit)
	}
	return started
}

// end ends the run that has had its place for longest.
func (q *queues) end() {
	q.places = slices.DeleteFunc(q.places, func(p Place) bool { return p.ID == q.started[0] })
	q.started = q.started[1:]
}

func (q *queues) waits(id string) bool {
	return slices.ContainsFunc(q.places, func(p Place) bool { return p.ID == id && p.State.Queues() })
}

// busy counts the places that are taken, of a role or of all.
func (q *queues) busy(role string) (n int) {
	for _, p := range q.places {
		if p.State == Starting && (role == "" || p.Role == role) {
			n++
		}
	}
	return n
}

// A burst of one role, which came first, keeps no other role waiting: places go round.
func TestPlacesGoRoundTheRoles(t *testing.T) {
	q := newQueues(3, 3, 3, 1)
	for range 40 {
		q.request(0)
	}
	started := q.admit()
	for range 10 {
		q.request(1)
		q.request(2)
	}
	for range 9 {
		q.end()
		started = append(started, q.admit()...)
	}
	want := []string{"role0", "role0", "role0", "role1", "role2", "role0", "role1", "role2", "role0", "role1", "role2", "role0"}
	if diff := cmp.Diff(want, started); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
}

// However many others come, and whatever the limits: a run gets its place, and no place stays free that one waits for.
func TestNobodyStarves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parallel := rapid.SliceOfN(rapid.IntRange(1, 3), 1, 8).Draw(t, "parallel")
		q := newQueues(rapid.IntRange(1, 6).Draw(t, "limit"), parallel...)
		roles := len(parallel)
		before := rapid.SliceOfN(rapid.IntRange(0, roles-1), 0, 30).Draw(t, "before")
		for _, role := range before {
			q.request(role)
		}
		q.admit()
		victim := rapid.IntRange(0, roles-1).Draw(t, "victim")
		id := q.request(victim)
		q.admit()
		patience := (len(before) + 1) * (q.settings.Parallel + roles)
		for n := 0; q.waits(id); n++ {
			if n > patience {
				t.Fatalf("%s still waits after %d others have ended", id, n)
			}
			for role := range roles { // who has just come is never out of others to wait for
				if role != victim {
					q.request(role)
				}
			}
			q.end()
			q.admit()
			for i, limit := range parallel {
				name := roleName(i)
				idle := slices.ContainsFunc(q.places, func(p Place) bool { return p.State.Queues() && p.Role == name })
				if busy := q.busy(name); busy > limit || q.busy("") > q.settings.Parallel || idle && busy < limit && q.busy("") < q.settings.Parallel {
					t.Fatalf("%s has %d places of %d, the project %d of %d, and some wait: %t", name, busy, limit, q.busy(""), q.settings.Parallel, idle)
				}
			}
		}
	})
}

// A queue that moves on tells a few runs, however many wait in it.
func TestFewAreToldThatTheQueueMovesOn(t *testing.T) {
	q := newQueues(1, 1)
	for range 500 {
		q.request(0)
	}
	q.admit()
	for range 20 {
		q.end()
		q.admit()
		if q.told > 7 {
			t.Fatalf("%d are told", q.told)
		}
	}
	for position, want := range map[int]string{
		0: "", 1: ", number 1 in its project's queue", 3: ", number 3 in its project's queue", 4: ", among the first 10 in its project's queue",
		300: ", among the first 300 in its project's queue", 301: ", in its project's queue", 5000: ", in its project's queue",
	} {
		shown := position
		if position > 0 {
			shown = told(position)
		}
		if got := inQueue(shown); got != want {
			t.Errorf("%d: %q, want %q", position, got, want)
		}
	}
}

func BenchmarkAdmitAmongAThousand(b *testing.B) {
	q := newQueues(10, 2, 2, 1, 1, 3, 2, 1, 2)
	for i := range 1000 {
		q.request(i % 8)
	}
	q.admit()
	b.ReportAllocs()
	for b.Loop() {
		Admit(q.settings, q.places, q.at)
	}
}
