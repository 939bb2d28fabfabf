package stage

import (
	"fmt"
	"slices"
	"time"

	"codexk8s.dev/shared/events"
)

// State is how far a run is.
type State string

// The states of a run; the last four are final.
const (
	Requested State = "requested"
	Queued    State = "queued"
	Starting  State = "starting"
	Running   State = "running"
	Waiting   State = "waiting"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
	TimedOut  State = "timed_out"
)

// transitions is the state machine of a run. No order of events is assumed: an
// agent's report may overtake the news that its Job was created.
var transitions = map[State][]State{
	Requested: {Queued, Starting, Failed, Cancelled},
	Queued:    {Starting, Failed, Cancelled},
	Starting:  {Running, Succeeded, Failed, Cancelled, TimedOut},
	Running:   {Waiting, Starting, Succeeded, Failed, Cancelled, TimedOut},
	Waiting:   {Starting, Running, Failed, Cancelled, TimedOut},
}

// Final reports whether nothing more can happen to a run in this state.
func (s State) Final() bool { return len(transitions[s]) == 0 }

// May reports whether a run may go from s to next.
func (s State) May(next State) bool { return slices.Contains(transitions[s], next) }

// Item is a work item: a GitHub issue, its pull request and the runs that matter
// to a decision. It is the aggregate: one decision at a time changes it.
type Item struct {
	Repository     string // "owner/name" as GitHub spells it
	Issue          int
	Title          string
	Body           string
	URL            string
	BaseBranch     string
	CloneURL       string
	Labels         []string
	Closed         bool
	PullRequest    int // 0 = none
	PullRequestURL string
	HeadSHA        string
	Version        int64 // grows whenever the status comment changes

	Project *Project // nil: the repository is bound to none
	// Run is the active run, or the one that the event is about; nil if there is none.
	Run *Run
	// IntentKnown says that the same intent was decided before.
	IntentKnown bool
}

// Key is the item's key, "owner/repo#12".
func (i *Item) Key() string { return events.WorkItem(i.Repository, i.Issue) }

// Project is what the repository's project says about its runs.
type Project struct {
	ID       string
	Settings Settings
	// SenderRole is the role of whoever caused the event: owner, admin, maintainer, reader, or "".
	SenderRole string
}

// Settings are a project's own choices; zero values leave the process's.
type Settings struct {
	Engine       string `json:"engine,omitempty"`       // codex or builtin
	Model        string `json:"model,omitempty"`        // the default model
	Parallel     int    `json:"parallel,omitempty"`     // runs at a time, of all roles; 0 = 10
	Keep         string `json:"keep,omitempty"`         // how long a run's namespace stays, a Go duration
	RuntimeClass string `json:"runtimeClass,omitempty"` // of the agent's pod: gVisor, Kata
	Sandbox      string `json:"sandbox,omitempty"`      // "agent-sandbox" makes the agent's pod; "" = a Job does
	Instructions string `json:"instructions,omitempty"` // rules for the agent

	Modes        map[string]string `json:"modes,omitempty"`        // by role, full-env or code-only; else the role's own
	ServicesFile string            `json:"servicesFile,omitempty"` // of full-env roles, its path in the repository; "" = services.yaml
}

// keep is how long the namespace of a run stays after it.
func (s Settings) keep(stage Stage) time.Duration {
	if d, err := time.ParseDuration(s.Keep); err == nil {
		return d
	}
	return stage.Keep
}

// Run is one execution of a stage for an issue.
type Run struct {
	ID          string // UUID
	Project     string
	Stage       string
	Revise      bool
	Role        string
	State       State
	Reason      string // why it is where it is, machine-readable
	Message     string // the same for a person
	Engine      string
	Model       string
	Reasoning   string
	RequestedBy string // GitHub login
	Intent      string
	Namespace   string
	Attempt     int // how many Jobs it had before this one
	Review      *Review
	ThreadID    string
	Summary     string
	Deadline    time.Time
	HeartbeatAt time.Time
	CreatedAt   time.Time
	StartedAt   time.Time
	FinishedAt  time.Time
}

// Review is what a revise answers.
type Review struct {
	ID     int64  `json:"id"`
	Author string `json:"author"`
	Body   string `json:"body"`
}

// Ref names the item's run in events.
func (i *Item) Ref() events.RunRef {
	return events.RunRef{RunID: i.Run.ID, Project: i.Run.Project, Repository: i.Repository, Issue: i.Issue}
}

func (i *Item) active() bool { return i.Run != nil && !i.Run.State.Final() }

// Person is who caused an event on GitHub.
type Person struct {
	Login string
	Bot   bool
}

// Issue is what a GitHub event says of the issue itself.
type Issue struct {
	Title, Body, URL     string
	BaseBranch, CloneURL string
	Labels               []string
	Closed               bool
}

// Labeled says that a person put a label on the issue.
type Labeled struct {
	Issue  Issue
	Label  string
	Sender Person
	Intent string // see LabelIntent
}

// Edited says that the issue changed in another way: opened, closed, edited, unlabelled.
type Edited struct {
	Issue  Issue
	Action string
	Sender Person
}

// Reviewed says that a person reviewed the item's pull request.
type Reviewed struct {
	Review
	State       string // approved, changes_requested, commented, dismissed
	PullRequest int
	HeadSHA     string
	Sender      Person
	Intent      string // see ReviewIntent
}

// PullRequestClosed says that the item's pull request was closed, merged or not.
type PullRequestClosed struct {
	PullRequest int
	Merged      bool
	Sender      Person
}

// JobEnded says that the run's Job completed. The agent reports before it exits,
// so the report, if there ever will be one, is known by now.
type JobEnded struct {
	RunID   string
	Attempt int
	Report  *events.AgentReported
}

// LabelIntent is the meaning of a label being set: which, where, and when to the
// second. The same act told by two hooks has one intent.
func LabelIntent(repository string, issue int, label string, at time.Time, delivery string) string {
	when := delivery
	if !at.IsZero() {
		when = at.UTC().Format(time.RFC3339)
	}
	return "label " + events.WorkItem(repository, issue) + " " + label + " " + when
}

// ReviewIntent is the meaning of a review: its id on GitHub.
func ReviewIntent(repository string, issue int, review int64) string {
	return fmt.Sprintf("review %s %d", events.WorkItem(repository, issue), review)
}
