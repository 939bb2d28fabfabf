package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"codexk8s.dev/shared/runtoken"
)

// another makes a second run, in a namespace of its own, and returns its token.
func (f *fixture) another() string {
	f.t.Helper()
	const id, ns = "5f7c1d2e-0000-4000-8000-000000000002", "codexk8s-run-another"
	f.exec(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/shop', 13, 'Acme/Shop')`)
	f.exec(`INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at)
		VALUES ($1, 'acme/shop', 13, 'shop', 'dev', 'dev', 'running', 'codex', 'gpt-5.4', 'olga', 'i2', $2, now())`, id, ns)
	return token(f.t, func(c *runtoken.Claims) { c.RunID, c.Namespace = id, ns })
}

// TestOnePodStarvesNoOther holds that another run's call is answered while a pod has as many large requests open as it
// may, of which some megabytes have come, and that the pod is told to wait when it asks for more.
func TestOnePodStarvesNoOther(t *testing.T) {
	f := setup(t)
	f.h.slow = time.Hour // nothing here ends by time
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	for range maxCalls {
		out, in := io.Pipe()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/v1/responses", out)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = maxBody
		r.Header.Set("Authorization", "Bearer "+token(t, nil))
		go func() {
			if res, err := http.DefaultClient.Do(r); err == nil {
				res.Body.Close()
			}
		}()
		go func() {
			_, _ = in.Write(make([]byte, 3<<20)) // and then nothing
		}()
	}
	waitFor(t, "the pod holds what it may", func() bool {
		f.h.room.mu.Lock()
		defer f.h.room.mu.Unlock()
		return f.h.room.held[runID] == maxCalls*4<<20
	})
	another := f.another()
	large := `{"model":"gpt-5.4","input":"` + strings.Repeat("words ", 1<<20) + `"}`
	for _, body := range []string{`{"model":"gpt-5.4","input":"hi"}`, large} {
		if res := f.ask(f.url+"/v1/responses", another, strings.NewReader(body)); res.StatusCode != http.StatusOK {
			t.Errorf("another run's call of %d bytes: %d %s", len(body), res.StatusCode, text(t, res))
		}
	}
	res := f.pod("/v1/responses", `{"model":"gpt-5.4","input":"hi"}`)
	if res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	expectRefusal(t, "one call more", res, http.StatusTooManyRequests, "too_many_calls", "12")
	hangUp()
	waitFor(t, "all memory is given back", func() bool {
		f.h.room.mu.Lock()
		defer f.h.room.mu.Unlock()
		return f.h.room.free == maxBodies && len(f.h.room.held)+len(f.h.room.calls) == 0
	})
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 6000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("in vain: %s", what)
}

// TestRoomIsShared holds that the room of a run shrinks with each other one that holds some, and that some is always
// left.
func TestRoomIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newRoom(1000)
		full := func(run string) error {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errNoRoom)
			defer cancel()
			return o.take(ctx, run, 1)
		}
		var got []int64
		for n := range 4 {
			run := fmt.Sprint("run", n)
			for full(run) == nil {
			}
			got = append(got, o.held[run])
		}
		if want := []int64{500, 250, 125, 62}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("held %v, want %v", got, want)
		}
		// Who waits goes on when something is given back.
		done := make(chan error)
		go func() { done <- o.take(t.Context(), "run3", 1) }()
		synctest.Wait()
		o.give("run0", 400)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := full("run0"); err != nil {
			t.Errorf("room was given back: %v", err)
		}
	})
}

// TestASlowPodIsSentAway holds that a request that lags behind gives its memory back, and says why.
func TestASlowPodIsSentAway(t *testing.T) {
	f := setup(t)
	f.h.slow = time.Millisecond
	out, in := io.Pipe()
	go func() { _, _ = in.Write([]byte("{")) }()
	r, err := http.NewRequest(http.MethodPost, f.url+"/v1/responses", out)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = maxBody
	r.Header.Set("Authorization", "Bearer "+token(t, nil))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	expectRefusal(t, "too slow", res, http.StatusRequestTimeout, "slow_request", "512 KiB")
}

// TestNoRoomIsSaid holds that a request for which there is no memory is sent back to come again.
func TestNoRoomIsSaid(t *testing.T) {
	b := body{room: newRoom(100), run: runID}
	err := b.grow(t.Context(), 1000, time.Millisecond)
	if r := (refusal{}); !errors.As(err, &r) || r.status != http.StatusServiceUnavailable || r.code != "no_room" {
		t.Errorf("got %v", err)
	}
}
