package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"codexk8s.dev/shared/price"
	"codexk8s.dev/shared/stage"
)

// nearly is from which percent on a budget is named.
const nearly = 80

// None of these is a fault of the platform: people decide what may be spent, a limit ends by itself.

func (h *handler) checkBudgets(ctx context.Context) check {
	funds, err := h.db.Funds(ctx)
	if err != nil {
		return failed("budgets", askPostgres, err)
	}
	c := check{Name: "budgets", Saw: "no run spends from one", Data: funds}
	var near []string
	for _, f := range funds {
		if used, u := f.Used(); used >= nearly {
			near = append(near, fmt.Sprintf("%d %% of %s (%s) is used: %s of %s", used, f.Scope.Of(), f.Name, u.Show(f.Spent), u.Show(f.Limit())))
		}
	}
	if len(funds) > 0 {
		c.Saw = fmt.Sprintf("%d in use, none nearly spent", len(funds))
	}
	if len(near) > 0 {
		c.Saw = some(near)
	}
	return c
}

func (h *handler) checkStandstills(ctx context.Context, now time.Time) check {
	waiting, err := h.db.Standstills(ctx)
	if err != nil {
		return failed("money and limits", askPostgres, err)
	}
	c := check{Name: "money and limits", Saw: "no run waits for them", Data: waiting}
	var lines []string
	for _, w := range waiting {
		line := fmt.Sprintf("%s#%d since %s for people to extend its budget", w.Repository, w.Issue, ago(w.Since, now))
		if w.For == stage.ForRateLimit {
			line = fmt.Sprintf("%s#%d since %s for its model, until %s", w.Repository, w.Issue, ago(w.Since, now), stamp(w.Until))
		}
		lines = append(lines, line)
	}
	if len(lines) > 0 {
		c.Saw = some(lines)
	}
	return c
}

func (h *handler) checkModels(ctx context.Context, now time.Time) check {
	pauses, err := h.db.ModelPauses(ctx)
	if err != nil {
		return failed("models' limits", askPostgres, err)
	}
	c := check{Name: "models' limits", Saw: "not met", Data: pauses}
	var lines []string
	for _, p := range pauses {
		lines = append(lines, fmt.Sprintf("%s is not asked for %s (%s)", oneLine(p.Model), short(p.Until.Sub(now)), oneLine(p.Reason)))
	}
	if len(lines) > 0 {
		c.Saw = some(lines)
	}
	return c
}

// checkPrices looks at the list that comes with the release.
func checkPrices(now time.Time) check {
	prices, err := price.Default()
	if err != nil {
		return failed("prices", "the release is broken: deploy another one", err)
	}
	c := check{Name: "prices", Saw: "of " + prices.Version}
	if old := prices.Old(now); old != "" {
		c.Saw = old + "; a later release has later ones, and so may PRICES_FILE of llm-caller"
	}
	return c
}

// some joins the first few of many.
func some(lines []string) string {
	const few = 5
	if len(lines) > few {
		lines = append(lines[:few:few], fmt.Sprintf("and %d more", len(lines)-few))
	}
	return strings.Join(lines, "; ")
}
