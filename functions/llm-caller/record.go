package main

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"codexk8s.dev/shared/llm"
	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/price"
	"codexk8s.dev/shared/store"
)

// statusClientGone is the status in llm_calls of a call whose pod left before the answer's end. HTTP has none for it;
// this one is nginx's.
const statusClientGone = 499

// statusProxyTimeout is Cloudflare's status for a server that takes too long.
const statusProxyTimeout = 524

// recordFor bounds the recording of a call's end, which happens even if the pod has gone.
const recordFor = 10 * time.Second

// A call is one call of a pod.
type call struct {
	h        *handler
	run      store.AgentRun
	endpoint llm.Endpoint
	asked    llm.Request
	body     body

	record  store.ModelCall
	standIn string      // the model that is asked in place of the run's; "" = none is
	most    int64       // tokens that its answers may have before it is cut off; 0 = no budget limits them
	sent    atomic.Bool // OpenAI may have the request
}

// begin writes down that the call is about to be made.
func (c *call) begin(ctx context.Context) error {
	started := time.Now().UTC()
	c.record = store.ModelCall{ID: uuid.NewString(), RunID: c.run.ID, Model: c.asked.Model, Endpoint: string(c.endpoint), Started: started}
	if len(c.run.Bounds) == 0 {
		return c.h.db.SaveCall(ctx, c.record)
	}
	return c.hold(ctx)
}

// end completes the record with what the meter found; broken says that the request was sent and its answer broken off.
// If the database fails, the figures are in the log and the row keeps status 0.
func (c *call) end(ctx context.Context, status int, result llm.Result, broken bool) {
	r := &c.record
	r.Took, r.Status, r.ResponseID = time.Since(r.Started), status, plain.Text(result.ID)
	usage, estimated := c.used(status, result, broken)
	r.Estimated = estimated
	r.CostMicroUSD, r.Assumed = c.cost(status, result, usage)
	r.Input, r.Cached, r.Output, r.Reasoning = usage.Input, usage.Cached, usage.Output, usage.Reasoning
	attrs := []any{
		"call", r.ID, "run", r.RunID, "endpoint", c.endpoint, "model", r.Model, "stream", c.asked.Stream, "status", status, "response", r.ResponseID,
		"finish", result.Finish, "upstream_error", result.ErrorCode, "input_tokens", r.Input, "cached_tokens", r.Cached,
		"output_tokens", r.Output, "reasoning_tokens", r.Reasoning, "estimated", estimated, "searches", result.Searches, "took", r.Took,
		"cost_microusd", r.CostMicroUSD, "price_assumed", r.Assumed,
	}
	measure(ctx, *r)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer cancel()
	if err := c.h.db.SaveCall(ctx, *r); err != nil {
		slog.ErrorContext(ctx, "model call ended, and its record could not be completed", append(attrs, "error", err)...)
		return
	}
	slog.InfoContext(ctx, "model call", attrs...)
}

// measure adds a call to the metrics. The model is one that the platform allows, not any name.
func measure(ctx context.Context, c store.ModelCall) {
	metrics.ModelCallDuration.Record(ctx, c.Took.Seconds(), c.Model, strconv.Itoa(c.Status))
	for kind, n := range map[string]int64{"input": c.Input, "cached": c.Cached, "output": c.Output, "reasoning": c.Reasoning} {
		metrics.ModelTokens.Add(ctx, float64(n), c.Model, kind)
	}
	metrics.ModelCost.Add(ctx, float64(c.CostMicroUSD)/1e6, c.Model)
}

const (
	// bytesPerToken is the usual rough measure:
	// https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them
	bytesPerToken = 4
	// tokensPerFile is what a picture of high detail takes at most, whatever its size in bytes:
	// https://platform.openai.com/docs/guides/images-vision#calculating-costs
	tokensPerFile = 2500
)

// estimate is what the call may have used, by what was sent and received.
func (c *call) estimate(result llm.Result) price.Usage {
	return price.Usage{
		Input:  max(1, c.asked.Text/bytesPerToken+c.asked.Files*tokensPerFile),
		Output: (result.Shown + bytesPerToken - 1) / bytesPerToken,
	}
}

// used is what the call used, and whether that is partly an estimate. Figures count if they are not zero and come at
// the end of an answer. What OpenAI refused used nothing; but a proxy that timed out does not speak for OpenAI.
func (c *call) used(status int, result llm.Result, broken bool) (usage price.Usage, estimated bool) {
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

// cost is the price of what was used, in millionths of a dollar; assumed says that it is not known and the dearest
// known one counts.
func (c *call) cost(status int, result llm.Result, usage price.Usage) (micro int64, assumed bool) {
	if usage == (price.Usage{}) && result.Searches == 0 {
		return 0, false
	}
	tier := result.Tier
	if (result.Tier == "" || !result.Reported) && c.asked.Tier != "" {
		tier = c.asked.Tier // the end of the answer says which one it got
	}
	micro, known := c.h.prices.Cost(result.Model, tier, usage)
	if !known {
		micro, known = c.h.prices.Reckon(c.asked.Model, tier, usage)
	}
	searches := result.Searches
	if c.endpoint == llm.Chat && status < http.StatusBadRequest {
		searches = 1 // a chat completion that may search searches once
	}
	for _, tool := range c.asked.Hosted {
		fee, _ := c.h.prices.Fee(tool, searches) // that it is listed was checked
		micro += fee
	}
	return micro, !known
}
