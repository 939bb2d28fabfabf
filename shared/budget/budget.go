// Package budget decides what may still be spent.
//
// A Policy is data of the process and of a project: at most so many tokens, dollars and minutes of work for a run, an
// issue, a project, and a project's day and month; and for an issue until something of it is merged, which keeps agents
// from trying again and again. When a run is admitted, Bounds makes of it the budgets that the run
// is under, of each the most specific figure, and Estimate says what the run is likely to need. That much is reserved,
// so that runs at the same time can't overspend together, and what a run does not use is free again when it ends.
//
// Each call of a model holds what it may use at most, for as long as it lasts. An Account is a budget with all of that:
//
//	at most + what people added = spent + held by the run's calls + reserved by other runs + left
//
// A call that does not fit into what is left is not made. Then people are asked (Ask), and the run waits for their
// answer (More) without a pod.
//
// Money is in millionths of a dollar. Days and months are UTC's. The package is pure.
package budget

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// Amount is something that is spent, or may be.
type Amount struct {
	Tokens   int64 `json:"tokens,omitempty"` // sent and generated
	MicroUSD int64 `json:"microusd,omitempty"`
	WorkMS   int64 `json:"workMs,omitempty"` // milliseconds that a Job was at work
	Runs     int64 `json:"runs,omitempty"`   // that had an agent and are over
}

// Plus is the sum.
func (a Amount) Plus(b Amount) Amount {
	return Amount{a.Tokens + b.Tokens, a.MicroUSD + b.MicroUSD, a.WorkMS + b.WorkMS, a.Runs + b.Runs}
}

// Minus is the difference.
func (a Amount) Minus(b Amount) Amount {
	return Amount{a.Tokens - b.Tokens, a.MicroUSD - b.MicroUSD, a.WorkMS - b.WorkMS, a.Runs - b.Runs}
}

// Max has the larger of each part.
func (a Amount) Max(b Amount) Amount {
	return Amount{max(a.Tokens, b.Tokens), max(a.MicroUSD, b.MicroUSD), max(a.WorkMS, b.WorkMS), max(a.Runs, b.Runs)}
}

// Min has the smaller of each part.
func (a Amount) Min(b Amount) Amount {
	return Amount{min(a.Tokens, b.Tokens), min(a.MicroUSD, b.MicroUSD), min(a.WorkMS, b.WorkMS), min(a.Runs, b.Runs)}
}

// A Unit is one part of an Amount.
type Unit string

// The units, in the order in which a reached budget is told.
const (
	Dollars Unit = "dollars"
	Tokens  Unit = "tokens"
	Minutes Unit = "minutes"
	Runs    Unit = "runs"
)

var units = []Unit{Dollars, Tokens, Minutes, Runs}

// Of is that part of an amount.
func (u Unit) Of(a Amount) int64 {
	switch u {
	case Dollars:
		return a.MicroUSD
	case Tokens:
		return a.Tokens
	case Minutes:
		return a.WorkMS
	}
	return a.Runs
}

// only is an amount of nothing else: millionths of a dollar, tokens, milliseconds or runs.
func (u Unit) only(n int64) Amount {
	switch u {
	case Dollars:
		return Amount{MicroUSD: n}
	case Tokens:
		return Amount{Tokens: n}
	case Minutes:
		return Amount{WorkMS: n}
	}
	return Amount{Runs: n}
}

// amount is so much of the unit as people write it: dollars, tokens, minutes or runs.
func (u Unit) amount(n float64) Amount {
	return u.only(int64(math.Round(n * map[Unit]float64{Dollars: 1e6, Tokens: 1, Minutes: 60_000, Runs: 1}[u])))
}

// Show is that part of an amount, for people: "$4.91", "120000 tokens", "45 minutes".
func (u Unit) Show(a Amount) string {
	switch u {
	case Dollars:
		return Money(a.MicroUSD)
	case Tokens:
		return strconv.FormatInt(a.Tokens, 10) + " tokens"
	case Runs:
		return strconv.FormatInt(a.Runs, 10) + " runs"
	}
	return strconv.FormatInt((a.WorkMS+30_000)/60_000, 10) + " minutes"
}

// Money shows an amount in dollars, to the cent, small ones to the hundredth of a cent.
func Money(micro int64) string {
	digits := 2
	if micro != 0 && micro > -100_000 && micro < 100_000 {
		digits = 4
	}
	return "$" + strconv.FormatFloat(float64(micro)/1e6, 'f', digits, 64)
}

// A Scope is what a budget is for.
type Scope string

// The scopes, from the narrowest.
const (
	Run     Scope = "run"
	Issue   Scope = "issue"
	Project Scope = "project"
	Day     Scope = "day"
	Month   Scope = "month"
	Breaker Scope = "breaker" // of an issue, since something of it was merged
)

// Scopes are all of them.
var Scopes = []Scope{Run, Issue, Breaker, Project, Day, Month}

// Of says what the budget is for, to people.
func (s Scope) Of() string {
	return map[Scope]string{Run: "this run", Issue: "this issue", Project: "the project", Day: "the project's day", Month: "the project's month",
		Breaker: "this issue without a merged pull request"}[s]
}

// A Bound is one budget that a run is under.
type Bound struct {
	Scope Scope  `json:"scope"`
	Name  string `json:"name"`           // the run's id, the issue's key, the project's id
	Most  Amount `json:"most"`           // a part that is 0 is not limited
	Warn  []int  `json:"warn,omitempty"` // percents of it at which people are told, rising
}

