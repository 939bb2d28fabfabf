package approval

// Why a vote does not count. What the person who cast it is told stands in shared/approval/words, under the same name.
// A vote that comes after the end has the reason "request_" and the state.
const (
	NotLinked      = "not_linked"      // the account is linked to nobody
	AgentVote      = "agent_vote"      // a program's
	NotPermitted   = "not_permitted"   // the terms don't name the person
	SelfApproval   = "self_approval"   // of what their own run asks
	PrincipalVoted = "principal_voted" // a deputy's, after the person in whose place it would be
	WrongChat      = "wrong_chat"      // from where the request was never shown
	AnotherDigest  = "another_digest"  // the button is another request's
	ChoiceUnfit    = "choice_unfit"    // no answer to what is asked
	AlreadyVoted   = "already_voted"   // the same person's same choice
	OlderVote      = "older_vote"      // the person has clicked otherwise since, in the same channel
)

// Why something else than a vote changed nothing. Nobody but the audit is told.
const (
	VoteRepeated  = "vote_repeated"  // the channel tells of the same click again
	RequestKnown  = "request_known"  // it was asked before
	OlderTimer    = "older_timer"    // another one was set since
	OlderDelivery = "older_delivery" // the place shows a newer version
	RightLost     = "right_lost"     // a vote that counted, of a person who may not decide any more
)

// Why a request ended where no person decided.
const (
	NoRule        = "no_rule"
	NobodyDecided = "nobody_decided"
	RunIsOver     = "run_is_over"
	CommitMoved   = "commit_moved" // the same is asked of another commit
)
