// Package github is all that we know of GitHub's side of the wire.
//
// In: a webhook delivery is genuine when Secrets.Verify says so of its raw bytes.
// Classify reads the envelope of its CloudEvent in one pass over the payload,
// which itself travels on byte for byte (Delivery.CloudEvent, the same for a
// webhook and for a delivery taken from GitHub's list); IssueFrom, PullRequestFrom, ReviewFrom
// and CommentFrom turn a payload into what a decision needs, and do so as well
// with the thinner payloads of Knative's GitHubSource.
//
// Out: Clients hands out go-github clients, as a GitHub App (one installation
// token per installation, fetched and renewed on use; App is the App itself) or
// with a plain token, and
// tokens limited to one repository for agents. ClassifyError turns every failure
// into one of three: *RateLimited with the time to go on, *Refused for good, or any
// other error, which is worth trying again. A refusal that may be the token's fault
// is met with a new token first (installation), one that nobody can mend is Moot.
package github
