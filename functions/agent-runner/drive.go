package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/llm"
	"codexk8s.dev/shared/prompt"
)

// Bounds of going on after a failure. A model that is busy or away is waited for by time (RETRY_FOR), these are for the rest.
const (
	maxCrashes = 3 // times that an engine may end without a word of the model's, as when it is killed
	maxAnew    = 3 // conversations begun anew because the model refused the one before
)

// enginePause is waited before the engine is started again, and grows to maxPause.
var enginePause = 5 * time.Second

const maxPause = 30 * time.Second

// driver runs an engine to its end, over the failures on the way. How the model answered last is the line's to say: the
// Codex CLI has words for it only.
type driver struct {
	*beginning
	line     *line
	log      *runLog
	retryFor time.Duration
	deadline time.Time // of the run; zero = none
	now      func() time.Time

	crashes, anew int
	pauses        int // in a row, without an answer of the model's between
	answered      int // line.answered at the last failure
	begun         int // line.answered when the conversation began
}

// drive has the engine do the task. An error that is a *failure is final.
func (r *runner) drive(ctx context.Context, a *agentapi.Assignment, b *beginning) (string, error) {
	d := &driver{beginning: b, line: r.line, log: r.log, retryFor: r.env.RetryFor, now: time.Now}
	if a.GetDeadline().IsValid() {
		d.deadline = a.GetDeadline().AsTime()
	}
	message := b.message
	for {
		summary, err := b.engine.run(ctx, message)
		if err == nil || ctx.Err() != nil {
			return summary, err
		}
		var wait time.Duration
		if message, wait, err = d.next(err); err != nil {
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// next decides what to say to the engine after it broke off, and after which time.
func (d *driver) next(cause error) (message string, wait time.Duration, err error) {
	said, since, answered := d.line.state()
	if answered > d.answered {
		d.answered, d.pauses = answered, 0
	}
	switch {
	case errors.Is(cause, errNoSession):
		d.log.say("Beginning a new conversation: %v", cause)
		d.resumed, d.begun = false, answered
		return d.opening, 0, nil
	case said != nil && blamesRequest(said):
		return d.beginAnew(said)
	case said != nil && (said.Kind == llm.Permanent || said.Kind == llm.QuotaExhausted):
		return "", 0, d.gaveUp(reasonEngine, said)
	case said != nil:
		return d.waitFor(said, since)
	}
	if d.crashes++; d.crashes >= maxCrashes {
		if errors.Is(cause, errKilled) {
			return "", 0, d.gaveUp(reasonOOM, fmt.Errorf("%w; give the role more memory, or let the agent run fewer things at once", cause))
		}
		return "", 0, d.gaveUp(reasonEngine, cause)
	}
	d.log.say("The engine broke off, trying again: %v", cause)
	return d.goOn(), d.pause(), nil
}

func (d *driver) gaveUp(reason string, cause error) error {
	return &failure{reason, fmt.Sprintf("The engine could not finish: %v", cause)}
}

// goOn is what to say in a conversation that broke off.
func (d *driver) goOn() string {
	if c, err := d.engine.conversation(); err != nil || c.ThreadID == "" {
		return d.opening
	}
	return "The connection broke off. Continue the task from where you were."
}

func (d *driver) pause() time.Duration {
	d.pauses++
	return min(enginePause<<min(d.pauses-1, 8), maxPause)
}

// waitFor goes on later, as long as the model has not been failing for longer than retryFor. A time that the model itself
// names is waited for until the run's deadline.
func (d *driver) waitFor(said *llm.Failure, since time.Time) (string, time.Duration, error) {
	wait := max(d.pause(), said.RetryAfter)
	named := said.RetryAfter > d.retryFor && d.now().Add(wait).Before(d.deadline)
	if !named && d.now().Add(wait).Sub(since) > d.retryFor {
		return "", 0, d.gaveUp(reasonEngine, said)
	}
	d.log.say("The model is busy or away, going on at %s: %v", d.now().Add(wait).UTC().Format(time.TimeOnly), said)
	return d.goOn(), wait, nil
}

// blamesRequest says whether the model refused what it was sent, rather than who sent it or when.
func blamesRequest(f *llm.Failure) bool {
	switch f.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return f.Kind == llm.Permanent
	}
	return false
}

// codes are words that a machine has for an error. Nothing else of the model's answer goes into a prompt.
var codes = regexp.MustCompile(`\A[a-z0-9_]{1,64}\z`)

// beginAnew leaves a conversation that the model refuses: it would refuse it for ever, in every later run too. A new one
// is told the task and that work has been done. When that is refused at once, the conversation is not to blame.
func (d *driver) beginAnew(said *llm.Failure) (string, time.Duration, error) {
	d.engine.forget()
	if !d.resumed && d.answered == d.begun || d.anew >= maxAnew {
		return "", 0, d.gaveUp(reasonEngine, said)
	}
	d.input.Refused = codes.FindString(said.Code)
	if d.input.Refused == "" {
		d.input.Refused = "invalid request"
	}
	opening, err := prompt.Render(d.input)
	if err != nil {
		return "", 0, fmt.Errorf("write the prompt: %w", err)
	}
	d.log.say("The model refuses the conversation, beginning a new one: %v", said)
	d.anew, d.resumed, d.begun, d.opening = d.anew+1, false, d.answered, opening.Text
	return d.opening, 0, nil
}
