package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"
	"github.com/sashabaranov/go-openai"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/llm"
	"codexk8s.dev/shared/price"
	"codexk8s.dev/shared/store"
)

const (
	// answerWithin bounds a call for an event: below Knative's five minutes for a request.
	answerWithin = 4 * time.Minute
	// claimFor is how long a planned call counts as being made. After that its process is dead, and the next delivery
	// makes the call.
	claimFor = answerWithin + time.Minute
	// limitPause is the wait after a rate limit that named none.
	limitPause = 30 * time.Second
)

// answer is the result of a call for an event.
type answer struct {
	events.LLMAnswered
	failed *events.LLMFailed // instead of an answer
	usage  price.Usage
	tier   string
	status int
	id     string // OpenAI's
}

// requested asks the model once and emits its answer. After a rate limit, or if OpenAI is down, the delivery is
// repeated later; what would fail again becomes the event llm.failed.
func (h *handler) requested(ctx context.Context, e event.Event, p events.LLMRequested) ([]event.Event, error) {
	if p.RequestID == "" || p.Model == "" || len(p.Messages) == 0 {
		return nil, events.Malformed(fmt.Errorf("event %s: requestId, model and messages are required", e.ID()))
	}
	return h.db.Act(ctx, e, "llm/"+p.RequestID, func(ctx context.Context) (events.Decision, error) {
		key := "llm.requested " + e.Source() + " " + e.ID()
		now := h.db.Now()
		err := h.db.Claim(ctx, key, now.Add(-claimFor))
		if errors.Is(err, store.ErrClaimed) {
			err = events.RetryAt(now.Add(5*time.Second), errors.New("another delivery of the event is asking the model"))
		}
		if err != nil {
			return events.Decision{}, err
		}
		started := time.Now().UTC()
		a, err := h.ask(ctx, p)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
		defer cancel()
		if err != nil {
			return events.Decision{}, errors.Join(err, h.db.Unclaim(ctx, key)) // the next delivery tries at once
		}
		return a.decision(p.Model), h.save(ctx, p, a, started)
	})
}

func (a answer) decision(model string) events.Decision {
	if a.failed != nil {
		return events.Decision{Emit: []events.Draft{events.Now(*a.failed)}, Audit: []events.Record{{
			Actor: "function:llm-caller", Action: "llm.failed", Reason: a.failed.Reason, Detail: a.failed.Message}}}
	}
	return events.Decision{Emit: []events.Draft{events.Now(a.LLMAnswered)}, Audit: []events.Record{{
		Actor: "function:llm-caller", Action: "llm.answered",
		Detail: fmt.Sprintf("%s: %d tokens in, %d out", model, a.usage.Input, a.usage.Output)}}}
}

// save records the call and its cost.
func (h *handler) save(ctx context.Context, p events.LLMRequested, a answer, started time.Time) error {
	c := store.ModelCall{
		ID: uuid.NewString(), Model: p.Model, Endpoint: "chat/completions", Started: started, Took: time.Since(started),
		Status: a.status, ResponseID: a.id,
		Input: a.usage.Input, Cached: a.usage.Cached, Output: a.usage.Output, Reasoning: a.usage.Reasoning,
	}
	micro, known := h.prices.Reckon(a.Model, a.tier, a.usage)
	c.CostMicroUSD, c.Assumed = micro, !known && a.usage != (price.Usage{})
	measure(ctx, c)
	return h.db.SaveCall(ctx, c)
}

// ask makes the call. An error means that it is worth repeating.
func (h *handler) ask(ctx context.Context, p events.LLMRequested) (answer, error) {
	if h.apiKey == "" {
		return answer{}, events.RetryAt(h.db.Now().Add(time.Minute), errors.New("OPENAI_API_KEY is not set: set the key of the secret codexk8s-openai"))
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	request := openai.ChatCompletionRequest{Model: p.Model, MaxCompletionTokens: p.MaxTokens}
	for _, m := range p.Messages {
		request.Messages = append(request.Messages, openai.ChatCompletionMessage{Role: m.Role, Content: m.Content})
	}
	a := answer{LLMAnswered: events.LLMAnswered{RequestID: p.RequestID, Model: p.Model}}
	client := llm.NewClient(h.apiKey, h.base.String(), h.client, h.db.Now)
	said, err := client.CreateChatCompletion(ctx, request)
	if err != nil {
		return h.failed(ctx, a, llm.AsFailure(err))
	}
	if len(said.Choices) == 0 {
		return answer{}, errors.New("the model's answer has no choices")
	}
	a.status, a.id, a.tier = 200, said.ID, string(said.ServiceTier)
	a.usage = price.Usage{Input: int64(said.Usage.PromptTokens), Output: int64(said.Usage.CompletionTokens)}
	if d := said.Usage.PromptTokensDetails; d != nil {
		a.usage.Cached = int64(d.CachedTokens)
	}
	if d := said.Usage.CompletionTokensDetails; d != nil {
		a.usage.Reasoning = int64(d.ReasoningTokens)
	}
	if said.Model != "" {
		a.Model = said.Model
	}
	choice := said.Choices[0]
	a.Content, a.InputTokens, a.OutputTokens = choice.Message.Content, a.usage.Input, a.usage.Output
	if choice.Message.Refusal != "" {
		a.failed = &events.LLMFailed{RequestID: p.RequestID, Reason: "refused", Message: choice.Message.Refusal}
	}
	if choice.FinishReason == openai.FinishReasonContentFilter {
		a.failed = &events.LLMFailed{RequestID: p.RequestID, Reason: "content_filter", Message: "the provider's content filter stopped the answer"}
	}
	return a, nil
}

// failed sorts a failure: later, never, or again.
func (h *handler) failed(ctx context.Context, a answer, f *llm.Failure) (answer, error) {
	switch {
	case f.Kind == llm.RateLimited, f.RetryAfter > 0:
		wait := f.RetryAfter
		if wait == 0 {
			wait = limitPause
		}
		return answer{}, events.RetryAt(h.db.Now().Add(wait), f)
	case f.Kind == llm.QuotaExhausted, f.Kind == llm.Permanent && ctx.Err() == nil:
		a.status = f.Status
		a.failed = &events.LLMFailed{RequestID: a.RequestID, Reason: string(f.Kind), Message: f.Error()}
		return a, nil
	}
	return answer{}, f
}
