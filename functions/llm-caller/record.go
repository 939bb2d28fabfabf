package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"codexk8s.dev/shared/llm"
	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/store"
)

// statusClientGone stands in llm_calls for a call whose pod left before the answer's end. HTTP has no number for it; this one is
// nginx's.
const statusClientGone = 499

// recordFor bounds the writing of a call's end, which happens also when the pod has gone.
const recordFor = 10 * time.Second

// A call is one call of a pod.
type call struct {
	h        *handler
	run      store.AgentRun
	endpoint string // "responses" or "chat/completions"
	model    string // that was asked for
	stream   bool

	id      uuid.UUID
	size    int // of the request, in bytes
	started time.Time
}

// begin writes down that the call is about to be made, as status 0.
func (c *call) begin(ctx context.Context, size int) error {
	c.id, c.size, c.started = uuid.New(), size, time.Now().UTC()
	_, err := c.h.db.Pool().Exec(ctx, `
		INSERT INTO llm_calls (id, run_id, model, endpoint, status, started_at, duration_ms)
		VALUES ($1, $2, $3, $4, 0, $5, 0)
	`, c.id, c.run.ID, c.model, c.endpoint, c.started)
	if err != nil {
		return fmt.Errorf("writing the call down: %w", err)
	}
	return nil
}

// end completes the record with what the meter found; broken says that the answer was broken off. When the database does not
// take it, the figures are in the log and the row keeps status 0.
func (c *call) end(ctx context.Context, status int, result llm.Result, broken bool) {
	took := time.Since(c.started)
	usage, cost := c.used(status, result, broken)
	responseID := plain.Text(result.ID)
	attrs := []any{
		"call", c.id, "run", c.run.ID, "endpoint", c.endpoint, "model", c.model, "stream", c.stream, "status", status, "response", responseID,
		"finish", result.Finish, "upstream_error", result.ErrorCode, "input_tokens", usage.Input, "cached_tokens", usage.Cached,
		"output_tokens", usage.Output, "reasoning_tokens", usage.Reasoning, "took", took,
	}
	if cost != nil {
		attrs = append(attrs, "cost_microusd", *cost)
	}
	measure(ctx, c.model, status, took, usage, cost)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer cancel()
	_, err := c.h.db.Pool().Exec(ctx, `
		UPDATE llm_calls
		SET status = $2, response_id = $3, input_tokens = $4, cached_tokens = $5, output_tokens = $6, reasoning_tokens = $7,
		    cost_microusd = $8, duration_ms = $9
		WHERE id = $1
	`, c.id, status, responseID, usage.Input, usage.Cached, usage.Output, usage.Reasoning, cost, took.Milliseconds())
	if err != nil {
		slog.ErrorContext(ctx, "model call ended, and its record could not be completed", append(attrs, "error", err)...)
		return
	}
	slog.InfoContext(ctx, "model call", attrs...)
}

// measure adds a call to the metrics. The model is one that the platform allows, not any name.
func measure(ctx context.Context, model string, status int, took time.Duration, u llm.Usage, microUSD *int64) {
	metrics.ModelCallDuration.Record(ctx, took.Seconds(), model, strconv.Itoa(status))
	for kind, n := range map[string]int64{"input": u.Input, "cached": u.Cached, "output": u.Output, "reasoning": u.Reasoning} {
		metrics.ModelTokens.Add(ctx, float64(n), model, kind)
	}
	if microUSD != nil {
		metrics.ModelCost.Add(ctx, float64(*microUSD)/1e6, model)
	}
}

// bytesPerToken is the usual rough measure: https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them
const bytesPerToken = 4

// used is what the call used and cost; no cost means that it is not known. What OpenAI refused costs nothing.
func (c *call) used(status int, result llm.Result, broken bool) (llm.Usage, *int64) {
	usage, model := result.Usage, result.Model
	switch {
	case result.Reported:
	case broken:
		usage = llm.Usage{Input: int64(c.size) / bytesPerToken, Output: (result.Shown + bytesPerToken - 1) / bytesPerToken}
	case status < http.StatusBadRequest:
		return llm.Usage{}, nil // answered without a word of what it used
	default:
		return llm.Usage{}, new(int64)
	}
	micro, known := c.h.prices.Cost(model, result.Tier, usage)
	if !known {
		micro, known = c.h.prices.Cost(c.model, result.Tier, usage)
	}
	if !known {
		return usage, nil
	}
	return usage, &micro
}
