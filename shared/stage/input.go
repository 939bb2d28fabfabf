package stage

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
)

// An Input is something that happened, in the form that a decision takes. Hear makes it from an event. All kinds are in
// this file; no other package can add one.
type Input interface {
	// Needs says what must be loaded for the decision. key and issue name the work item: the key of its repository,
	// which outlives a rename, and the issue's number.
	Needs(key string, issue int) Needs
	decide(d *decision)
}

// Needs is what a decision takes in addition to the work item and its project.
type Needs struct {
	Run    string // id of the run that the input is about; "" = the newest
	Report bool   // what that run's agent has reported, for Item.Report
	Asked  bool   // what that run's agent has asked people, for Item.Asked
	Sender Person // whose role in the project counts; zero where nobody did it
	Intent string // for Item.IntentKnown; "" = none

	Artefacts bool // for Item.Artefacts
	Said      bool // for Item.Said
	Lately    bool // for Item.Lately, and until the item is saved nobody else asks for anything in the repository
	Held      bool // for Lately.Held
}

// Person is who caused an event on GitHub.
type Person struct {
	Login string
	ID    int64 // GitHub's number of the account; 0 = not given
	Bot   bool
}

// Issue is what a GitHub event says about the issue itself.
type Issue struct {
	Title, Body, URL     string
	BaseBranch, CloneURL string
	Labels               []string
	Closed               bool
	UpdatedAt            time.Time // zero = the event lost it
}

// PullRequest is what a GitHub event says about a pull request from the item's branch.
type PullRequest struct {
	Number        int
	Branch        string // "" = it is not one of ours
	URL           string
	HeadSHA, Base string
	State         string // open, closed; "" = the event lost it
	Merged        bool
	Draft         *bool // nil = the event does not say
	Labels        []string
	UpdatedAt     time.Time // zero = the event lost it
}

func (p PullRequest) closed() bool { return p.Merged || p.State == "closed" }

// Labeled says that a person put a label on the issue, or on its pull request.
type Labeled struct {
	Issue    Issue        // zero when it is on the pull request
	Pull     *PullRequest // nil when it is on the issue
	Stray    bool         // on a pull request that is not from an agent's branch: the item is that pull request
	Label    string
	At       time.Time // zero = GitHub did not say
	Sender   Person
	Delivery string // id of the event
	Rewriter string // who else changed the issue's text since the label was set, so that its text then is lost; "" = nobody
}

// Needs implements Input.
func (in Labeled) Needs(key string, issue int) Needs {
	return Needs{Sender: in.Sender, Intent: in.intent(key, issue), Artefacts: true, Said: true, Lately: !in.Sender.Bot}
}

func (in Labeled) decide(d *decision) { d.labeled(in) }

func (in Labeled) intent(key string, issue int) string {
	if in.Pull != nil {
		issue = in.Pull.Number
	}
	return LabelIntent(key, issue, in.Label, in.At, in.Delivery)
}

// Edited says that the issue changed in another way: opened, closed, edited, unlabelled.
type Edited struct {
	Issue  Issue
	Action string
	Label  string // that was removed; "" in other actions
	Sender Person
}

// Needs implements Input.
func (in Edited) Needs(string, int) Needs {
	letsGo := in.Action == "unlabeled" && !in.Sender.Bot
	return Needs{Sender: in.Sender, Artefacts: letsGo, Said: letsGo, Held: letsGo}
}
func (in Edited) decide(d *decision) { d.edited(in) }

// Reviewed says that a person reviewed the item's pull request, or that a review was dismissed.
type Reviewed struct {
	Review
	State     string // approved, changes_requested, commented, dismissed
	CommitSHA string // what was reviewed; "" = GitHub did not say
	At        time.Time
	Insider   bool // GitHub counts the author among the repository's people
	Pull      PullRequest
	Sender    Person
}

// Needs implements Input.
func (in Reviewed) Needs(key string, issue int) Needs {
	return Needs{Sender: in.Sender, Intent: reviewIntent(key, issue, in.ID), Artefacts: true, Said: true, Lately: in.State == "changes_requested"}
}
func (in Reviewed) decide(d *decision) { d.reviewed(in) }

