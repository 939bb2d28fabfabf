// Package webhook reads what GitHub sends us.
//
// A delivery is genuine if Secrets.Verify accepts its raw bytes. Classify reads the envelope of its CloudEvent in one
// pass over the payload, which is passed on byte for byte (Delivery.CloudEvent, the same for a webhook and for a
// delivery taken from GitHub's list). IssueFrom, PullRequestFrom, ReviewFrom and CommentFrom turn a payload into what a
// decision needs; they also read the smaller payloads of Knative's GitHubSource. All of it is pure.
package webhook
