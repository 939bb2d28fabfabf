package events

import "time"

// RunRef names a run in every event about it.
type RunRef struct {
	RunID      string `json:"runId"`      // UUID
	Project    string `json:"project"`    // project id, a slug
	Repository string `json:"repository"` // "owner/name", as it was called then
	Issue      int    `json:"issue"`

	RepositoryID int64 `json:"repositoryId,omitempty"` // GitHub's number, which outlives the name; 0 = not known
}

// EventSubject is the run's id.
func (r RunRef) EventSubject() string { return r.RunID }

// Correlation is the run's work item.
func (r RunRef) Correlation() string { return WorkItem(r.Repository, r.Issue) }

// Kind is what a run does in its stage.
type Kind string

// The kinds of runs.
const (
	KindWork       Kind = "work"       // makes what the stage makes
	KindRevise     Kind = "revise"     // continues a pull request
	KindReview     Kind = "review"     // reads a pull request and writes nothing but its review
	KindDiscussion Kind = "discussion" // answers comments and writes nothing else: a turn
)

// Writes reports whether a run of the kind changes files, and so pushes.
func (k Kind) Writes() bool { return k == KindWork || k == KindRevise }

// RunRequested says that a person's intent was accepted as a run; it now waits for a place in its project.
type RunRequested struct {
	RunRef
	Stage       string `json:"stage"` // "dev"
	Kind        Kind   `json:"kind"`
	RequestedBy string `json:"requestedBy"` // GitHub login
}

// RunFinished says that a run reached a final state and left its place in the project.
type RunFinished struct {
	RunRef
	State  string `json:"state"` // succeeded, failed, cancelled, timed_out
	Reason string `json:"reason,omitempty"`
}

// RunQueued says that a run waits for a place in its project, or that it has come nearer to one.
type RunQueued struct{ RunRef }

// RunWaiting says that a run waits for people and has left its place in the project.
type RunWaiting struct {
	RunRef
	For string `json:"for"` // approval, question
}

// RunResumed says that a run has what it waited for, and waits for a place in its project again.
type RunResumed struct {
	RunRef
	// Extended is what people have added to budgets meanwhile.
	Extended []BudgetExtension `json:"extended,omitempty"`
}

// BudgetExtension is what people have added to a budget.
type BudgetExtension struct {
	Kind     string `json:"kind"`             // run, issue or project
	Name     string `json:"name"`             // the run's id, the issue's key, the project's id
	Period   string `json:"period,omitempty"` // as of budget.Bound: "2026-11-28" or "2026-11", in UTC; "" = ever
	Tokens   int64  `json:"tokens,omitempty"`
	MicroUSD int64  `json:"microusd,omitempty"` // millionths of a dollar
	WorkMS   int64  `json:"workMs,omitempty"`   // milliseconds that a Job is at work
	Runs     int64  `json:"runs,omitempty"`     // of an issue without a merged pull request
}

// BudgetWarned says that a run has brought one of its budgets to a percent of which people are to be told.
type BudgetWarned struct {
	RunRef
	Scope   string `json:"scope"` // of budget.Scope
	Percent int    `json:"percent"`
	Line    string `json:"line"` // for people: "80 % of the budget of this issue is used: $8.10 of $10.00"
}

// NoticeRequested asks to tell people in chats something that needs no answer, once in each.
type NoticeRequested struct {
	RunRef
	Key     string           `json:"key"`  // the same notice has the same key
	Text    string           `json:"text"` // plain, one line
	Targets []ApprovalTarget `json:"targets"`
}

// RunDeadline comes due when a run has used up its time.
type RunDeadline struct{ RunRef }

// RunCheck comes due when a run should have made progress: then the cluster is asked.
type RunCheck struct {
	RunRef
	Namespace string `json:"namespace"`
	Round     int    `json:"round"`             // how many checks came before
	Silent    bool   `json:"silent,omitempty"`  // the agent had been silent for too long by the check before
	Attempt   int    `json:"attempt,omitempty"` // of AgentRequested
}

// HoldRequested asks to hold the run if it still waits for its first place: a newer request in the repository takes
// that.
type HoldRequested struct{ RunRef }

// StormDue comes due when the comment about what a storm holds back is to be brought up to date.
type StormDue struct {
	Repository   string `json:"repository"`
	RepositoryID int64  `json:"repositoryId,omitempty"` // 0 = not known
	Issue        int    `json:"issue"`                  // that has the comment
	Look         int    `json:"look,omitempty"`         // how many came before
}

