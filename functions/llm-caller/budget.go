package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/llm"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/price"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

const (
	// longest is what an answer has at most, in tokens, reasoning included:
	// https://platform.openai.com/docs/models/compare
	longest = 128_000
	// shortest is how much of an answer must be affordable for a call to make sense, in tokens.
	shortest = 256
	// denseBytesPerToken is the measure for what a call may cost before it is made: code and languages other than
	// English have fewer bytes to a token than bytesPerToken.
	denseBytesPerToken = 3
)

// hold writes the call down with what it may use at most, which is then nobody else's. If that is less than the longest
// answer, the answer is bounded by it.
func (c *call) hold(ctx context.Context) error {
	input := max(1, c.asked.Text/denseBytesPerToken+c.asked.Files*tokensPerFile)
	most := int64(longest)
	if said := c.asked.MaxOutput * max(c.asked.Answers, 1); said > 0 {
		most = min(most, 2*said) // what passes is measured by its bytes, and easy words have more of them to a token
	}
	need := c.worth(input, min(most, shortest))
	held, accounts, ok, err := c.h.db.HoldCall(ctx, c.run, c.record, store.Hold{Worst: c.worth(input, most), Need: need})
	if err != nil {
		return err
	}
	if !ok {
		return c.blocked(ctx, accounts, need)
	}
	if err := c.warn(ctx, accounts); err != nil {
		return err
	}
	c.most = max(1, min(held.Tokens-input, c.h.prices.Affords(c.asked.Model, c.asked.Tier, input, held.MicroUSD-c.fees(), most)))
	return nil
}

// warn has people told of budgets that have come near to their end.
func (c *call) warn(ctx context.Context, accounts []budget.Account) error {
	for _, a := range accounts {
		percent, line := a.Warning()
		if percent == 0 {
			continue
		}
		w := events.BudgetWarned{RunRef: c.run.Ref(), Scope: string(a.Scope), Percent: percent, Line: line}
		emitted, err := c.h.db.WarnOfBudget(ctx, w, a)
		if err != nil {
			return err
		}
		if err := c.h.send(ctx, emitted...); err != nil {
			slog.WarnContext(ctx, "the warning is stored but not sent; timekeeper sends it", "run", c.run.ID, "budget", a.Scope, "error", err)
		}
	}
	return nil
}

// worth is what so many tokens are.
func (c *call) worth(input, output int64) budget.Amount {
	micro, _ := c.h.prices.Reckon(c.asked.Model, c.asked.Tier, price.Usage{Input: input, Output: output})
	return budget.Amount{Tokens: input + output, MicroUSD: micro + c.fees()}
}

// fees are those of one use of each tool that OpenAI may run.
func (c *call) fees() (micro int64) {
	for _, tool := range c.asked.Hosted {
		fee, _ := c.h.prices.Fee(tool, 1)
		micro += fee
	}
	return micro
}

// enough says of an answer that is passing whether it has used up what its call holds; nil if nothing limits it. OpenAI
// stops by itself at the bound that it was sent. A server that does not is cut off.
func (c *call) enough(meter *llm.Meter) func() bool {
	if c.most == 0 {
		return nil
	}
	return func() bool { return meter.Shown()/bytesPerToken >= c.most }
}

// blocked is why the call is not made. Where other calls of the run hold what is left, it may be made when they have
// ended; else people are asked, and the run waits.
func (c *call) blocked(ctx context.Context, accounts []budget.Account, need budget.Amount) error {
	account, unit := budget.Blocked(accounts, need)
	if account == nil {
		return fmt.Errorf("model call %s was not let in, although every budget of run %s has room", c.record.ID, c.run.ID)
	}
	alone := slices.Clone(accounts)
	for i := range alone {
		alone[i].Held = budget.Amount{}
	}
	if none, _ := budget.Blocked(alone, need); none == nil {
		return refusal{status: http.StatusTooManyRequests, code: "budget_held", after: time.Second,
			message: "other calls of this run hold what is left of its budget, wait for one of them to end"}
	}
	waits := refusal{status: http.StatusPaymentRequired, code: "budget_reached", waits: c.run.ID,
		message: fmt.Sprintf("the budget of %s is used up: %s of %s; people are asked", account.Scope.Of(), unit.Show(account.Spent.Plus(account.Held)), unit.Show(account.Limit()))}
	if slices.ContainsFunc(c.run.Asks, func(a stage.Ask) bool { return a.Answer == nil && budget.IsAsk(a.Action) }) {
		return waits
	}
	return c.askForMore(ctx, *account, unit, waits)
}

// askForMore asks people to extend the budget.
func (c *call) askForMore(ctx context.Context, a budget.Account, u budget.Unit, waits refusal) error {
	spent, err := c.h.db.Spent(ctx, c.run)
	if err != nil {
		return err
	}
	asking := budget.Asking{
		RunRef: c.run.Ref(), Stage: c.run.Stage, Role: c.run.Role, HeadSHA: c.run.HeadSHA, Progress: plain.Text(c.run.Progress),
		RequestedBy: events.GitHubAccount{Login: c.run.RequestedBy, ID: c.run.RequestedByID}, Before: c.extensions(),
		Needs: budget.Amount{Tokens: c.run.ReservedTokens, MicroUSD: c.run.ReservedMicroUSD}.Minus(spent),
	}
	if strings.HasPrefix(c.run.URL, "https://") {
		asking.IssueURL = c.run.URL
	}
	r, err := budget.Ask(asking, a, u)
	if err != nil {
		return err
	}
	r.At = c.h.db.Now()
	emitted, err := c.h.db.SaveAsk(ctx, r)
	if errors.Is(err, store.ErrTooMany) {
		return refusal{status: http.StatusPaymentRequired, code: "budget_reached", message: waits.message + " no more: this run has asked as often as it may"}
	}
	if err != nil {
		return err
	}
	slog.InfoContext(ctx, "budget reached, people are asked", "run", c.run.ID, "budget", a.Scope, "request", r.ID)
	if err := c.h.send(ctx, emitted...); err != nil {
		slog.WarnContext(ctx, "the request is stored but not sent; timekeeper sends it", "run", c.run.ID, "request", r.ID, "error", err)
	}
	return waits
}

// extensions is how often people have been asked for more by this run before.
func (c *call) extensions() (n int) {
	for _, a := range c.run.Asks {
		if budget.IsAsk(a.Action) {
			n++
		}
	}
	return n
}

// seal changes the body on its way, so that OpenAI keeps nothing and generates no more than the call may use.
func (c *call) seal() (err error) {
	bound := c.most
	if bound >= longest {
		bound = 0
	}
	openAI := strings.HasSuffix(c.h.base.Hostname(), "api.openai.com") // eu.api.openai.com, too
	c.body.data, err = c.asked.Sealed(c.endpoint, c.body.data, llm.Seal{OpenAI: openAI, MaxOutput: bound, Model: c.standIn})
	return err
}