// ReviewEdited says that a person changed the text of a review: its author, or somebody who may write to the
// repository.
type ReviewEdited struct {
	Review int64
	Body   string // from now on
	Pull   PullRequest
	Sender Person
}

// Needs implements Input.
func (in ReviewEdited) Needs(string, int) Needs { return Needs{Sender: in.Sender} }
func (in ReviewEdited) decide(d *decision)      { d.reviewEdited(in) }

// PullRequestChanged says that a pull request of the item's branch changed: opened,
// closed, reopened, synchronize, edited, converted_to_draft, …
type PullRequestChanged struct {
	Pull   PullRequest
	Action string
	Label  string // that was removed; "" in other actions
	Sender Person
}

// Needs implements Input.
func (in PullRequestChanged) Needs(string, int) Needs { return Needs{Sender: in.Sender} }
func (in PullRequestChanged) decide(d *decision)      { d.pullRequestChanged(in) }

// Checked says that a check has come to an end at a commit of an agent's branch.
type Checked struct {
	SHA  string
	Name string // "" = a whole suite of checks
}

// Needs implements Input.
func (in Checked) Needs(string, int) Needs { return Needs{} }
func (in Checked) decide(d *decision)      { d.checked(in) }

// Events about a run.
type (
	// JobStarted says that the run's Job exists.
	JobStarted struct{ events.AgentStarted }
	// JobDelayed says why the run's Job does not exist yet.
	JobDelayed struct{ events.AgentDelayed }
	// JobFailed says that the run's Job could not start, or ended badly.
	JobFailed struct{ events.AgentFailed }
	// JobEnded says that the run's Job completed. The agent reports or asks before it exits, so its report or question,
	// if there is one, is already stored.
	JobEnded struct{ events.AgentFinished }
	// Reported is the agent's own result.
	Reported struct{ events.AgentReported }
	// LookedUp is what a repository holds of what was asked for.
	LookedUp struct{ events.GitHubLookedUp }
	// ReviewLeft says that the review that the run has written is on its pull request, or why it is not.
	ReviewLeft struct{ events.GitHubReviewed }
	// InQueue says that the run has come nearer to a place in its project, or waits for one now.
	InQueue struct{ events.RunQueued }
	// DeadlineDue says that the run should be over by now.
	DeadlineDue struct{ events.RunDeadline }
	// CheckDue says that the run should have shown progress by now.
	CheckDue struct{ events.RunCheck }
	// Asked says that the run's agent asks people for a decision or an answer.
	Asked struct{ events.ApprovalRequested }
	// Decided says how that ended.
	Decided struct{ events.ApprovalDecided }
	// Limited says that the provider of the run's model does not answer before some time.
	Limited struct{ events.LLMLimited }
	// Warned says that the run has brought one of its budgets to a percent of which people are told.
	Warned struct{ events.BudgetWarned }
	// Executed says what came of what the platform did for the run's agent.
	Executed struct{ events.ToolExecuted }
)

// Needs implements Input.
func (in JobStarted) Needs(string, int) Needs { return Needs{Run: in.RunID} }
func (in JobDelayed) Needs(string, int) Needs { return Needs{Run: in.RunID} }
func (in JobFailed) Needs(string, int) Needs  { return Needs{Run: in.RunID, Asked: true} }
func (in JobEnded) Needs(string, int) Needs {
	return Needs{Run: in.RunID, Asked: true, Report: true, Artefacts: true}
}
func (in Reported) Needs(string, int) Needs    { return Needs{Run: in.RunID, Artefacts: true} }
func (in LookedUp) Needs(string, int) Needs    { return Needs{Run: in.RunID, Artefacts: in.Head != ""} }
func (in ReviewLeft) Needs(string, int) Needs  { return Needs{Run: in.RunID} }
func (in InQueue) Needs(string, int) Needs     { return Needs{Run: in.RunID} }
func (in DeadlineDue) Needs(string, int) Needs { return Needs{Run: in.RunID, Asked: true} }
func (in CheckDue) Needs(string, int) Needs    { return Needs{Run: in.RunID, Asked: true} }
func (in Asked) Needs(string, int) Needs       { return Needs{Run: in.RunID} }
func (in Decided) Needs(string, int) Needs     { return Needs{Run: in.RunID, Asked: true} }

