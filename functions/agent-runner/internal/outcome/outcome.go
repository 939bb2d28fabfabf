// Package outcome is how a pod ends: the exit code that tells the Job what to do, and the reason of a run that failed.
package outcome

// Exit codes, see shared/agentpod: the Job retries all but Done and Never.
const (
	Done       = 0
	Again      = 1
	Never      = 42
	Terminated = 143
)

// Reasons of a failed run, for the report.
const (
	WriteScope   = "write_scope"          // files outside of the write scope were changed
	NoChanges    = "no_changes"           // the agent changed nothing
	NoPull       = "pull_request_missing" // a revise without an open pull request
	NoBase       = "base_branch_missing"
	Engine       = "engine"            // the engine could not finish
	OOM          = "oom_killed"        // the engine was killed for its memory; agentpod says the same of a whole pod
	PushConflict = "push_conflict"     // somebody else changed the branch at the same place
	PushRejected = "push_rejected"     // branch protection, missing permission on workflows, …
	Repository   = "repository_access" // clone or fetch refused
	Pull         = "pull_request"      // GitHub refused the pull request
	Assignment   = "assignment"        // the assignment cannot be carried out
)

// Failure is a result for the report: the run failed, and a new pod would fail as well.
type Failure struct {
	Reason  string
	Summary string // for people
}

func (f *Failure) Error() string { return f.Reason + ": " + f.Summary }
