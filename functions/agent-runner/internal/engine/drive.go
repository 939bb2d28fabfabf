package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"codexk8s.dev/functions/agent-runner/internal/gateway"
	"codexk8s.dev/functions/agent-runner/internal/model"
	"codexk8s.dev/functions/agent-runner/internal/outcome"
	"codexk8s.dev/shared/llm"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/reason"
)

// Bounds of continuing after a failure. RETRY_FOR limits the wait for a model that is busy or away; these are for the
// rest.
const (
	maxCrashes = 3 // times that an engine may end without an answer of the model, as when it is killed
	maxAnew    = 3 // new conversations because the model refused the one before
)

// Pause is the first wait before an engine is started again. It grows to maxPause.
const Pause = 5 * time.Second

const maxPause = 30 * time.Second

// Driver runs an engine to its end, over failures on the way. The line says how the model answered last, because the
// Codex CLI only has words for it.
type Driver struct {
	Engine   Engine
	Line     *model.Line
	Log      *gateway.Log
	RetryFor time.Duration // how long to wait for a model that is busy or away
	Deadline time.Time     // of the run; zero = none
	Pause    time.Duration // before the engine is started again, at first

	Opening string // to say in a new conversation, should the old one not resume
	Resumed bool   // the conversation is an earlier one
	Input   prompt.Input

	crashes, anew int
	pauses        int // in a row, without an answer of the model's between
	answered      int // line.answered at the last failure
	begun         int // line.answered when the conversation began
}

// Run has the engine do the task, beginning with message. An error that is an *outcome.Failure is final.
func (d *Driver) Run(ctx context.Context, message string) (string, error) {
	for {
		summary, err := d.Engine.Run(ctx, message)
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

// next decides what to say to the engine after it broke off, and when.
func (d *Driver) next(cause error) (message string, wait time.Duration, err error) {
	said, since, answered := d.Line.State()
	if answered > d.answered {
		d.answered, d.pauses = answered, 0
	}
	switch {
	case errors.Is(cause, errNoSession):
		d.Log.Say("Beginning a new conversation: %v", cause)
		d.Resumed, d.begun = false, answered
		return d.Opening, 0, nil
	case said != nil && blamesRequest(said):
		return d.beginAnew(said)
	case said != nil && (said.Kind == llm.Permanent || said.Kind == llm.QuotaExhausted):
		return "", 0, d.gaveUp(reason.Engine, said)
	case said != nil:
		return d.waitFor(said, since)
	}
	if d.crashes++; d.crashes >= maxCrashes {
		if errors.Is(cause, errKilled) {
			return "", 0, d.gaveUp(reason.OOMKilled, fmt.Errorf("%w; give the role more memory, or let the agent run fewer things at once", cause))
		}
		return "", 0, d.gaveUp(reason.Engine, cause)
	}
	d.Log.Say("The engine broke off, trying again: %v", cause)
	return d.goOn(), d.pause(), nil
}

func (d *Driver) gaveUp(reason string, cause error) error {
	return &outcome.Failure{Reason: reason, Summary: fmt.Sprintf("The engine could not finish: %v", cause)}
}

// goOn is what to say in a conversation that broke off.
func (d *Driver) goOn() string {
	if c, err := d.Engine.Conversation(); err != nil || c.ThreadID == "" {
		return d.Opening
	}
	return "The connection broke off. Continue the task from where you were."
}

func (d *Driver) pause() time.Duration {
	d.pauses++
	return min(d.Pause<<min(d.pauses-1, 8), maxPause)
}

// waitFor continues later, unless the model has been failing for longer than RetryFor. If the model itself names a
// time, that may last until the run's deadline.
func (d *Driver) waitFor(said *llm.Failure, since time.Time) (string, time.Duration, error) {
	wait := max(d.pause(), said.RetryAfter)
	named := said.RetryAfter > d.RetryFor && time.Now().Add(wait).Before(d.Deadline)
	if !named && time.Now().Add(wait).Sub(since) > d.RetryFor {
		return "", 0, d.gaveUp(reason.Engine, said)
	}
	d.Log.Say("The model is busy or away, going on at %s: %v", time.Now().Add(wait).UTC().Format(time.TimeOnly), said)
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

// codes are machine-readable names of errors. Nothing else of the model's answer goes into a prompt.
var codes = regexp.MustCompile(`\A[a-z0-9_]{1,64}\z`)

// beginAnew leaves a conversation that the model refuses: it would refuse it for ever, in every later run too. A new
// one gets the task, and that work has been done. If that is refused at once, the conversation is not to blame.
func (d *Driver) beginAnew(said *llm.Failure) (string, time.Duration, error) {
	d.Engine.Forget()
	if !d.Resumed && d.answered == d.begun || d.anew >= maxAnew {
		return "", 0, d.gaveUp(reason.Engine, said)
	}
	d.Input.Ended = codes.FindString(said.Code)
	if d.Input.Ended == "" {
		d.Input.Ended = "invalid request"
	}
	opening, err := prompt.Render(d.Input)
	if err != nil {
		return "", 0, fmt.Errorf("writing the prompt: %w", err)
	}
	d.Log.Say("The model refuses the conversation, beginning a new one: %v", said)
	d.anew, d.Resumed, d.begun, d.Opening = d.anew+1, false, d.answered, opening.Text
	return d.Opening, 0, nil
}
