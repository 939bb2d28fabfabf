// Package github calls GitHub's API. For what GitHub sends us see shared/webhook.
//
// Clients hands out go-github clients, as a GitHub App (one installation token per installation, fetched and renewed on
// use; App is the App itself) or with a plain token, and tokens limited to one repository for agents. ClassifyError
// turns every failure into one of three: *RateLimited with the time to continue, *Refused for good, or any other error,
// which is worth another try. What may be the token's fault is tried with a new token first (installation); what needs
// no repair is Moot.
package github
