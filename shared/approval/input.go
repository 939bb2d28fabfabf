package approval

import "codexk8s.dev/shared/events"

// An Input is something that happened to a request, with what a decision must know. All kinds are in this file; no
// other package can add one.
type Input interface{ decide(d *decision) error }

type (
	// Opened says that something is asked. Terms come from For; nil if no rule fits.
	Opened struct {
		Request Request
		Terms   *Terms
		Over    bool // the run is over already
	}

	// Voted says that somebody clicked, wrote or called.
	Voted struct {
		Vote Vote
		// Who has the account that voted; nil = it is linked to nobody.
		Who *Person
		// Elsewhere says that the click came from a chat in which the request was never shown.
		Elsewhere bool
		// Members are all who have a role in the project.
		Members []Person
	}

	// Unsaid says that the author has edited or deleted a comment: what it said before about the request counts no more.
	Unsaid struct {
		Vote    Vote // who and which comment: CommentVote, DeletedComment
		Who     *Person
		Members []Person
	}

	// Due says that a time has come.
	Due struct{ events.ApprovalDue }

	// Delivered says that a place shows the message.
	Delivered struct{ events.ApprovalDelivered }

	// Undeliverable says that a place can't show it.
	Undeliverable struct{ events.ApprovalUndeliverable }

	// RunOver says that the run that asked is over: nobody waits for an answer.
	RunOver struct{ events.RunFinished }

	// Replaced says that another request asks the same about another commit: see Supersedes.
	Replaced struct{ By Request }
)
