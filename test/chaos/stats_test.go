package chaos

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"codexk8s.dev/test/local/broker"
)

// stats counts what was done to the platform, and what it did about it. Its methods may be called from any goroutine.
type stats struct {
	mu      sync.Mutex
	kills   map[string]*kills // by function
	agents  int
	lost    int
	outages int
	audit   int      // rows
	healed  []string // GUIDs of the webhooks that GitHub could not deliver and a function hears of

	attempts, failed, dead int            // of the broker
	delivered              map[string]int // by event and trigger
}

// kills are how often a function was killed, and how often it had a request in hand then.
type kills struct{ all, busy int }

func (s *stats) killed(function string, busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kills == nil {
		s.kills = map[string]*kills{}
	}
	if s.kills[function] == nil {
		s.kills[function] = &kills{}
	}
	s.kills[function].all++
	if busy {
		s.kills[function].busy++
	}
}

func (s *stats) agentKilled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents++
}

func (s *stats) eventsLost(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost += n
}

func (s *stats) outage() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outages++
}

// delivery fits stack.Options.OnDelivery.
func (s *stats) delivery(d broker.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts++
	switch {
	case d.Err != nil:
		s.failed++
	case d.DeadLetter:
		s.dead++
	default:
		if s.delivered == nil {
			s.delivered = map[string]int{}
		}
		s.delivered[d.Trigger+" "+d.Event.Source()+" "+d.Event.ID()]++
	}
}

// everyFunctionDiedAtWork holds the test itself to what it is for.
func (s *stats) everyFunctionDiedAtWork(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range functions {
		if k := s.kills[name]; k == nil || k.busy == 0 {
			t.Errorf("%s never died at work: label more issues", name)
		}
	}
	if s.agents == 0 || s.lost == 0 {
		t.Errorf("%d agents died and %d events were lost: label more issues", s.agents, s.lost)
	}
}

// report is the figures, one a line.
func (w *world) report() string {
	w.t.Helper()
	s := &w.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	b.WriteString("killed (with requests in hand):\n")
	var sum kills
	for _, name := range functions {
		if k := s.kills[name]; k != nil {
			fmt.Fprintf(&b, "  %-16s %4d (%d)\n", name, k.all, k.busy)
			sum.all, sum.busy = sum.all+k.all, sum.busy+k.busy
		}
	}
	fmt.Fprintf(&b, "  %-16s %4d (%d)\n", "all", sum.all, sum.busy)
	fmt.Fprintf(&b, "agents killed %d, Kubernetes away %d times, Postgres crashed once\n", s.agents, s.outages)
	twice := 0
	for _, n := range s.delivered {
		twice += n - 1
	}
	fmt.Fprintf(&b, "broker: %d attempts, %d failed, %d to the dead letter sink; lost %d; %d events delivered, %d times once more\n",
		s.attempts, s.failed, s.dead, s.lost, len(s.delivered), twice)
	b.WriteString(w.webhooks())
	b.WriteString(w.durations())
	fmt.Fprintf(&b, "audit: %d rows, sealed and verified\n", s.audit)
	return b.String()
}

// webhooks says what became of the deliveries that GitHub could not make. Some had been stored before the answer broke.
func (w *world) webhooks() string {
	all, failed := w.stack.GitHub.Deliveries(), 0
	for _, d := range all {
		if !d.OK() {
			failed++
		}
	}
	var observed int
	err := w.db.QueryRow(context.WithoutCancel(w.t.Context()), `SELECT count(*) FROM events WHERE type = 'dev.codexk8s.label.observed'`).Scan(&observed)
	if err != nil {
		w.t.Error(err)
	}
	return fmt.Sprintf("webhooks: %d, of which GitHub could not deliver %d; all %d of these that a function hears of are known, %d labels were also found on their issue\n",
		len(all), failed, len(w.stats.healed), observed)
}

// durations of the runs, from the free place to the end.
func (w *world) durations() string {
	var half, most, longest float64
	err := w.db.QueryRow(context.WithoutCancel(w.t.Context()), `
		SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY took), percentile_cont(0.95) WITHIN GROUP (ORDER BY took), max(took)
		FROM (SELECT extract(epoch FROM r.finished_at - a.at)::float8 AS took
		      FROM runs r JOIN audit a ON a.run_id = r.id AND a.action = 'run.admitted') t
	`).Scan(&half, &most, &longest)
	if err != nil {
		w.t.Error(err)
	}
	return fmt.Sprintf("a run took %.1f s (median), %.1f s (95 of 100), at most %.1f s\n", half, most, longest)
}
