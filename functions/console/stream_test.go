package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/store"
)

// A listener reads a stream.
type listener struct {
	*testing.T
	frames chan string // event, or event and data
	ids    chan string // of lines
	lines  chan string // numbers
	close  func()
}

// follow opens a stream as pages do.
func (p *person) follow(query, last string) (*listener, int) {
	p.Helper()
	ctx, cancel := context.WithCancel(p.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.f.server.URL+"/stream?"+query, http.NoBody)
	if err != nil {
		p.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := (&http.Client{Jar: p.client.Jar}).Do(req)
	if err != nil {
		p.Fatal(err)
	}
	l := &listener{p.T, make(chan string, 1000), make(chan string, 1000), make(chan string, 100_000), cancel}
	p.Cleanup(cancel)
	go func() {
		defer resp.Body.Close()
		defer close(l.frames)
		event := ""
		scanner := bufio.NewScanner(resp.Body)
		scanner.Buffer(nil, 16<<20)
		for scanner.Scan() {
			name, value, _ := strings.Cut(scanner.Text(), ": ")
			switch {
			case name == "event":
				event = value
			case name == "id":
				l.ids <- value
			case event == "lines" && name == "data":
				for _, part := range strings.Split(value, `<li id="L`)[1:] {
					n, _, _ := strings.Cut(part, `"`)
					l.lines <- n
				}
			case name == "" && event != "":
				l.frames <- event
				event = ""
			case event == "end" && name == "data":
				event += " " + value
			}
		}
	}()
	return l, resp.StatusCode
}

// next waits for a frame; "" = the stream is over.
func (l *listener) next() string {
	l.Helper()
	select {
	case frame := <-l.frames:
		return frame
	case <-time.After(patience):
		l.Fatal("nothing comes")
	}
	return ""
}

// until waits for a frame, whatever comes before it.
func (l *listener) until(want string) {
	l.Helper()
	for {
		switch got := l.next(); got {
		case want:
			return
		case "":
			l.Fatalf("the stream ended before %q", want)
		}
	}
}

func TestWhoMayFollow(t *testing.T) {
	f := setup(t)
	mary := f.as("mary")
	for query, want := range map[string]int{
		"of=lists": 200, "of=run:" + runA: 200, "of=run:" + runA + "&line=7": 200, "of=run:" + theirs: 404, "of=run:" + missing: 404, "of=run:x": 404, "of=": 404, "": 404, "of=king:1": 404,
		"of=run:" + runA + "&line=x": 400, "of=run:" + runA + "&line=-3": 400,
	} {
		l, got := mary.follow(query, "")
		if l.close(); got != want {
			t.Errorf("%q: %d, want %d", query, got, want)
		}
	}
	if _, got := f.visitor().follow("of=lists", ""); got != http.StatusUnauthorized {
		t.Errorf("a stranger: %d", got)
	}
}

// TestNewsAreOnesOwn: a stream says changed for what its page may show, and for nothing else.
func TestNewsAreOnesOwn(t *testing.T) {
	f := setup(t)
	mary, paul := f.as("mary"), f.as("paul")
	lists, _ := mary.follow("of=lists", "")
	run, _ := mary.follow("of=run:"+runB, "")
	foreign, _ := paul.follow("of=lists", "")
	for _, l := range []*listener{lists, run, foreign} {
		l.until("changed") // whatever was before
	}
	f.sql.Do(`UPDATE runs SET progress = 'Further on' WHERE id = $1`, runA)
	lists.until("changed")
	f.sql.Do(`UPDATE runs SET progress = 'Further on' WHERE id = $1`, runB)
	lists.until("changed")
	run.until("changed")
	f.sql.Do(`UPDATE work_items SET title = 'Another' WHERE issue = 13`)
	run.until("changed")
	f.sql.Do(`UPDATE runs SET progress = 'Ours' WHERE id = $1`, theirs)
	foreign.until("changed")
	for name, l := range map[string]*listener{"the run's": run, "another project's": foreign} {
		if n := len(l.frames); n > 0 {
			t.Errorf("%s stream has %d frames of what is not its own", name, n)
		}
	}
}

// TestALogIsResumedWithoutAGap: whoever comes back by the number of a line gets each later one once.
func TestALogIsResumedWithoutAGap(t *testing.T) {
	f := setup(t)
	mary := f.as("mary")
	l, _ := mary.follow("of=run:"+runB+"&line=1198", "")
	read := func(l *listener, n int) (got []string) {
		for range n {
			select {
			case line := <-l.lines:
				got = append(got, line)
			case <-time.After(patience):
				t.Fatalf("%d of %d lines came", len(got), n)
			}
		}
		return got
	}
	got := read(l, 2)
	f.sql.Do(`INSERT INTO run_logs (run_id, seq, at, stream, line) SELECT $1, n, now(), 'agent', E'first\nsecond' FROM generate_series(1201, 1205) AS n`, runB)
	got = append(got, read(l, 5)...)
	l.close()
	f.sql.Do(`INSERT INTO run_logs (run_id, seq, at, stream, line) SELECT $1, n, now(), 'agent', 'while nobody looked' FROM generate_series(1206, 3000) AS n`, runB)
	last := ""
	for len(l.ids) > 0 {
		last = <-l.ids
	}
	again, _ := mary.follow("of=run:"+runB+"&line=1198", last)
	got = append(got, read(again, 1795)...)
	var want []string
	for n := 1199; n <= 3000; n++ {
		want = append(want, fmt.Sprint(n))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// TestARightThatIsTakenEndsItsStreams: signed out, removed from the project, or of another account.
func TestARightThatIsTakenEndsItsStreams(t *testing.T) {
	f := setup(t)
	for name, take := range map[string]func(login string){
		"signed out":   func(login string) { f.sql.Do(`DELETE FROM console_sessions WHERE login = $1`, login) },
		"not a member": func(login string) { f.sql.Do(`DELETE FROM members WHERE login = $1`, login) },
		"moved away":   func(login string) { f.sql.Do(`UPDATE members SET project_id = 'api' WHERE login = $1`, login) },
	} {
		login := map[string]string{"signed out": "mary", "not a member": "rita", "moved away": "adam"}[name]
		l, _ := f.as(login).follow("of=run:"+runA, "")
		l.until("changed")
		take(login)
		l.until("end forbidden")
		if rest := l.next(); rest != "" {
			t.Errorf("%s: after its end the stream says %q", name, rest)
		}
	}
}

// TestStreamsEndWithTheFunction: so that it stops at once, and pages connect to the next one.
func TestStreamsEndWithTheFunction(t *testing.T) {
	f := setup(t)
	stopping, stop := context.WithCancel(t.Context())
	f.h.stopping = stopping.Done()
	l, _ := f.as("mary").follow("of=lists", "")
	l.until("changed")
	stop()
	l.until("end drain")
}

// TestOnePersonDoesNotTakeAllStreams: who follows too many pages is told, and others are not affected.
func TestOnePersonDoesNotTakeAllStreams(t *testing.T) {
	f := setup(t)
	mary := f.as("mary")
	for range mostOfOne {
		if _, status := mary.follow("of=lists", ""); status != http.StatusOK {
			t.Fatalf("within the bound: %d", status)
		}
	}
	if _, status := mary.follow("of=lists", ""); status != http.StatusTooManyRequests {
		t.Errorf("beyond it: %d", status)
	}
	if _, status := f.as("rita").follow("of=lists", ""); status != http.StatusOK {
		t.Errorf("somebody else: %d", status)
	}
}

// TestNothingIsMissedWhilePostgresIsAway: after the connection that listens breaks, the page is told to look again.
// After the last stream nobody listens.
func TestNothingIsMissedWhilePostgresIsAway(t *testing.T) {
	f := setup(t)
	f.h.hub.pause = 10 * time.Millisecond
	listening := func() int {
		return len(f.sql.Lines(`SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN news'`))
	}
	l, _ := f.as("mary").follow("of=lists", "")
	l.until("changed")
	if n := listening(); n != 1 {
		t.Fatalf("%d connections listen", n)
	}
	f.sql.Do(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN news'`)
	f.sql.Do(`UPDATE runs SET progress = 'Unheard' WHERE id = $1`, runB)
	l.until("changed")
	l.close()
	for start := time.Now(); listening() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatal("it listens for nobody")
		}
	}
}

// TestLateCommitsAreSeen: of two transactions the one that began first commits last, with the page fetched between.
func TestLateCommitsAreSeen(t *testing.T) {
	f := setup(t)
	mary := f.as("mary")
	l, _ := mary.follow("of=lists", "")
	l.until("changed")
	early, err := f.sql.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = early.Rollback(context.Background()) }()
	if _, err := early.Exec(t.Context(), `UPDATE runs SET message = 'the early one' WHERE id = $1`, runA); err != nil {
		t.Fatal(err)
	}
	if _, err := early.Exec(t.Context(), `UPDATE runs SET reason = 'early' WHERE id = $1`, runA); err != nil {
		t.Fatal(err)
	}
	f.sql.Do(`UPDATE runs SET reason = 'late' WHERE id = $1`, runC)
	l.until("changed")
	if _, body := mary.get("/runs"); strings.Contains(body, "the early one") {
		t.Error("seen before it is committed")
	}
	if err := early.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.until("changed")
	if _, body := mary.get("/runs"); !strings.Contains(body, "the early one") {
		t.Error("not seen after its commit")
	}
}

// TestABurstIsSaidOnce: what a stream has yet to tell does not grow.
func TestABurstIsSaidOnce(t *testing.T) {
	h := newHub(func(ctx context.Context, ready func(), each func(store.News)) error {
		ready()
		for range 10_000 {
			each(store.News{Kind: store.NewsOfRun})
		}
		<-ctx.Done()
		return ctx.Err()
	})
	w, _ := h.join(1, func(store.News) news { return news{page: true} })
	defer h.leave(w)
	select {
	case <-w.wake:
	case <-time.After(patience):
		t.Fatal("it is not woken")
	}
	if due := w.take(); !due.page || len(w.wake) > 1 {
		t.Errorf("due: %+v", due)
	}
}
