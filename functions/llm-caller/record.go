package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
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

// statusProxyTimeout is Cloudflare's word for a server that works on a request for too long.
const statusProxyTimeout = 524

// recordFor bounds the writing of a call's end, which happens also when the pod has gone.
const recordFor = 10 * time.Second

// A call is one call of a pod.
type call struct {
	h        *handler
	run      store.AgentRun
	endpoint llm.Endpoint
	asked    llm.Request
	body     body

	id      uuid.UUID
	started time.Time
	sent    atomic.Bool // OpenAI may have the request
}

// begin writes down that the call is about to be made, as status 0.
func (c *call) begin(ctx context.Context) error {
	c.id, c.started = uuid.New(), time.Now().UTC()
	_, err := c.h.db.Pool().Exec(ctx, `
		INSERT INTO llm_calls (id, run_id, model, endpoint, status, started_at, duration_ms)
		VALUES ($1, $2, $3, $4, 0, $5, 0)
	`, c.id, c.run.ID, c.asked.Model, c.endpoint, c.started)
	if err != nil {
		return fmt.Errorf("writing the call down: %w", err)
	}
	return nil
}

// end completes the record with what the meter found; broken says that the request was sent and its answer broken off. When the database does not
// take it, the figures are in the log and the row keeps status 0.
func (c *call) end(ctx context.Context, status int, result llm.Result, broken bool) {
	took := time.Since(c.started)
	usage, estimated := c.used(status, result, broken)
	cost := c.cost(status, result, usage)
	responseID := plain.Text(result.ID)
	attrs := []any{
		"call", c.id, "run", c.run.ID, "endpoint", c.endpoint, "model", c.asked.Model, "stream", c.asked.Stream, "status", status, "response", responseID,
		"finish", result.Finish, "upstream_error", result.ErrorCode, "input_tokens", usage.Input, "cached_tokens", usage.Cached,
		"output_tokens", usage.Output, "reasoning_tokens", usage.Reasoning, "estimated", estimated, "searches", result.Searches, "took", took,
	}
	if cost != nil {
		attrs = append(attrs, "cost_microusd", *cost)
	}
	measure(ctx, c.asked.Model, status, took, usage, cost)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer cancel()
	_, err := c.h.db.Pool().Exec(ctx, `
		UPDATE llm_calls
		SET status = $2, response_id = $3, input_tokens = $4, cached_tokens = $5, output_tokens = $6, reasoning_tokens = $7,
		    cost_microusd = $8, duration_ms = $9, estimated = $10
		WHERE id = $1
	`, c.id, status, responseID, usage.Input, usage.Cached, usage.Output, usage.Reasoning, cost, took.Milliseconds(), estimated)
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

const (
	// bytesPerToken is the usual rough measure: https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them
	bytesPerToken = 4
	// tokensPerFile is what a picture of high detail takes at most, whatever its size in bytes:
	// https://platform.openai.com/docs/guides/images-vision#calculating-costs
	tokensPerFile = 2500
)

// estimate is what the call may have used, by what was sent and what has come.
func (c *call) estimate(result llm.Result) llm.Usage {
	return llm.Usage{
		Input:  max(1, c.asked.Text/bytesPerToken+c.asked.Files*tokensPerFile),
		Output: (result.Shown + bytesPerToken - 1) / bytesPerToken,
	}
}

// used is what the call used, and whether that is in part an estimate. Figures count where they are no zeros and stand at the end
// of an answer. What OpenAI refused used nothing; but a proxy that lost patience does not speak for OpenAI.
func (c *call) used(status int, result llm.Result, broken bool) (usage llm.Usage, estimated bool) {
	usage = result.Usage
	lost := status == http.StatusGatewayTimeout || status == statusProxyTimeout
	if status >= http.StatusBadRequest && !broken && !lost && !result.Reported {
		return usage, false
	}
	guess := c.estimate(result)
	if !result.Reported || usage.Input == 0 {
		usage.Input, estimated = max(usage.Input, guess.Input), true
	}
	if !result.Reported || usage.Output == 0 && guess.Output > 0 {
		usage.Output, estimated = max(usage.Output, guess.Output), true
	}
	return usage, estimated
}

// cost is the price of what was used; nil means that it is not known.
func (c *call) cost(status int, result llm.Result, usage llm.Usage) *int64 {
	if usage == (llm.Usage{}) && result.Searches == 0 {
		return new(int64)
	}
	tier := result.Tier
	if (result.Tier == "" || !result.Reported) && c.asked.Tier != "" {
		tier = c.asked.Tier // which one it got is said at the end
	}
	micro, known := c.h.prices.Cost(result.Model, tier, usage)
	if !known {
		micro, known = c.h.prices.Cost(c.asked.Model, tier, usage)
	}
	if !known {
		return nil
	}
	searches := result.Searches
	if c.endpoint == llm.Chat && status < http.StatusBadRequest {
		searches = 1 // a chat completion that may search does so, once
	}
	for _, tool := range c.asked.Hosted {
		fee, _ := c.h.prices.Fee(tool, searches) // that it is listed was checked
		micro += fee
	}
	return &micro
}
