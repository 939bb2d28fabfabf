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
func (c *call) paused(ctx context.Context) error {
	if until := c.run.ModelUntil; until != nil && c.h.db.Now().Before(*until) {
		return c.park(ctx, *until, cmp.Or(c.run.ModelReason, rateLimited), c.run.ModelTries)
	}
	return nil
}

// limited looks at the provider's answer, or at why there is none. If it means a longer wait, the run waits for that
// without a pod, no run of the model starts before, and the pod is told. It leaves the answer readable.
func (c *call) limited(ctx context.Context, res *http.Response) error {
	now, tries := c.h.db.Now(), c.run.ModelTries
	switch {
	case res == nil || res.StatusCode >= http.StatusInternalServerError:
		if now.Sub(c.h.outages.noted(c.asked.Model, now)) < outageAfter {
			return nil
		}
		return c.park(ctx, now.Add(outageWait.after(tries)), outage, tries+1)
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
		return c.park(ctx, now.Add(f.RetryAfter), rateLimited, tries+1)
	case f.Kind == llm.QuotaExhausted:
		return c.park(ctx, now.Add(max(f.RetryAfter, quotaWait.after(tries))), quotaExhausted, tries+1)
	}
	return nil
}

// answers ends the count of the model's limits, if there is one.
func (c *call) answers(ctx context.Context) error {
	if c.run.ModelTries == 0 {
		return nil
	}
	if err := c.h.db.Answers(ctx, c.asked.Model); err != nil {
		slog.WarnContext(ctx, "the next limit of the model is waited out for longer than it need be", "model", c.asked.Model, "error", err)
	}
	return nil
}

// park has the run wait until then.
func (c *call) park(ctx context.Context, until time.Time, why string, tries int) error {
	l := events.LLMLimited{RunRef: c.run.Ref(), Attempt: c.run.Attempt, Model: c.run.Model, Until: until.UTC().Truncate(time.Second), Reason: why, Message: inWords[why]}
	emitted, err := c.h.db.LimitRun(ctx, l, tries)
	if err != nil {
		return err
	}
	slog.WarnContext(ctx, "model limited, the run waits", "run", c.run.ID, "model", l.Model, "reason", why, "until", l.Until)
	if err := c.h.send(ctx, emitted...); err != nil {
		slog.WarnContext(ctx, "the limit is stored but not sent; timekeeper sends it", "run", c.run.ID, "error", err)
	}
	return refusal{status: http.StatusTooManyRequests, code: "model_limited", waits: c.run.ID, after: until.Sub(c.h.db.Now()),
		message: fmt.Sprintf("%s; the run goes on after %s", inWords[why], l.Until.Format(time.RFC3339))}
}

// inWords are the reasons for people. The provider's own words may name its customer.
var inWords = map[string]string{
	rateLimited:    "the rate limit is reached",
	quotaExhausted: "the quota is used up: somebody has to pay, or raise it",
	outage:         "it has not answered for some minutes",
}
