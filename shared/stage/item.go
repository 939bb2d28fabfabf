package stage

import (
	"cmp"
	"slices"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
)

// State is how far a run has got.
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

// States are all of them, in the order in which a run may take them.
var States = []State{Requested, Queued, Starting, Running, Waiting, Succeeded, Failed, Cancelled, TimedOut}

// transitions is the state machine of a run, as the package's comment draws it. No order of events is assumed: an
// agent's report or question may overtake the event that its Job was created, one Job may follow another while the run
// is Starting, a run that has its answers may have asked more than was known, and a waiting run may report.
var transitions = map[State][]State{
	Requested: {Queued, Starting, Failed, Cancelled},
	Queued:    {Starting, Waiting, Failed, Cancelled},
	Starting:  {Starting, Running, Waiting, Succeeded, Failed, Cancelled, TimedOut},
	Running:   {Waiting, Starting, Succeeded, Failed, Cancelled, TimedOut},
	Waiting:   {Queued, Succeeded, Failed, Cancelled, TimedOut},
}

// May reports whether a run may go from s to next.
func (s State) May(next State) bool { return slices.Contains(transitions[s], next) }

// Final reports whether nothing more can happen to a run in this state.
func (s State) Final() bool { return len(transitions[s]) == 0 }

// Active reports whether a run in this state keeps its issue from starting another one.
func (s State) Active() bool { return !s.Final() }

// Queues reports whether a run in this state still waits for a place in its project.
func (s State) Queues() bool { return s == Requested || s == Queued }

// HoldsPod reports whether a run in this state has a Job at work.
func (s State) HoldsPod() bool { return s == Starting || s == Running }

// holdsPlace reports whether the run takes one of its project's places: its Job is at work, or has not ended yet.
func (r *Run) holdsPlace() bool { return r.State.HoldsPod() || r.State == Waiting && !r.JobOver }

// begun reports whether the run has ever had a Job.
func (r *Run) begun() bool { return !r.State.Queues() || r.Attempt > 0 }

// to moves the run to a state, unless it may not go there.
func (r *Run) to(s State) bool {
	if !r.State.May(s) {
		return false
	}
	r.State = s
	return true
}

// Item is a work item: a GitHub issue, its pull requests and the runs that matter
// to a decision. It is the aggregate: one decision at a time changes it.
//
// Events come in any order, so what GitHub says is ordered by GitHub's own times: UpdatedAt of the issue,
// Pull.UpdatedAt of a pull request, ActedAt of what people ask for. Of equal times (GitHub gives seconds) the one
// that arrives last counts. What has no time is taken as it comes.
type Item struct {
	Repository    string // "owner/name" as GitHub spells it now
	RepositoryKey string // under which the platform keeps it, even after a rename; "" = its name
	RepositoryID  int64  // GitHub's number; 0 = not known
	NameTaken     int64  // the number of the repository that is known by this name, if that is another one
	Issue         int
	Title         string
	Body          string
	URL           string
	BaseBranch    string
	CloneURL      string
	Labels        []string
	Profile       string // the highest that the item has gone by, unless a maintainer took it back; "" = none
	Closed        bool
	UpdatedAt     time.Time // of what is known about the issue; zero = nothing is
	Pulls         []Pull    // one for each branch

	PersonAt time.Time // of the newest event about the issue or its pull request that a person caused
	ActedAt  time.Time // when a person last asked for something that was decided
	Answered []string  // triggers on the issue that were answered and are to be removed
	// NeedInput says that the platform has set the label for an open question, and nobody has answered by removing it.
	NeedInput bool
	Note      string // what a person was told last, in Markdown, next to the state
	Version   int64  // grows with every change of what GitHub is to show
	Approved  *Task  // what the next revise works from; nil before the first run
	Next      *Next  // what follows on the active run; nil = nothing
	Held      *Held  // what a storm has kept from starting; nil = nothing

	Project *Project // nil = the repository belongs to none
	// Run is the newest run, or the one that the event is about; nil if there is none.
	Run *Run
	// Worked is the newest run of a stage if Run is a turn of a discussion, which counts for nothing that GitHub shows of
	// the stage; else nil.
	Worked *Run
	// Ended is a run that the decision has ended before it requested Run; nil = none.
	Ended *Run
	// Talk is the discussion on the issue.
	Talk Talk
	// Said is what was discussed in turns, oldest first, if an input needs it.
	Said []Remark
	// IntentKnown says that the same intent was decided before.
	IntentKnown bool
	// Lately is what was asked for in the repository, if an input needs it.
	Lately Lately
	// Report is what the agent of Run reported, if an input needs it; nil = nothing yet.
	Report *events.AgentReported
	// Artefacts are what the item's runs made, oldest first, if an input needs them.
	Artefacts []Artefact
	// Asked is what the agent of Run asked people, oldest first, if an input needs it.
	Asked []events.ApprovalRequested
	// Process is the project's. It decides everything except about an active run.
	Process *Process
}

