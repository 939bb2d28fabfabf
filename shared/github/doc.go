// Package github calls GitHub's API. What GitHub sends to us is shared/webhook's.
//
// Clients hands out go-github clients, as a GitHub App (one installation token per installation, fetched and renewed on
// use; App is the App itself) or with a plain token, and tokens limited to one repository for agents. ClassifyError
// turns every failure into one of three: *RateLimited with the time to go on, *Refused for good, or any other error,
// which is worth trying again. A refusal that may be the token's fault is met with a new token first (installation),
// one that nobody can mend is Moot.
package github
