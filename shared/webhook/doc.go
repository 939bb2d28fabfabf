// Package webhook reads what GitHub sends us.
//
// A delivery is genuine when Secrets.Verify says so of its raw bytes. Classify reads the envelope of its CloudEvent in
// one pass over the payload, which itself travels on byte for byte (Delivery.CloudEvent, the same for a webhook and for
// a delivery taken from GitHub's list). IssueFrom, PullRequestFrom, ReviewFrom and CommentFrom turn a payload into what
// a decision needs, and do so as well with the thinner payloads of Knative's GitHubSource. All of it is pure.
package webhook
