package page

import (
	"strings"
	"time"

	"codexk8s.dev/functions/console/internal/api"
)

// A Link leads to a page.
type Link struct {
	Name, Address string
	Current       bool
}

// Runs is the list of runs.
type Runs struct {
	Filter  string
	Problem string // what is wrong with the filter; "" = nothing
	Tabs    []Link
	List    api.RunList
	Paged   bool // it is not the first page
}

// Tabs are the filters that the list of runs offers by name.
func Tabs(language string) []Link {
	w := In(language)
	return []Link{{Name: w.All}, {Name: w.Active, Address: "state:active"}, {Name: w.WaitingRuns, Address: "state:waiting"},
		{Name: w.FailedRuns, Address: "state:failed,timed_out"}, {Name: w.Done, Address: "state:done"}}
}

// In are the words of a language.
func In(language string) *Words { return catalogue[language] }

// Home is what needs the person.
type Home struct {
	Needs                 []Ask
	Running, Failed, Done api.RunList
}

// An Ask is a request with the form that answers it.
type Ask struct {
	Approval api.Approval
	Key      string // makes the form's vote one, however often it is sent
	Text     string // that was written
	Refused  string // why the vote did not count; "" = there was none
	Stored   bool   // a vote was stored just now
}

// Tokens are a person's, with the form that makes one.
type Tokens struct {
	List    api.TokenList
	Scopes  []string  // that there are
	Made    api.Token // just now, with its secret; zero = none was
	Name    string    // that was written
	Refused string    // why none was made; "" = it was not tried
}

// An Order is a command: what would come of it, or what has become of it.
type Order struct {
	Command api.Command
	Key     string // makes the form's command one, however often it is sent
	Text    string // that was written
	Refused string // why it was not given; "" = it was not tried
}

// Foreseen reports whether the command is only tried.
func (o Order) Foreseen() bool { return o.Command.State == "foreseen" }

// Idle reports whether nothing comes of it.
func (o Order) Idle() bool { return o.Command.Does == "nothing" || o.Command.State == "refused" }

// Revises reports whether the person may say what to change.
func (o Order) Revises() bool { return strings.HasSuffix(o.Command.Label, ":revise") }

// Open reports whether the request can still be answered.
func (a Ask) Open() bool { return a.Approval.State == "open" || a.Approval.State == "requested" }

// Run is a run with a window of its log.
type Run struct {
	Detail  api.RunDetail
	Steps   []Step
	Log     api.Log
	Grep    string
	Windows []Link
	AtEnd   bool   // the window is the end of the log, and grows with it
	Job     int    // at which it is, from 1 on
	Orders  []Link // what the person may do with it
}

// A Step is one of a run's timeline.
type Step struct {
	api.Step
	After time.Duration // since the step before, if that is worth a word
	Wait  bool          // that time was spent waiting for people
}

// worthAWord is the shortest pause that the timeline names.
const worthAWord = 2 * time.Second

// Timeline prepares the steps of a run to be shown.
func Timeline(t api.Timeline) []Step {
	steps := make([]Step, len(t.Items))
	for i, s := range t.Items {
		steps[i] = Step{Step: s}
		if i == 0 {
			continue
		}
		before := t.Items[i-1]
		if d := s.At.Sub(before.At).Truncate(time.Second); d >= worthAWord {
			steps[i].After, steps[i].Wait = d, strings.HasPrefix(before.Action, "run.waiting")
		}
	}
	return steps
}
