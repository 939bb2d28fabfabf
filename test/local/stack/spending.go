package stack

import (
	"context"
	"fmt"

	"codexk8s.dev/shared/budget"
	fakechat "codexk8s.dev/test/fakes/chat"
)

// DemoBudget is what a run of the demonstration of budgets may spend: enough to look round, too little for what its
// issue wants written.
var DemoBudget = budget.Policy{Run: budget.Limit{Dollars: 0.12}}

// The issue of that demonstration. The model writes six thousand tokens at once, which is nine cents.
const (
	longTitle = "Write the history of the greeting"
	longBody  = "From the first one to the last.\n\nWrite at length: 24"
	usedUp    = "The budget of this run is used up"
)

// PlayBudget plays the demonstration of a run that reaches its budget: the model's answer is cut off in the middle, the
// run waits without a pod, people extend the budget in Telegram, and the same conversation goes on to its pull request.
// The stack was started with DemoBudget. say is told of each step.
func (s *Stack) PlayBudget(ctx context.Context, say func(format string, args ...any)) (End, error) {
	story := s.story()
	issue, err := s.GitHub.CreateIssue(Repository, longTitle, longBody, Owner)
	if err != nil {
		return End{}, fmt.Errorf("opening the issue: %w", err)
	}
	story.Issue = issue
	say("%s labels %s#%d %q with %s; a run may spend $%.2f", Owner, Repository, issue, longTitle, LabelDev, DemoBudget.Run.Dollars)
	if err := s.GitHub.AddLabel(Repository, issue, LabelDev, Owner); err != nil {
		return End{}, fmt.Errorf("labelling the issue: %w", err)
	}
	asked, err := s.awaitRequest(ctx, story, usedUp)
	if err != nil {
		return End{}, fmt.Errorf("after the label: %w", err)
	}
	cut, spent, err := story.cutOff(ctx)
	if err != nil {
		return End{}, err
	}
	say("the model's answer is cut off after %d tokens: the run has used %s, its pod is gone, and the chats ask: %s", cut, budget.Money(spent), s.Chat.URL())
	say("%s extends by $1.00 in Telegram", Owner)
	if err := s.press(ctx, asked[fakechat.Telegram], "Extend by $1.00", ""); err != nil {
		return End{}, err
	}
	if err := s.awaitOutcome(ctx, usedUp, "Answered"); err != nil {
		return End{}, err
	}
	pull, err := story.awaitRun(ctx, 1)
	if err != nil {
		return End{}, fmt.Errorf("after it was extended: %w", err)
	}
	say("the same conversation has gone on, and pull request #%d %q is in review: %s", pull.Number, pull.Title, story.page("pull", pull.Number))
	e, err := story.end(ctx, pull)
	if err != nil {
		return End{}, err
	}
	return e, s.oneConversation("<<<DATA issue ")
}

// cutOff is how many tokens of the answer that was cut off have passed, and what the run has spent by then, in
// millionths of a dollar. It is an error if that is more than the run may spend.
func (s Story) cutOff(ctx context.Context) (tokens, spent int64, err error) {
	db, err := s.connect(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	err = db.QueryRow(ctx, `
		SELECT max(c.output_tokens) FILTER (WHERE c.status = 402), sum(c.cost_microusd)::bigint
		FROM llm_calls c
		JOIN runs r ON r.id = c.run_id
		WHERE r.repository = $1 AND r.issue = $2
	`, s.Repository, s.Issue).Scan(&tokens, &spent)
	if err != nil {
		return 0, 0, fmt.Errorf("looking for the answer that was cut off: %w", err)
	}
	if most := int64(DemoBudget.Run.Dollars * 1e6); spent > most {
		return 0, 0, fmt.Errorf("the run has spent %s of %s", budget.Money(spent), budget.Money(most))
	}
	return tokens, spent, nil
}