// process is the one that applies now: a run ends by the rules that it began with.
func (i *Item) process() *Process {
	if i.working() && i.Run.Process != nil {
		return i.Run.Process
	}
	return i.Process
}

// Key is the item's key, "owner/repo#12". It never changes, so it has the name under which the repository was first
// known.
func (i *Item) Key() string { return events.WorkItem(i.repository(), i.Issue) }

func (i *Item) repository() string { return cmp.Or(i.RepositoryKey, i.Repository) }

// Project is what the repository's project says about its runs.
type Project struct {
	ID       string
	Settings project.Settings
	// SenderRole is the role of the person who caused the event; "" = none.
	SenderRole access.Role
	// LoginTaken is the number of the account that is known by the sender's login, if that is another one.
	LoginTaken int64
}

// Run is one execution of a stage for an issue.
type Run struct {
	ID          string // UUID
	Project     string
	Stage       string
	Kind        events.Kind
	Role        string
	State       State
	WaitingFor  WaitingFor // "" unless State is Waiting
	Reason      string     // why it is in this state, machine-readable
	Message     string     // the same for a person
	Engine      string
	Model       string
	Reasoning   string
	RequestedBy string // GitHub login
	RequesterID int64  // GitHub's number of that account, set when the run is requested; 0 = not known
	Intent      string
	Namespace   string
	Grant       *Grant // nil for a run of the release before
	// Process is the one that the run was requested under. If it is no longer known, as for a run that another release
	// began, the run continues under the project's present one.
	Process     *Process
	Attempt     int    // how many Jobs it had before this one
	Position    int    // in its project's queue, as people are told; 0 = it does not wait there, or it is not known yet
	Task        *Task  // nil for a run of the release before
	Base        string // branch that its pull request is to be merged into; "" = the item's base branch
	BaseCommit  string // of that branch when the run was requested, else when it started; "" = not known yet
	Review      *Review
	Talk        []Remark // what a turn of a discussion answers; else what was discussed before the run
	Reopens     string   // stage at which its agent says to begin again; "" = it says nothing
	Delivered   string   // the commit that the agent reported, which is looked at before the run has succeeded; "" = none
	Exit        Exit     // what GitHub has said of that commit
	ThreadID    string
	Summary     string
	Asks        []Ask  // oldest first
	Calls       []Call // oldest first
	Deadline    time.Time
	PausedAt    time.Time          // since when the deadline is paused; zero = it is not
	Limited     *events.LLMLimited // what the provider of its model said last; nil = nothing
	NotBefore   time.Time          // it waits until then for its model's provider; zero = it does not
	WorkMS      int64              // how long its Jobs were at work, before the present one, in milliseconds
	Spent       budget.Amount
	Bounds      []budget.Bound // its budgets, as of its last admission
	Warned      []Warning      // what people were told of them
	JobOver     bool           // its last Job is over and the next one not admitted yet: only for a run that waits or has waited
	ResumedAt   time.Time      // when it last had all its answers; zero = never
	HeartbeatAt time.Time
	CreatedAt   time.Time
	StartedAt   time.Time
	FinishedAt  time.Time
}

