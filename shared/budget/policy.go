package budget

import (
	"maps"
	"slices"
	"strings"

	"codexk8s.dev/shared/yamlfile"
)

// Policy is what may be spent: the section budgets of the process, and of a project's settings.
type Policy struct {
	Run     Limit            `yaml:"run" json:"run,omitzero"`
	Stages  map[string]Limit `yaml:"stages" json:"stages,omitempty"` // of a run of that stage
	Issue   Limit            `yaml:"issue" json:"issue,omitzero"`
	Project Limit            `yaml:"project" json:"project,omitzero"`
	Day     Limit            `yaml:"day" json:"day,omitzero"`     // of a project, UTC
	Month   Limit            `yaml:"month" json:"month,omitzero"` // of a project, UTC
	// Breaker is of an issue until one of its pull requests is merged, and from then on anew.
	Breaker Limit `yaml:"breaker" json:"breaker,omitzero"`
	// Warn are the percents of each budget at which people are told, rising; nil = usual, empty = none.
	Warn []int `yaml:"warn" json:"warn,omitzero"`
}

// usual is when people are told, unless a policy says otherwise.
var usual = []int{50, 80}

// Limit is an amount as people write it; what is 0 is not said.
type Limit struct {
	Dollars float64 `yaml:"dollars" json:"dollars,omitempty"`
	Tokens  int64   `yaml:"tokens" json:"tokens,omitempty"` // sent and generated
	Minutes int64   `yaml:"minutes" json:"minutes,omitempty"`
	Runs    int64   `yaml:"runs" json:"runs,omitempty"` // of Breaker alone
}

func (l Limit) amount() Amount {
	return Dollars.amount(l.Dollars).Plus(Amount{Tokens: l.Tokens, WorkMS: l.Minutes * 60_000, Runs: l.Runs})
}

// limits are what the policy says of a scope, the most specific first.
func (p *Policy) limits(s Scope, stage string) []Limit {
	switch {
	case p == nil:
		return nil
	case s == Run:
		return []Limit{p.Stages[stage], p.Run}
	case s == Issue:
		return []Limit{p.Issue}
	case s == Project:
		return []Limit{p.Project}
	case s == Breaker:
		return []Limit{p.Breaker}
	case s == Day:
		return []Limit{p.Day}
	}
	return []Limit{p.Month}
}

// The most that a limit may say: what sums of it still fit into.
const (
	maxDollars = 1e9
	maxTokens  = 1e15
	maxMinutes = 1e8
	maxRuns    = 1e6
)

// Check reports each fault of the policy at the path to the file that it was read from. stages are those that there
// are; nil = they are not known here.
func (p *Policy) Check(source *yamlfile.File, stages []string, path ...any) {
	if p == nil {
		return
	}
	at := func(steps ...any) []any { return slices.Concat(path, steps) }
	for scope, l := range map[Scope]Limit{Run: p.Run, Issue: p.Issue, Project: p.Project, Day: p.Day, Month: p.Month, Breaker: p.Breaker} {
		l.check(source, scope == Breaker, at(string(scope))...)
	}
	for i, w := range p.Warn {
		if w < 1 || w > 99 || i > 0 && w <= p.Warn[i-1] {
			source.Bad(at("warn", i), "warn: %d: want percents from 1 to 99, rising, or [] for no warnings", w)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Stages)) {
		if stages != nil && !slices.Contains(stages, name) {
			source.Bad(at("stages", name), "budgets: there is no stage %q: want one of %s", name, strings.Join(stages, ", "))
		}
		p.Stages[name].Check(source, at("stages", name)...)
	}
}

// Check reports each fault of a limit.
func (l Limit) Check(source *yamlfile.File, path ...any) { l.check(source, false, path...) }

func (l Limit) check(source *yamlfile.File, breaker bool, path ...any) {
	if runs := slices.Concat(path, []any{string(Runs)}); !breaker && source.Has(runs...) {
		source.Bad(runs, "runs are counted by the budget %s alone", Breaker)
		return
	}
	for _, f := range []struct {
		unit        Unit
		value, most float64
	}{{Dollars, l.Dollars, maxDollars}, {Tokens, float64(l.Tokens), maxTokens}, {Minutes, float64(l.Minutes), maxMinutes}, {Runs, float64(l.Runs), maxRuns}} {
		at := slices.Concat(path, []any{string(f.unit)})
		if source.Has(at...) && !(f.value > 0 && f.value <= f.most) { // written so that NaN fails as well
			source.Bad(at, "%s is %v: want more than 0 and at most %.0f, or leave it out for no limit", f.unit, f.value, f.most)
		}
	}
}
