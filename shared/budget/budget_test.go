package budget

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/yamlfile"
)

func TestTheMostSpecificFigureWins(t *testing.T) {
	process := &Policy{Run: Limit{Dollars: 5, Minutes: 60}, Stages: map[string]Limit{"dev": {Dollars: 8}}, Day: Limit{Dollars: 100}, Warn: []int{90}}
	project := &Policy{Run: Limit{Tokens: 1000}, Stages: map[string]Limit{"qa": {Dollars: 2}}, Month: Limit{Dollars: 900}}
	got := Bounds("r", "acme/shop#1", "shop", "qa", project, process)
	want := []Bound{
		{Run, "r", Amount{Tokens: 1000, MicroUSD: 2e6, WorkMS: 3_600_000}, []int{90}},
		{Day, "shop", Amount{MicroUSD: 100e6}, []int{90}},
		{Month, "shop", Amount{MicroUSD: 900e6}, []int{90}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Bounds("r", "acme/shop#1", "shop", "dev", nil, process)[0].Most; got.MicroUSD != 8e6 {
		t.Errorf("dev may spend %+v", got)
	}
	if got := Bounds("r", "acme/shop#1", "shop", "dev", nil, &Policy{}); got != nil {
		t.Errorf("budgets out of nothing: %+v", got)
	}
}

func TestCheckNamesTheLine(t *testing.T) {
	var p Policy
	source, err := yamlfile.Read([]byte("run: {dollars: 0}\nissue: {dollars: -1}\nday: {dollars: .nan}\nmonth: {tokens: 5}\nstages:\n  dew: {dollars: 1}\nbreaker: {runs: 0}\nproject: {runs: 4}\nwarn: [50, 100]\n"), &p)
	if err != nil {
		t.Fatal(err)
	}
	p.Check(source, []string{"dev"})
	for _, want := range []string{"line 1: dollars is 0: want more than 0", "line 2: dollars is -1", "line 3: dollars is NaN", `line 6: budgets: there is no stage "dew"`,
		"line 7: runs is 0", "line 8: runs are counted by the budget breaker alone", "line 9: warn: 100: want percents"} {
		if err := source.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

// TestPeopleAreWarnedOnce of each percent, and of the higher one alone when two are passed at once.
func TestPeopleAreWarnedOnce(t *testing.T) {
	a := Account{Bound: Bound{Scope: Breaker, Name: "acme/shop#1", Most: Amount{Runs: 5, MicroUSD: 10e6}, Warn: []int{50, 80}}}
	for _, c := range []struct {
		runs, micro int64
		warned      int
		more        Amount
		want        int
		line        string
	}{
		{2, 4_999_999, 0, Amount{}, 0, ""},
		{2, 5_000_000, 0, Amount{}, 50, "50 % of the budget of this issue without a merged pull request is used: $5.00 of $10.00"},
		{3, 6_100_000, 50, Amount{}, 0, ""},
		{4, 6_100_000, 50, Amount{}, 80, "80 % of the budget of this issue without a merged pull request is used: 4 runs of 5 runs"},
		{4, 9_000_000, 0, Amount{}, 80, "80 % of the budget of this issue without a merged pull request is used: $9.00 of $10.00"},
		{5, 11_000_000, 80, Amount{}, 0, ""},
		{5, 11_000_000, 0, Amount{Runs: 20, MicroUSD: 50e6}, 0, ""},
	} {
		a.Spent, a.Warned, a.More = Amount{Runs: c.runs, MicroUSD: c.micro}, c.warned, c.more
		if got, line := a.Warning(); got != c.want || line != c.line {
			t.Errorf("%+v: %d, %q", c, got, line)
		}
	}
}

func TestEstimate(t *testing.T) {
	stage := Limit{Dollars: 1, Tokens: 10}
	var ten []Amount
	for i := int64(1); i <= 10; i++ {
		ten = append(ten, Amount{Tokens: i, MicroUSD: 100 * i, WorkMS: 1000 * (11 - i)})
	}
	for name, c := range map[string]struct {
		past []Amount
		want Amount
	}{
		"no past":       {nil, Amount{Tokens: 10, MicroUSD: 1e6}},
		"too little":    {ten[:2], Amount{Tokens: 10, MicroUSD: 1e6}},
		"three":         {ten[:3], Amount{Tokens: 3, MicroUSD: 300, WorkMS: 10_000}},
		"nine of ten":   {ten, Amount{Tokens: 9, MicroUSD: 900, WorkMS: 9000}},
		"whole numbers": {append(ten, ten...), Amount{Tokens: 9, MicroUSD: 900, WorkMS: 9000}},
	} {
		if diff := cmp.Diff(c.want, Estimate(c.past, stage)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestAnAnswerIsWhatWasShown: an option means the figure that stands in it, in the budget that was named, and nothing
// else extends anything.
func TestAnAnswerIsWhatWasShown(t *testing.T) {
	run := Asking{RunRef: events.RunRef{RunID: "r", Project: "shop", Repository: "acme/shop", Issue: 1}, Stage: "dev", Role: "dev",
		Progress: "2 of 5 files done", Needs: Amount{MicroUSD: 1_200_000}}
	now := time.Date(2026, 11, 28, 23, 59, 0, 0, time.FixedZone("west", -3600))
	b := Bound{Day, "shop", Amount{MicroUSD: 5e6}, nil}
	r, err := Ask(run, Account{Bound: b, Period: b.Period(now), Spent: Amount{MicroUSD: 4_910_000}, Others: Amount{MicroUSD: 80_000}}, Dollars)
	if err != nil {
		t.Fatal(err)
	}
	if want := "The budget of the project's day is used up: $4.91 of $5.00, about $1.20 more to the end. Extend it, and the run goes on where it was."; r.Title != want {
		t.Errorf("asked %q, want %q", r.Title, want)
	}
	if want := `{"budget":"day","more":[1,2,5],"name":"shop","of":"$5.00","period":"2026-11-29","reserved":"$0.0800","unit":"dollars","used":"$4.91"}`; string(r.Arguments) != want {
		t.Errorf("arguments %s, want %s", r.Arguments, want)
	}
	for option, want := range map[int]int64{1: 1e6, 2: 2e6, 3: 5e6, 4: 0, 0: 0, -1: 0, 5: 0} {
		more, ok := More(r.Arguments, option)
		if more.MicroUSD != want || ok != (want > 0) || ok && (more.Kind != "project" || more.Name != "shop" || more.Period != "2026-11-29") {
			t.Errorf("option %d: %+v, %t", option, more, ok)
		}
	}
}

// TestNobodyOverspends: whatever runs do at the same time, crash, or tell late, what is spent and held stays within
// each budget, and when all have ended nothing is held.
func TestNobodyOverspends(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		const limit = 1000
		b := Bound{Scope: Day, Name: "p", Most: Amount{MicroUSD: limit}}
		type call struct{ holds int64 }
		var calls []call
		spent, more, held := int64(0), int64(0), int64(0)
		for range 400 {
			a := Account{Bound: b, Spent: Amount{MicroUSD: spent}, More: Amount{MicroUSD: more}, Held: Amount{MicroUSD: held}}
			switch r.IntN(6) {
			case 0, 1, 2: // a call begins
				need, worst := r.Int64N(20), r.Int64N(300)
				if short, _ := Blocked([]Account{a}, Amount{MicroUSD: need}); short == nil {
					holds := a.Within(Amount{MicroUSD: max(worst, need, 1)}).MicroUSD
					calls, held = append(calls, call{holds}), held+holds
				}
			case 3, 4: // one ends, or its process has died and it counts as all that it held
				if len(calls) > 0 {
					i := r.IntN(len(calls))
					used := calls[i].holds
					if r.IntN(3) > 0 {
						used = r.Int64N(used + 1)
					}
					spent, held = spent+used, held-calls[i].holds
					calls = append(calls[:i], calls[i+1:]...)
				}
			case 5:
				if r.IntN(40) == 0 {
					more += 100
				}
			}
			if spent+held > limit+more {
				t.Fatalf("seed %d: %d spent and %d held of %d", seed, spent, held, limit+more)
			}
		}
		for _, c := range calls {
			spent, held = spent+c.holds, held-c.holds
		}
		if held != 0 || spent > limit+more {
			t.Fatalf("seed %d: %d spent of %d, %d still held", seed, spent, limit+more, held)
		}
	}
}
