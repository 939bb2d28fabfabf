package stack

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/local/broker"
)

// Trace prints events as they pass, one line each, with the time since it was made:
//
//	1.234s  dev.codexk8s.agent.requested  acme/demo#1 → agent-launcher  12ms
//
// It may be used from any goroutine. Printing never waits for the platform, nor the platform for a slow terminal.
type Trace struct {
	start time.Time
	lines chan string
	done  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	lost   int
}

// NewTrace prints to w until Close.
func NewTrace(w io.Writer) *Trace {
	t := &Trace{start: time.Now(), lines: make(chan string, 4096)}
	t.done.Go(func() {
		for line := range t.lines {
			_, _ = io.WriteString(w, line)
		}
	})
	return t
}

// Delivery prints one attempt of the broker. It fits local.Options.OnDelivery.
func (t *Trace) Delivery(d broker.Delivery) {
	about := d.Event.Subject()
	for _, name := range []string{events.ExtPartition, events.ExtCorrelation} { // a pull request has only the first
		if value, _ := d.Event.Extensions()[name].(string); value != "" {
			about = value
		}
	}
	if action, _ := d.Event.Extensions()["action"].(string); action != "" {
		about += " " + action
	}
	to := d.Trigger
	if d.DeadLetter {
		to = "dead letters of " + to
	}
	line := fmt.Sprintf("%-44s %s → %s  %s", d.Event.Type(), about, to, d.Latency.Round(time.Millisecond))
	if d.Err != nil {
		line += fmt.Sprintf("  attempt %d failed: %s", d.Attempt, strings.TrimSpace(d.Err.Error()))
		if !d.Final {
			line += ", will be tried again"
		}
	}
	t.line(line)
}

// Say prints what a person does or sees, marked.
func (t *Trace) Say(format string, args ...any) { t.line("● " + fmt.Sprintf(format, args...)) }

func (t *Trace) line(text string) {
	line := fmt.Sprintf("%8.3fs  %s\n", time.Since(t.start).Seconds(), text)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	select {
	case t.lines <- line:
	default:
		t.lost++
	}
}

// Elapsed is the time since the trace was made.
func (t *Trace) Elapsed() time.Duration { return time.Since(t.start) }

// Close prints what is left and returns when it is printed.
func (t *Trace) Close() {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		if t.lost > 0 {
			select {
			case t.lines <- fmt.Sprintf("%d lines were lost to a slow terminal\n", t.lost):
			default:
			}
		}
		close(t.lines)
	}
	t.mu.Unlock()
	t.done.Wait()
}
