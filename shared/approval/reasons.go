package approval

// Why something other than a vote changed nothing. Only the audit says so.
const (
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
