// Package replay plays the recorded events of a platform again, by the process that is in force and by a changed one,
// and says what the change would have made different.
//
// Both are played side by side from the same events in the order in which they were stored, each with the functions
// that stage-router decides with. So whatever a replay can't know (below) is the same on both sides, and a difference
// is the process's doing. How far the replay is to be trusted is measured: the present process must start exactly the
// runs that the log says were started. An issue where it does not is named and left out.
//
// What is not in the log can't be replayed:
//   - An agent that never worked. A run that only the changed process starts is taken to have ended, without a result,
//     when a person does the next thing on its issue.
//   - The queue. A run begins when it began, however many the changed process lets run at a time.
//   - Rights and settings as they were. Members, bound repositories and project settings are those of today.
//   - Files. What GitHub had is known where it was looked up then; else a run begins and ends as it did.
//   - Texts. What an issue says decides nothing but the agent's task.
//   - What came after the first difference of an issue is played on and marked: people would have acted otherwise.
//
// Memory holds the issues in flight: open, with a run behind or before them. What closed them for good lets them go.
//
// The package is pure: its caller reads the events and looks up whose they are.
package replay

import (
	"maps"
	"slices"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
)

// A Home is a repository as it is known today.
type Home struct {
	Key     string // as stage.Item.RepositoryKey
	Name    string
	ID      int64
	Process *stage.Process // that is in force there
	Changed *stage.Process // to be compared with it
}

// A Replay is one in progress. Its functions look up what the events refer to.
type Replay struct {
	// Home finds a repository by its number (0 = not known) or its name.
	Home func(id int64, name string) (Home, error)
	// Project is the project of a repository's key with the person's role in it; nil = it belongs to none.
	Project func(key string, by stage.Person) (*stage.Project, error)
	// Differs is told of each issue on which the two differ, as soon as the issue is over.
	Differs func(Issue) error

	Total Total

	items map[string]*item           // in flight, by key
	runs  map[string]*item           // by the id of a run that either side has started
	pulls map[string]*item           // by the key of a pull request
	asked map[string]*[2][]time.Time // by a repository's key: when runs were requested on each side, for the rule of storms
}

// Total counts what was replayed.
type Total struct {
	Events  int `json:"events"`
	Asked   int `json:"asked"`   // acts of people that started, stopped or revised something, or had no effect
	Runs    int `json:"runs"`    // that the log says were requested
	Same    int `json:"same"`    // of these: which the present process starts in the replay too
	Changed int `json:"changed"` // that the changed process starts
	Issues  int `json:"issues"`  // on which the two differ
	Held    int `json:"held"`    // most issues that were in memory at a time

	Unsure []string `json:"unsure,omitempty"` // issues left out, because the present process does not replay as recorded; the first ones
	Left   int      `json:"left"`             // how many they are
}

// An Issue is a work item on which the two processes differ.
type Issue struct {
	Key           string       `json:"issue"`
	Differences   []Difference `json:"differences"`
	More          int          `json:"more,omitempty"` // differences that are not listed
	Labels        []string     `json:"labels"`         // that the platform shows at the end, by the process in force
	ChangedLabels []string     `json:"changedLabels"`  // and by the changed one
}

// A Difference is one event after which the two do not do the same.
type Difference struct {
	At      time.Time `json:"at"`
	Event   string    `json:"event"`             // id
	What    string    `json:"what"`              // "label run:dev by alice"
	Was     string    `json:"was"`               // by the process in force
	Is      string    `json:"is"`                // by the changed one
	Follows bool      `json:"follows,omitempty"` // from an earlier difference, maybe
}

// listed is how many differences of one issue are told.
const listed = 20

// Types are the types of events that a replay takes; others tell it nothing.
func Types() []string {
	own := []string{events.RunDeadline{}.EventType(), events.RunCheck{}.EventType()} // timers are played by the time itself
	types := slices.DeleteFunc(stage.Hears(), func(t string) bool { return slices.Contains(own, t) })
	return append(types, events.RunRequested{}.EventType(), events.RunFinished{}.EventType(), events.AgentRequested{}.EventType(), events.GitHubLookupRequested{}.EventType())
}

// Play takes the next event, which was stored at a time.
func (r *Replay) Play(e event.Event, stored time.Time) error {
	if r.items == nil {
		r.items, r.runs, r.pulls, r.asked = map[string]*item{}, map[string]*item{}, map[string]*item{}, map[string]*[2][]time.Time{}
	}
	r.Total.Events++
	switch e.Type() {
	case events.RunRequested{}.EventType():
		return played(e, func(p events.RunRequested) { r.requested(p) })
	case events.RunFinished{}.EventType():
		return played(e, func(p events.RunFinished) { r.finished(p, e, stored) })
	case events.AgentRequested{}.EventType():
		return played(e, func(p events.AgentRequested) { r.begun(p.RunID, stored) })
	case events.GitHubLookupRequested{}.EventType():
		return played(e, func(p events.GitHubLookupRequested) { r.begun(p.RunID, stored) })
	}
	about, in, err := stage.Hear(e)
	if _, refused := events.AsRejected(err); refused || in == nil && err == nil {
		return nil // as it was then, or it means nothing
	}
	if err != nil {
		return err
	}
	return r.heard(e, about, in, stored)
}

// played gives a payload to do. One that can't be read was refused when it came.
func played[P events.Payload](e event.Event, do func(P)) error {
	if p, err := events.Decode[P](e); err == nil {
		do(p)
	}
	return nil
}

// End tells of the issues that are still in flight.
func (r *Replay) End() error {
	for _, key := range slices.Sorted(maps.Keys(r.items)) {
		if err := r.leave(r.items[key]); err != nil {
			return err
		}
	}
	return nil
}