// EventSubject is the work item.
func (s StormDue) EventSubject() string { return WorkItem(s.Repository, s.Issue) }

// AgentRequested asks for the run's Job on Kubernetes. It holds everything that is needed.
type AgentRequested struct {
	RunRef
	Namespace string    `json:"namespace"`
	Stage     string    `json:"stage"`
	Role      string    `json:"role"`
	Engine    string    `json:"engine"`            // codex or builtin
	Deadline  time.Time `json:"deadline"`          // UTC; the Job ends no later, and so does the run token
	ExpiresAt time.Time `json:"expiresAt"`         // UTC; when the namespace may be removed
	CPU       string    `json:"cpu,omitempty"`     // Kubernetes quantity; "" = the role's default
	Memory    string    `json:"memory,omitempty"`  // Kubernetes quantity
	Runtime   string    `json:"runtime,omitempty"` // RuntimeClass, "gvisor"; "" = the cluster's default
	Sandbox   string    `json:"sandbox,omitempty"` // "agent-sandbox": its Sandbox makes the pod; "" = a Job does
	Attempt   int       `json:"attempt,omitempty"` // 0 for the first Job of the run
	// Services run next to the agent, for a full-env role.
	Services []Service `json:"services,omitempty"`
	// Kubernetes is what the run's account may do in the run's namespace: KubernetesRead, or nothing.
	Kubernetes string `json:"kubernetes,omitempty"`
}

// KubernetesRead lets an account look at the pods, logs, events and Services of its namespace.
const KubernetesRead = "read"

// AgentStopRequested asks for the run's Job to be stopped.
type AgentStopRequested struct {
	RunRef
	Namespace string `json:"namespace"`
	Attempt   int    `json:"attempt,omitempty"` // of the Job that is meant: a later one keeps running
	Reason    string `json:"reason"`
}

// AgentStarted says that the run's Job exists.
type AgentStarted struct {
	RunRef
	Namespace string `json:"namespace"`
	Job       string `json:"job"`
	Attempt   int    `json:"attempt,omitempty"` // of AgentRequested
}

// AgentDelayed says why the run's Job does not exist yet. It is created as soon as that is over.
type AgentDelayed struct {
	RunRef
	Namespace string `json:"namespace"`
	Attempt   int    `json:"attempt,omitempty"` // of AgentRequested
	Reason    string `json:"reason"`            // namespace_stuck
	Message   string `json:"message"`           // for a person
}

// AgentFinished says that the run's Job completed. The agent's own report is AgentReported.
type AgentFinished struct {
	RunRef
	Namespace string `json:"namespace"`
	Attempt   int    `json:"attempt,omitempty"`
}

// AgentFailed says that the run's Job could not start or ended badly.
type AgentFailed struct {
	RunRef
	Namespace string `json:"namespace,omitempty"`
	Attempt   int    `json:"attempt,omitempty"`
	Reason    string `json:"reason"`  // image_pull, oom_killed, deadline_exceeded, evicted, quota_exceeded, isolation_broken, …
	Message   string `json:"message"` // for a person, with what to do
}

// AgentReported is the agent's result of its run.
type AgentReported struct {
	RunRef
	Attempt        int      `json:"attempt,omitempty"` // of the Job that reports, as in AgentRequested
	Outcome        string   `json:"outcome"`           // succeeded or failed
	Reason         string   `json:"reason,omitempty"`  // write_scope, no_changes, …
	Summary        string   `json:"summary,omitempty"`
	Branch         string   `json:"branch,omitempty"`
	HeadSHA        string   `json:"headSha,omitempty"`
	PullRequest    int      `json:"pullRequest,omitempty"`
	PullRequestURL string   `json:"pullRequestUrl,omitempty"`
	ThreadID       string   `json:"threadId,omitempty"`
	ChangedFiles   []string `json:"changedFiles,omitempty"`
	Incomplete     bool     `json:"incomplete,omitempty"` // the stage's files are not in order, and the agent was told so
}

// EnvironmentExpired comes due when a run's namespace may be removed.
type EnvironmentExpired struct {
	RunRef
	Namespace string `json:"namespace"`
}

// EnvironmentRemoved says that a run's namespace is gone.
type EnvironmentRemoved struct {
	RunRef
	Namespace string `json:"namespace"`
}

