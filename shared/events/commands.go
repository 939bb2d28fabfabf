package events

import "time"

// A Command is what a person may ask the platform to do about an issue or its run, other than on GitHub.
type Command string

// The commands.
const (
	CommandStart   Command = "start"   // what a label starts
	CommandCancel  Command = "cancel"  // ends a run that is not over
	CommandRelease Command = "release" // starts what a storm holds on the issue
	CommandDrop    Command = "drop"    // forgets it
)

// CommandRequested says that a person gave a command in the console. Their right to it is read when it is decided.
type CommandRequested struct {
	Repository   string        `json:"repository"`             // "acme/demo"
	RepositoryID int64         `json:"repositoryId,omitempty"` // GitHub's number; 0 = not known
	Issue        int           `json:"issue"`
	RunID        string        `json:"runId,omitempty"` // of the run to cancel
	Command      Command       `json:"command"`
	Label        string        `json:"label,omitempty"` // that would start the same
	Text         string        `json:"text,omitempty"`  // what a revise is to change, in the person's words; "" = what reviews say
	Seen         string        `json:"seen,omitempty"`  // digest of the issue's text as the person saw it
	By           GitHubAccount `json:"by"`
	At           time.Time     `json:"at"` // UTC
}

// EventType is dev.codexk8s.command.requested.
func (CommandRequested) EventType() string { return Prefix + "command.requested" }

// EventSubject is the work item.
func (c CommandRequested) EventSubject() string { return WorkItem(c.Repository, c.Issue) }

// Correlation is the work item.
func (c CommandRequested) Correlation() string { return WorkItem(c.Repository, c.Issue) }
