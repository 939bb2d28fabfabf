package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/sashabaranov/go-openai"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/llm"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/store"
)

const (
	// answerWithin bounds a call for an event: below Knative's five minutes for a request.
	answerWithin = 4 * time.Minute
	// claimFor is how long a planned call counts as being made. Then its process is dead, and the next delivery makes the call.
	claimFor = answerWithin + time.Minute
	// limitPause is the wait after a rate limit that named none.
	limitPause = 30 * time.Second
)

// answer is what came of a call for an event.
type answer struct {
	events.LLMAnswered
	failed  *events.LLMFailed // instead of an answer
	usage   llm.Usage
	tier    string
	status  int
	id      string // OpenAI's
	started time.Time
}

// requested asks the model once and says what it answered. A rate limit, or an OpenAI that is away, is a delivery to be repeated
// later; what would fail again is the event llm.failed.
func (h *handler) requested(ctx context.Context, e event.Event, p events.LLMRequested) ([]event.Event, error) {
	if p.RequestID == "" || p.Model == "" || len(p.Messages) == 0 {
		return nil, events.Malformed(fmt.Errorf("event %s: requestId, model and messages are required", e.ID()))
	}
	var a answer
	handled, err := h.db.Handled(ctx, e)
	if err != nil {
		return nil, err
	}
	if !handled {
		if err := h.claim(ctx, e); err != nil {
			return nil, err
		}
		if a, err = h.ask(ctx, p); err != nil {
			return nil, errors.Join(err, h.unclaim(context.WithoutCancel(ctx), e))
		}
	}
	// The model has answered; a sender that has hung up meanwhile must not make it answer again.
	return h.db.Step(context.WithoutCancel(ctx), e, "llm/"+p.RequestID, func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		if err := h.save(ctx, tx, e, p, a); err != nil {
			return events.Decision{}, err
		}
		if a.failed != nil {
			return events.Decision{Emit: []events.Draft{events.Now(*a.failed)}, Audit: []events.Record{{
				Actor: "function:llm-caller", Action: "llm.failed", Reason: a.failed.Reason, Detail: a.failed.Message}}}, nil
		}
		return events.Decision{Emit: []events.Draft{events.Now(a.LLMAnswered)}, Audit: []events.Record{{
			Actor: "function:llm-caller", Action: "llm.answered",
			Detail: fmt.Sprintf("%s: %d tokens in, %d out", p.Model, a.usage.Input, a.usage.Output)}}}, nil
	})
}

// actionKey names the call in actions.
func actionKey(e event.Event) string { return "llm.requested " + e.Source() + " " + e.ID() }

// claim plans the call, unless a process that may be alive has planned it.
func (h *handler) claim(ctx context.Context, e event.Event) error {
	var claimed time.Time
	err := h.db.Pool().QueryRow(ctx, `
		INSERT INTO actions AS a (key, function, state, planned_at)
		VALUES ($1, 'llm-caller', 'planned', $2)
		ON CONFLICT (key) DO UPDATE
		SET planned_at = excluded.planned_at
		WHERE a.state = 'planned' AND a.planned_at < $3
		RETURNING planned_at
	`, actionKey(e), h.db.Now(), h.db.Now().Add(-claimFor)).Scan(&claimed)
	if errors.Is(err, pgx.ErrNoRows) {
		return events.RetryAt(h.db.Now().Add(5*time.Second), errors.New("another delivery of the event is asking the model"))
	}
	if err != nil {
		return fmt.Errorf("planning the model call: %w", err)
	}
	return nil
}

// unclaim lets the next delivery try at once.
func (h *handler) unclaim(ctx context.Context, e event.Event) error {
	ctx, cancel := context.WithTimeout(ctx, recordFor)
	defer cancel()
	_, err := h.db.Pool().Exec(ctx, `
		DELETE FROM actions
		WHERE key = $1 AND state = 'planned'
	`, actionKey(e))
	if err != nil {
		return fmt.Errorf("taking the plan of the model call back: %w", err)
	}
	return nil
}

// save marks the call as done and records its use, in the transaction that stores the answer.
func (h *handler) save(ctx context.Context, tx *store.Tx, e event.Event, p events.LLMRequested, a answer) error {
	var cost *int64
	if micro, known := h.prices.Cost(a.Model, a.tier, a.usage); known || a.usage == (llm.Usage{}) {
		cost = &micro
	}
	var b pgx.Batch
	b.Queue(`
		UPDATE actions
		SET state = 'done', done_at = $2
		WHERE key = $1
	`, actionKey(e), tx.Now())
	b.Queue(`
		INSERT INTO llm_calls (id, model, endpoint, status, response_id, input_tokens, cached_tokens, output_tokens, reasoning_tokens,
		                       cost_microusd, started_at, duration_ms)
		VALUES ($1, $2, 'chat/completions', $3, $4, $5, $6, $7, $8, $9, $10, $11)
	`, uuid.New(), p.Model, a.status, plain.Text(a.id), a.usage.Input, a.usage.Cached, a.usage.Output, a.usage.Reasoning,
		cost, a.started, time.Since(a.started).Milliseconds())
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("recording the model call: %w", err)
	}
	measure(ctx, p.Model, a.status, time.Since(a.started), a.usage, cost)
	return nil
}

// ask makes the call. An error means that it is worth repeating, for good or after a time.
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
	a := answer{started: time.Now().UTC(), LLMAnswered: events.LLMAnswered{RequestID: p.RequestID, Model: p.Model}}
	client := llm.NewClient(h.apiKey, h.base.String(), h.client, h.db.Now)
	said, err := client.CreateChatCompletion(ctx, request)
	if err != nil {
		return h.failed(ctx, a, llm.AsFailure(err))
	}
	if len(said.Choices) == 0 {
		return answer{}, errors.New("the model's answer has no choices")
	}
	a.status, a.id, a.tier = 200, said.ID, string(said.ServiceTier)
	a.usage = llm.Usage{Input: int64(said.Usage.PromptTokens), Output: int64(said.Usage.CompletionTokens)}
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