// GitHubChangeRequested is what GitHub is to show of a work item as of one version of it. An empty part is left alone;
// a part never goes back to an older version.
//
// Earlier releases sent only what had changed, in the same fields; read as a wanted state it means the same.
type GitHubChangeRequested struct {
	Repository   string `json:"repository"`
	RepositoryID int64  `json:"repositoryId,omitempty"` // as in RunRef
	Issue        int    `json:"issue"`
	PullRequest  int    `json:"pullRequest,omitempty"`
	RunID        string `json:"runId,omitempty"`

	// Which of our labels the issue and the pull request are to have, and which not. Other labels are left alone.
	On      []string `json:"addLabels,omitempty"`
	Off     []string `json:"removeLabels,omitempty"`
	PullOn  []string `json:"addLabelsToPr,omitempty"`
	PullOff []string `json:"removeLabelsOffPr,omitempty"`
	// PullBase is the branch that the pull request is to be merged into; "" = the one that it has.
	PullBase string `json:"pullBase,omitempty"`

	// Comment is the whole body of the one status comment, in GitHub's Markdown.
	Comment string `json:"comment,omitempty"`
	// Version grows with every change of what the work item shows; 0 = unversioned.
	Version int64 `json:"commentVersion,omitempty"`

	Status *CommitStatus `json:"status,omitempty"`

	// Note is a comment of its own, besides the status comment; nil = none is wanted.
	Note *GitHubNote `json:"note,omitempty"`

	// Base is the branch whose present commit the run, which was just requested, is based on; "" = don't look it up. Where
	// Branch, on which the run works, is there already, it goes on from that, and has no such commit.
	Base   string `json:"base,omitempty"`
	Branch string `json:"branch,omitempty"`
}

// GitHubNote is a comment that is written once and then edited.
type GitHubNote struct {
	Key     string `json:"key"`          // which one of the work item's, "approval/<id>"
	On      int    `json:"on,omitempty"` // the pull request on which it stands; 0 = it stands on the issue
	Text    string `json:"text"`         // its whole body, in GitHub's Markdown
	Version int64  `json:"version"`      // from 1 on; an older one never replaces a newer one
	// Delivered is emitted once the comment is there, and ApprovalUndeliverable in its place if GitHub refuses it; nil =
	// nobody has to know.
	Delivered *ApprovalDelivered `json:"delivered,omitempty"`
}

// CommitStatus is GitHub's commit status of the agent's work.
// https://docs.github.com/en/rest/commits/statuses
type CommitStatus struct {
	SHA         string `json:"sha"`
	State       string `json:"state"`   // pending, success, failure, error
	Context     string `json:"context"` // StatusPrefix and the stage
	Description string `json:"description"`
}

// StatusPrefix begins the names of our commit statuses. They wait for the run, so no run waits for them.
const StatusPrefix = "codexk8s/"

// EventSubject is the work item.
func (c GitHubChangeRequested) EventSubject() string { return WorkItem(c.Repository, c.Issue) }

// Correlation is the work item.
func (c GitHubChangeRequested) Correlation() string { return c.EventSubject() }

// GitHubChanged says that a requested change is in place.
type GitHubChanged struct {
	Repository string `json:"repository"`
	Issue      int    `json:"issue"`
	RunID      string `json:"runId,omitempty"`
	CommentID  int64  `json:"commentId,omitempty"`
}

// EventSubject is the work item.
func (c GitHubChanged) EventSubject() string { return WorkItem(c.Repository, c.Issue) }

// Correlation is the work item.
func (c GitHubChanged) Correlation() string { return c.EventSubject() }

// LabelObserved says that an issue carries a trigger label whose webhook never
// came: timekeeper found it by comparing GitHub's labels with what was processed.
type LabelObserved struct {
	Repository   string    `json:"repository"`
	RepositoryID int64     `json:"repositoryId,omitempty"` // as in RunRef
	Issue        int       `json:"issue"`
	Title        string    `json:"title"`
	Body         string    `json:"body,omitempty"`
	URL          string    `json:"url,omitempty"`
	Label        string    `json:"label"`
	Labels       []string  `json:"labels"`
	Sender       string    `json:"sender"`             // who set the label
	SenderID     int64     `json:"senderId,omitempty"` // GitHub's number of the account; 0 = not known
	SenderType   string    `json:"senderType"`         // User or Bot
	LabeledAt    time.Time `json:"labeledAt"`
	UpdatedAt    time.Time `json:"updatedAt,omitzero"` // of the issue, as it is described here
	Rewriter     string    `json:"rewriter,omitempty"` // who else changed the issue's text since LabeledAt; "" = nobody
	DefaultBase  string    `json:"defaultBase,omitempty"`
	CloneURL     string    `json:"cloneUrl,omitempty"` // https
}

