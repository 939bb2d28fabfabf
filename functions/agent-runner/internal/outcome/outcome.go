// Package outcome is how a pod ends: the exit code that tells the Job what to do, and a failure that is reported.
package outcome

// Exit codes, see shared/agentpod: the Job retries all but Done and Never.
const (
	Done       = 0
	Again      = 1
	Never      = 42
	Terminated = 143
)

// Failure is a result for the report: the run failed, and a new pod would fail as well.
type Failure struct {
	Reason  string // see package reason
	Summary string // for people
}

func (f *Failure) Error() string { return f.Reason + ": " + f.Summary }