func (in Warned) Needs(string, int) Needs { return Needs{Run: in.RunID} }
func (in Warned) decide(d *decision)      { d.warned(in.BudgetWarned) }

func (in Limited) Needs(string, int) Needs { return Needs{Run: in.RunID} }
func (in Limited) decide(d *decision)      { d.limited(in.LLMLimited) }

func (in Executed) Needs(string, int) Needs { return Needs{Run: in.RunID} }

func (in JobStarted) decide(d *decision)  { d.started(in.AgentStarted) }
func (in JobDelayed) decide(d *decision)  { d.delayed(in.AgentDelayed) }
func (in JobFailed) decide(d *decision)   { d.jobFailed(in.AgentFailed) }
func (in JobEnded) decide(d *decision)    { d.jobEnded(in.AgentFinished) }
func (in Reported) decide(d *decision)    { d.reported(in.AgentReported) }
func (in LookedUp) decide(d *decision)    { d.lookedUp(in.GitHubLookedUp) }
func (in ReviewLeft) decide(d *decision)  { d.reviewLeft(in.GitHubReviewed) }
func (in InQueue) decide(d *decision)     { d.queued() }
func (in DeadlineDue) decide(d *decision) { d.deadline() }
func (in CheckDue) decide(d *decision)    { d.check(in.RunCheck) }
func (in Asked) decide(d *decision)       { d.asked(in.ApprovalRequested) }
func (in Decided) decide(d *decision)     { d.decided(in.ApprovalDecided) }
func (in Executed) decide(d *decision)    { d.executed(in.ToolExecuted) }

// Wanted says that the run is over after which a label was to take effect that its agent wanted and a person approved.
type Wanted struct{ events.LabelApproved }

// Needs implements Input. The run is the item's newest: another one may have come meanwhile.
func (in Wanted) Needs(string, int) Needs {
	return Needs{Sender: Person{Login: in.By.Login, ID: in.By.ID}, Intent: wantedIntent(in.LabelApproved), Artefacts: true, Said: true}
}
func (in Wanted) decide(d *decision) { d.wanted(in.LabelApproved) }

// Replaced says that a newer request takes the place for which the run waits.
type Replaced struct{ events.HoldRequested }

// Needs implements Input.
func (in Replaced) Needs(string, int) Needs { return Needs{Run: in.RunID, Lately: true} }
func (in Replaced) decide(d *decision)      { d.replaced() }

// StormDue says that the item's comment is to name what else is held.
type StormDue struct{ events.StormDue }

// Needs implements Input.
func (in StormDue) Needs(string, int) Needs { return Needs{Lately: true, Held: true} }
func (in StormDue) decide(d *decision)      { d.stormDue(in.StormDue) }

// LabelIntent is the meaning of a label being set: which, where, and when to the second. The same act delivered by two
// hooks has one intent. repository is the key, which outlives a rename.
func LabelIntent(repository string, issue int, label string, at time.Time, delivery string) string {
	text := make([]byte, 0, 128)
	text = append(text, "label "...)
	text = append(text, strings.ToLower(repository)...)
	text = append(text, '#')
	text = strconv.AppendInt(text, int64(issue), 10)
	text = append(text, ' ')
	text = append(text, fold(label)...)
	text = append(text, ' ')
	if at.IsZero() {
		return string(append(text, delivery...))
	}
	return string(at.UTC().AppendFormat(text, time.RFC3339))
}

// reviewIntent is the meaning of a review: its id on GitHub.
func reviewIntent(repository string, issue int, review int64) string {
	return fmt.Sprintf("review %s %d", events.WorkItem(repository, issue), review)
}