// EventSubject is the work item.
func (l LabelObserved) EventSubject() string { return WorkItem(l.Repository, l.Issue) }

// Correlation is the work item.
func (l LabelObserved) Correlation() string { return l.EventSubject() }

// LLMRequested asks for one model answer outside an agent pod. Nothing emits it yet.
type LLMRequested struct {
	RequestID string       `json:"requestId"`
	Model     string       `json:"model"`
	Messages  []LLMMessage `json:"messages"`
	MaxTokens int          `json:"maxTokens,omitempty"`
}

// LLMMessage is one message of a chat: role is system, user or assistant.
type LLMMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// EventSubject is the request's id.
func (l LLMRequested) EventSubject() string { return l.RequestID }

// LLMAnswered is a model's answer.
type LLMAnswered struct {
	RequestID    string `json:"requestId"`
	Model        string `json:"model"`
	Content      string `json:"content"`
	InputTokens  int64  `json:"inputTokens"`
	OutputTokens int64  `json:"outputTokens"`
}

// EventSubject is the request's id.
func (l LLMAnswered) EventSubject() string { return l.RequestID }

// LLMLimited says that the provider of a run's model does not answer before some time: a rate limit, a quota that is
// used up, an outage. The run waits for it without a pod.
type LLMLimited struct {
	// Fallback is the model that answers the run meanwhile; "" = the run waits.
	Fallback string `json:"fallback,omitempty"`
	RunRef
	Attempt int       `json:"attempt,omitempty"` // of AgentRequested
	Model   string    `json:"model"`
	Until   time.Time `json:"until"`   // UTC
	Reason  string    `json:"reason"`  // rate_limited, quota_exhausted, outage
	Message string    `json:"message"` // the provider's words
}

// LLMFailed says that a model request failed for good.
type LLMFailed struct {
	RequestID string `json:"requestId"`
	Reason    string `json:"reason"` // refused, quota_exhausted, …
	Message   string `json:"message"`
}

// EventSubject is the request's id.
func (l LLMFailed) EventSubject() string { return l.RequestID }

// The types, one constant string per payload.
func (RunRequested) EventType() string          { return Prefix + "run.requested" }
func (RunQueued) EventType() string             { return Prefix + "run.queued" }
func (RunFinished) EventType() string           { return Prefix + "run.finished" }
func (RunWaiting) EventType() string            { return Prefix + "run.waiting" }
func (RunResumed) EventType() string            { return Prefix + "run.resumed" }
func (RunDeadline) EventType() string           { return Prefix + "run.deadline" }
func (RunCheck) EventType() string              { return Prefix + "run.check" }
func (HoldRequested) EventType() string         { return Prefix + "hold.requested" }
func (StormDue) EventType() string              { return Prefix + "storm.due" }
func (AgentRequested) EventType() string        { return Prefix + "agent.requested" }
func (AgentStopRequested) EventType() string    { return Prefix + "agent.stop.requested" }
func (AgentStarted) EventType() string          { return Prefix + "agent.started" }
func (AgentDelayed) EventType() string          { return Prefix + "agent.delayed" }
func (AgentFinished) EventType() string         { return Prefix + "agent.finished" }
func (AgentFailed) EventType() string           { return Prefix + "agent.failed" }
func (AgentReported) EventType() string         { return Prefix + "agent.reported" }
func (EnvironmentExpired) EventType() string    { return Prefix + "environment.expired" }
func (EnvironmentRemoved) EventType() string    { return Prefix + "environment.removed" }
func (GitHubChangeRequested) EventType() string { return Prefix + "github.change.requested" }
func (GitHubChanged) EventType() string         { return Prefix + "github.changed" }
func (LabelObserved) EventType() string         { return Prefix + "label.observed" }
func (LLMRequested) EventType() string          { return Prefix + "llm.requested" }
func (LLMAnswered) EventType() string           { return Prefix + "llm.answered" }
func (LLMLimited) EventType() string            { return Prefix + "llm.limited" }
func (BudgetWarned) EventType() string          { return Prefix + "budget.warned" }
func (NoticeRequested) EventType() string       { return Prefix + "notice.requested" }
func (LLMFailed) EventType() string             { return Prefix + "llm.failed" }
