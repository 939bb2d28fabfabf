//go:build cluster

package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// timeline collects what happened, from several goroutines and clocks of one machine.
type timeline struct {
	mu      sync.Mutex
	start   time.Time
	entries []entry
}

type entry struct {
	at   time.Time
	what string
}

func (l *timeline) add(at time.Time, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == 0 || strings.HasPrefix(what, "●") && !slices.ContainsFunc(l.entries, func(e entry) bool { return strings.HasPrefix(e.what, "●") }) {
		l.start = at // the label
	}
	l.entries = append(l.entries, entry{at, what})
}

// once adds what was not there yet. Of Kubernetes any time counts, as watches tell of every small change; what is
// stored twice at different times are two events.
func (l *timeline) once(at time.Time, what string) {
	l.mu.Lock()
	known := slices.ContainsFunc(l.entries, func(e entry) bool {
		return e.what == what && (e.at.Equal(at) || strings.HasPrefix(what, "kubernetes"))
	})
	l.mu.Unlock()
	if !known {
		l.add(at, what)
	}
}

// readDatabase adds when each event was stored and handled.
func (l *timeline) readDatabase(t *testing.T, repo string, issue int) {
	t.Helper()
	rows, err := it.db.Query(t.Context(), `
		SELECT e.type, e.stored_at, coalesce(i.function, ''), coalesce(i.handled_at, e.stored_at)
		FROM events e LEFT JOIN inbox i USING (source, id)
		WHERE (e.correlation = $1 OR e.source = 'https://github.com/' || $2) AND e.stored_at >= $3`,
		fmt.Sprintf("%s#%d", repo, issue), repo, l.start)
	if err != nil {
		t.Error(err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var kind, function string
		var stored, handled time.Time
		if err := rows.Scan(&kind, &stored, &function, &handled); err != nil {
			t.Error(err)
			return
		}
		kind = strings.TrimPrefix(strings.TrimPrefix(kind, "dev.codexk8s."), "dev.knative.source.")
		l.once(stored, "stored   "+kind) // the row is there once per consumer
		if function != "" {
			l.add(handled, "handled  "+kind+" by "+function)
		}
	}
}

// String is one line per entry, with seconds since the label.
func (l *timeline) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortStableFunc(l.entries, func(a, b entry) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	var b strings.Builder
	for _, e := range l.entries {
		if since := e.at.Sub(l.start).Seconds(); since >= 0 {
			fmt.Fprintf(&b, "%8.3fs  %s\n", since, e.what)
		}
	}
	return b.String()
}
