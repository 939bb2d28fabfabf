package approval

// Why a vote does not count. The words for the person who cast it are in shared/approval/words, under the same name. A
// vote that comes after the end has the reason "request_" and the state.
const (
	NotLinked      = "not_linked"      // the account is linked to nobody
	AgentVote      = "agent_vote"      // a program's
	NotPermitted   = "not_permitted"   // the terms don't name the person
	SelfApproval   = "self_approval"   // of what their own run asks
	PrincipalVoted = "principal_voted" // a deputy's, after the person they stand in for has voted
	WrongChat      = "wrong_chat"      // from a place where the request was never shown
	AnotherDigest  = "another_digest"  // the button is another request's
	ChoiceUnfit    = "choice_unfit"    // it does not answer what is asked
	AlreadyVoted   = "already_voted"   // the same person's same choice
	OlderVote      = "older_vote"      // the person has chosen otherwise since, in the same channel
)

// Why something other than a vote changed nothing. Only the audit says so.
const (
	VoteRepeated  = "vote_repeated"  // the channel reports the same click again
	RequestKnown  = "request_known"  // it was asked before
	OlderTimer    = "older_timer"    // another one was set since
	OlderDelivery = "older_delivery" // the place shows a newer version
	RightLost     = "right_lost"     // a vote that counted, by a person who may no longer decide
)

// Why a request ended without a person's decision.
const (
	NoRule        = "no_rule"
	NeedsNobody   = "needs_nobody" // by a rule that came after it was asked
	NobodyDecided = "nobody_decided"
	RunIsOver     = "run_is_over"
	CommitMoved   = "commit_moved" // the same is asked about another commit
)
