package events

// GitHubReviewRequested asks for the review that a run has written to be left on its pull request: once for the run,
// and of the kind that neither approves nor requests changes.
type GitHubReviewRequested struct {
	RunRef
	PullRequest int    `json:"pullRequest"`
	Branch      string `json:"branch"` // that PullRequest must be of
	Head        string `json:"head"`   // the commit that was read
	Role        string `json:"role"`
	Model       string `json:"model,omitempty"`
	Text        string `json:"text"` // the agent's last message: a summary, and its findings in the form of the prompt
}

// GitHubReviewed says that the review is there, or why it can't be.
type GitHubReviewed struct {
	RunRef
	PullRequest int    `json:"pullRequest"`
	Head        string `json:"head"` // as asked
	ReviewID    int64  `json:"reviewId,omitempty"`
	URL         string `json:"url,omitempty"`
	OnLines     int    `json:"onLines"`   // findings that stand on their line of the diff
	InSummary   int    `json:"inSummary"` // the other findings

	// Reason is why it is not there: github_gone, github_refused, not_our_pull_request, malformed. "" = it is.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"` // the same for a person
}

// The types, one constant string per payload.
func (GitHubReviewRequested) EventType() string { return Prefix + "github.review.requested" }
func (GitHubReviewed) EventType() string        { return Prefix + "github.reviewed" }
