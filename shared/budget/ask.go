package budget

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
)

// ActionPrefix begins the action of a request for more; the budget's scope stands behind it.
const ActionPrefix = "budget:"

// IsAsk reports whether that is the action of a request for more.
func IsAsk(action string) bool { return strings.HasPrefix(action, ActionPrefix) }

// steps are by how much people may extend a budget at a time.
var steps = map[Unit][]float64{Dollars: {1, 2, 5}, Tokens: {500_000, 1_000_000, 2_000_000}, Minutes: {15, 30, 60}, Runs: {1, 3, 5}}

// stop is the option after the steps.
const stop = "Stop the run"

// asked are the arguments of a request: all that an answer is bound to.
type asked struct {
	Budget Scope     `json:"budget"`
	Name   string    `json:"name"`
	Period string    `json:"period,omitempty"`
	Unit   Unit      `json:"unit"`
	Used   string    `json:"used"`
	Held   string    `json:"reserved,omitempty"` // by other runs
	Of     string    `json:"of"`
	More   []float64 `json:"more"`
}

// Asking is the run that needs more.
type Asking struct {
	events.RunRef
	Stage, Role, IssueURL, HeadSHA string
	RequestedBy                    events.GitHubAccount
	Progress                       string // what the agent has said of its work
	Needs                          Amount // about what it still takes; a part that is 0 is not known
	Before                         int    // how often the run has asked for more: the same figures again are another request
}

// Ask is the request to people to extend the budget that has blocked the run. The more they may add is in its options.
func Ask(run Asking, a Account, u Unit) (approval.Request, error) {
	with := asked{Budget: a.Scope, Name: a.Name, Period: a.Period, Unit: u, Used: u.Show(a.Spent.Plus(a.Held)), Of: u.Show(a.Limit()), More: steps[u]}
	if u.Of(a.Others) > 0 {
		with.Held = u.Show(a.Others)
	}
	arguments, err := json.Marshal(with)
	if err != nil {
		return approval.Request{}, fmt.Errorf("writing what is asked: %w", err)
	}
	var options []string
	for _, n := range with.More {
		options = append(options, "Extend by "+u.Show(u.amount(n)))
	}
	title := fmt.Sprintf("The budget of %s is used up: %s of %s. Extend it, and the run goes on where it was.", a.Scope.Of(), with.Used, with.Of)
	if n := u.Of(run.Needs); n > 0 {
		title = strings.Replace(title, ". Extend", fmt.Sprintf(", about %s more to the end. Extend", u.Show(run.Needs)), 1)
	}
	r := approval.Request{
		RunRef: run.RunRef, Kind: events.KindQuestion, Stage: run.Stage, Role: run.Role, Action: ActionPrefix + string(a.Scope), Title: title,
		Arguments: arguments, Options: append(options, stop), IssueURL: run.IssueURL, HeadSHA: run.HeadSHA, RequestedBy: run.RequestedBy, Repeat: run.Before,
	}
	if run.Progress != "" {
		r.Justification = cut("The agent says: "+run.Progress, 500)
	}
	return approval.Seal(r)
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// More reads what people have added by that option of a request, from 1 on. ok is false if the run is to stop.
func More(arguments json.RawMessage, option int) (e events.BudgetExtension, ok bool) {
	var a asked
	if json.Unmarshal(arguments, &a) != nil || option < 1 || option > len(a.More) || !slices.Contains(units, a.Unit) {
		return e, false
	}
	more := a.Unit.amount(a.More[option-1])
	return events.BudgetExtension{
		Kind: Bound{Scope: a.Budget}.Kind(), Name: a.Name, Period: a.Period, Tokens: more.Tokens, MicroUSD: more.MicroUSD, WorkMS: more.WorkMS, Runs: more.Runs,
	}, true
}

// Line says what a run has spent, of which budget: "12345 tokens, $0.11, 3 minutes of $5.00".
func Line(spent Amount, bounds []Bound) string {
	line := strconv.FormatInt(spent.Tokens, 10) + " tokens, " + Money(spent.MicroUSD) + ", " + Minutes.Show(spent)
	var of []string
	for _, b := range bounds {
		if b.Scope != Run {
			continue
		}
		for _, u := range units {
			if u.Of(b.Most) > 0 {
				of = append(of, u.Show(b.Most))
			}
		}
	}
	if len(of) == 0 {
		return line
	}
	return line + " of " + strings.Join(of, ", ")
}