// A Warning is what people were told of a budget of the run.
type Warning struct {
	Scope   string `json:"scope"` // of budget.Scope
	Percent int    `json:"percent"`
	Line    string `json:"line"`
}

// WaitingFor is what a waiting run waits for.
type WaitingFor string

// What a run may wait for, without a pod.
const (
	ForApproval    WaitingFor = "approval"
	ForAnswer      WaitingFor = "question"
	ForOwnerReview WaitingFor = "owner_review"
	ForBudget      WaitingFor = "budget"
	ForRateLimit   WaitingFor = "rate_limit"
	ForChecks      WaitingFor = "checks"
)

// A Grant is what a run may do, fixed when it is requested: later changes of process and project apply to later runs.
type Grant struct {
	Process     string   `json:"process"`     // Process.Hash of the rules that it was requested under
	Write       []string `json:"write"`       // globs of paths that its pull request may change
	HostedTools []string `json:"hostedTools"` // that OpenAI may run for it, by type
	// Branch is where it works; "" = a run of the release before, which works on Branch of its issue.
	Branch string `json:"branch,omitempty"`
	// From are branches of open pull requests at which it may begin if what it works from lies there, the likeliest first.
	From []string `json:"from,omitempty"`
	// Needs are the artefacts without which it does not begin, as far as they are files.
	Needs []string `json:"needs,omitempty"`
	// GoesOn says that stages of the issue follow, so that merging the run's pull request does not close it.
	GoesOn bool `json:"goesOn,omitempty"`
	// Tools are those of package tool that its agent has, by name, and Free those of them that need nobody's yes. nil:
	// the release before has requested it.
	Tools []string `json:"tools"`
	Free  []string `json:"free,omitempty"`
	// Fallback is the model that may stand in for the run's; "" = none may.
	Fallback string `json:"fallback,omitempty"`
}

// Review is what a revise answers, as of Before: whoever asked for the run has seen no later text. Without an ID it is
// the newest one then, for the agent to find.
type Review struct {
	ID     int64     `json:"id"`
	Author string    `json:"author"`
	Body   string    `json:"body"`
	Before time.Time `json:"before,omitzero"`
}

// branch is where the run works.
func (r *Run) branch(issue int) string {
	if r.Grant == nil || r.Grant.Branch == "" {
		return Branch(issue)
	}
	return r.Grant.Branch
}

func (g *Grant) from() []string {
	if g == nil {
		return nil
	}
	return g.From
}

// Ref names the item's run in events.
func (i *Item) Ref() events.RunRef {
	return events.RunRef{RunID: i.Run.ID, Project: i.Run.Project, Repository: i.Repository, RepositoryID: i.RepositoryID, Issue: i.Issue}
}

// Rest is for whoever loads an item: a turn that is over is not its newest run, unless the input is about that turn.
func (i *Item) Rest(n Needs) {
	if n.Run == "" && i.Run != nil && i.Run.Kind == events.KindDiscussion && i.Run.State.Final() {
		i.Run, i.Worked = i.Worked, nil
	}
}

// stageRun is the newest run that works on a stage; nil = there is none.
func (i *Item) stageRun() *Run {
	if i.Run != nil && i.Run.Kind == events.KindDiscussion {
		return i.Worked
	}
	return i.Run
}

// working reports whether a run works on a stage. A turn of a discussion makes way for one.
func (i *Item) working() bool { return i.active() && i.Run.Kind != events.KindDiscussion }

// RepositoryRef names the item's repository in events about its runs.
func (i *Item) RepositoryRef() events.RunRef {
	return events.RunRef{Repository: i.Repository, RepositoryID: i.RepositoryID}
}

func (i *Item) active() bool { return i.Run != nil && i.Run.State.Active() }
