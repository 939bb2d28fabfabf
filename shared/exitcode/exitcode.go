// Package exitcode has the exit codes of agent-runner and their meaning for the Job: it retries all but Done and Never.
//
// The package is pure.
package exitcode

// The exit codes.
const (
	Done       = 0   // the run's result is reported, or the platform asked to stop
	Again      = 1   // a new pod may succeed
	Never      = 42  // no new pod would: the Job fails at once
	Terminated = 143 // ended by SIGTERM, with the session saved
)
