package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/llm"
)

// Why a model is not asked for a time.
const (
	rateLimited    = "rate_limited"
	quotaExhausted = "quota_exhausted"
	outage         = "outage"
)

const (
	// holdOut is the longest wait that a pod sits out. For a longer one it ends, and the run goes on in another pod.
	holdOut = 150 * time.Second
	// outageAfter is how long a provider must fail until that is an outage. Until then pods try again.
	outageAfter = 2 * time.Minute
)

// Waits for what the provider names no time for. They double with every try in a row.
var (
	quotaWait  = backoff{15 * time.Minute, 6 * time.Hour}
	outageWait = backoff{2 * time.Minute, 30 * time.Minute}
)

type backoff struct{ first, most time.Duration }

func (b backoff) after(tries int) time.Duration { return min(b.first<<min(tries, 20), b.most) }

// outages are since when each model's provider has failed, without an answer between.
type outages struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// noted says since when the model fails, from now on if it has not before.
func (f *outages) noted(model string, now time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since == nil {
		f.since = map[string]time.Time{}
	}
	if f.since[model].IsZero() {
		f.since[model] = now
	}
	return f.since[model]
}

func (f *outages) over(model string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.since, model)
}

// paused refuses a call of a model whose provider has named a time that is still to come, to this run or another one.
// Where another model may stand in, the call is made of that.
func (c *call) paused(ctx context.Context) error {
	if until := c.run.ModelUntil; until != nil && c.h.db.Now().Before(*until) {
		return c.without(ctx, *until, cmp.Or(c.run.ModelReason, rateLimited), c.run.ModelTries)
	}
	return nil
}

// without goes on without the run's model, until then: by the one that may stand in for it, else the run waits.
func (c *call) without(ctx context.Context, until time.Time, why string, tries int) error {
	var other string
	if c.run.Grant != nil {
		other = c.run.Grant.Fallback
	}
	if other == "" || c.standIn != "" {
		return c.park(ctx, until, why, tries)
	}
	if later := c.run.FallbackUntil; later != nil && c.h.db.Now().Before(*later) {
		return c.park(ctx, earlier(until, *later), why, tries)
	}
	l := c.limit(until, why)
	l.Fallback = other
	if c.run.Limited == nil || *c.run.Limited != l { // which nobody was told yet
		if err := c.tell(ctx, l, tries); err != nil {
			return err
		}
		slog.WarnContext(ctx, "model limited, another one stands in", "run", c.run.ID, "model", l.Model, "fallback", other, "reason", why, "until", l.Until)
	}
	c.standIn, c.asked.Model = other, other
	return nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// limited looks at the provider's answer, or at why there is none. If it means a longer wait, the run waits for that
// without a pod, no run of the model starts before, and the pod is told. It leaves the answer readable.
func (c *call) limited(ctx context.Context, res *http.Response) error {
	now, tries := c.h.db.Now(), c.run.ModelTries
	if c.standIn != "" {
		tries = c.run.FallbackTries
	}
	switch {
	case res == nil || res.StatusCode >= http.StatusInternalServerError:
		if now.Sub(c.h.outages.noted(c.asked.Model, now)) < outageAfter {
			return nil
		}
		return c.without(ctx, now.Add(outageWait.after(tries)), outage, tries+1)
	case res.StatusCode < http.StatusBadRequest:
		c.h.outages.over(c.asked.Model)
		return c.answers(ctx)
	case res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Content-Encoding") != "":
		return nil
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	rest := io.Reader(res.Body)
	if err != nil {
		rest = failing{err}
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), res.Body}
	switch f := llm.Classify(res.StatusCode, res.Header, head, now); {
	case f.Kind == llm.RateLimited && f.RetryAfter > holdOut:
		return c.without(ctx, now.Add(f.RetryAfter), rateLimited, tries+1)
	case f.Kind == llm.QuotaExhausted:
		return c.without(ctx, now.Add(max(f.RetryAfter, quotaWait.after(tries))), quotaExhausted, tries+1)
	}
	return nil
}

// answers ends the count of the model's limits, if there is one.
func (c *call) answers(ctx context.Context) error {
	if c.standIn == "" && c.run.ModelTries == 0 || c.standIn != "" && c.run.FallbackTries == 0 {
		return nil
	}
	if err := c.h.db.Answers(ctx, c.asked.Model); err != nil {
		slog.WarnContext(ctx, "the next limit of the model is waited out for longer than it need be", "model", c.asked.Model, "error", err)
	}
	return nil
}

// park has the run wait until then.
func (c *call) park(ctx context.Context, until time.Time, why string, tries int) error {
	l := c.limit(until, why)
	if err := c.tell(ctx, l, tries); err != nil {
		return err
	}
	slog.WarnContext(ctx, "model limited, the run waits", "run", c.run.ID, "model", l.Model, "reason", why, "until", l.Until)
	return refusal{status: http.StatusTooManyRequests, code: "model_limited", waits: c.run.ID, after: until.Sub(c.h.db.Now()),
		message: fmt.Sprintf("%s; the run goes on after %s", inWords[why], l.Until.Format(time.RFC3339))}
}

// limit says that the model that is asked is not to be asked before.
func (c *call) limit(until time.Time, why string) events.LLMLimited {
	return events.LLMLimited{RunRef: c.run.Ref(), Attempt: c.run.Attempt, Model: c.asked.Model, Until: until.UTC().Truncate(time.Second), Reason: why, Message: inWords[why]}
}

func (c *call) tell(ctx context.Context, l events.LLMLimited, tries int) error {
	emitted, err := c.h.db.LimitRun(ctx, l, tries)
	if err != nil {
		return err
	}
	if err := c.h.send(ctx, emitted...); err != nil {
		slog.WarnContext(ctx, "the limit is stored but not sent; timekeeper sends it", "run", c.run.ID, "error", err)
	}
	return nil
}

// inWords are the reasons for people. The provider's own words may name its customer.
var inWords = map[string]string{
	rateLimited:    "the rate limit is reached",
	quotaExhausted: "the quota is used up: somebody has to pay, or raise it",
	outage:         "it has not answered for some minutes",
}