// Kind is what rows of spending call whose budget it is.
func (b Bound) Kind() string {
	switch b.Scope {
	case Day, Month:
		return string(Project)
	case Breaker:
		return string(Issue)
	}
	return string(b.Scope)
}

// unmerged is the period of what an issue has spent since something of it was merged.
const unmerged = "unmerged"

// Period is the one of rows of spending that the budget is for now.
func (b Bound) Period(now time.Time) string {
	switch b.Scope {
	case Day:
		return now.UTC().Format(time.DateOnly)
	case Month:
		return now.UTC().Format("2006-01")
	case Breaker:
		return unmerged
	}
	return ""
}

// Until is when what was spent no longer counts in this budget; zero = always.
func (b Bound) Until(now time.Time) time.Time {
	y, m, d := now.UTC().Date()
	switch b.Scope {
	case Day:
		return time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
	case Month:
		return time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
	}
	return time.Time{}
}

// Wide reports whether other runs spend from the same budget at the same time. An issue has one run at a time.
func (b Bound) Wide() bool { return b.Scope == Project || b.Scope == Day || b.Scope == Month }

// Bounds are the budgets of a run, with those parts alone that are limited. The first policy that says something of a
// part counts; within a policy a stage's own figure goes before that of all runs.
func Bounds(run, issue, project, stage string, policies ...*Policy) (bounds []Bound) {
	warn := usual
	for _, p := range slices.Backward(policies) {
		if p != nil && p.Warn != nil {
			warn = p.Warn
		}
	}
	for _, s := range []struct {
		Scope
		name string
	}{{Run, run}, {Issue, issue}, {Breaker, issue}, {Project, project}, {Day, project}, {Month, project}} {
		var most Amount
		for _, p := range policies {
			for _, l := range p.limits(s.Scope, stage) {
				most = most.or(l.amount())
			}
		}
		if most != (Amount{}) {
			bounds = append(bounds, Bound{Scope: s.Scope, Name: s.name, Most: most, Warn: warn})
		}
	}
	return bounds
}

// or takes from b the parts that a does not have.
func (a Amount) or(b Amount) Amount {
	for _, u := range units {
		if u.Of(a) == 0 {
			a = a.Plus(u.only(u.Of(b)))
		}
	}
	return a
}

// An Account is a budget with what has become of it.
type Account struct {
	Bound
	Period string
	Spent  Amount
	More   Amount // that people have added
	Held   Amount // by the run's own calls that are under way
	Others Amount // reserved by other runs, or held by their calls
	Warned int    // the percent of which people were told last; 0 = of none
}

// Limit is what the budget comes to.
func (a Account) Limit() Amount { return a.Most.Plus(a.More) }

// Left is what may still be spent; only parts that are limited say something.
func (a Account) Left() Amount { return a.Limit().Minus(a.Spent).Minus(a.Held).Minus(a.Others) }

// Within is as much of an amount as is left, where the budget limits it.
func (a Account) Within(need Amount) Amount {
	for _, u := range units {
		if left := max(u.Of(a.Left()), 0); u.Of(a.Most) > 0 && u.Of(need) > left {
			need = need.Plus(u.only(left - u.Of(need)))
		}
	}
	return need
}

// Blocked is the first budget that does not have what is needed, and in which unit; nil if all have. A need of 0 fits
// while something is left.
func Blocked(accounts []Account, need Amount) (*Account, Unit) {
	for i, a := range accounts {
		for _, u := range units {
			if u.Of(a.Most) > 0 && u.Of(a.Left()) < max(u.Of(need), 1) {
				return &accounts[i], u
			}
		}
	}
	return nil, ""
}

// Used is which part of a budget has been spent, in percent; 0 of one that has no limits.
func (a Account) Used() (percent int, unit Unit) {
	for _, u := range units {
		if limit := u.Of(a.Limit()); u.Of(a.Most) > 0 && limit > 0 {
			if p := int(min(float64(u.Of(a.Spent))*100/float64(limit), 1000)); p > percent {
				percent, unit = p, u
			}
		}
	}
	return percent, unit
}

// Warning is the highest percent that was reached and of which people were not told yet; 0 = none. line says it to
// them: "80 % of the budget of this issue is used: $8.10 of $10.00".
func (a Account) Warning() (percent int, line string) {
	used, u := a.Used()
	for _, w := range a.Warn {
		if w <= used && w > max(a.Warned, percent) {
			percent = w
		}
	}
	if percent == 0 {
		return 0, ""
	}
	return percent, strconv.Itoa(percent) + " % of the budget of " + a.Scope.Of() + " is used: " + u.Show(a.Spent) + " of " + u.Show(a.Limit())
}

// few is from how many runs on their spending says what the next one needs.
const few = 3

// Estimate is what a run is likely to need: what nine of ten of the past ones have needed, else the stage's own figure.
func Estimate(past []Amount, stage Limit) Amount {
	if len(past) < few {
		return stage.amount()
	}
	var need Amount
	for _, u := range units {
		of := make([]int64, len(past))
		for i, a := range past {
			of[i] = u.Of(a)
		}
		slices.Sort(of)
		need = need.Plus(u.only(of[(len(of)*9+9)/10-1]))
	}
	return need
}
