// Package agentapi is the Session API: the wire between agent-runner in an untrusted pod and agent-gateway.
//
// session.proto is the contract and its comments are the documentation; the Go code beside it is generated (`make
// generate`) and committed. The service is spoken with Connect, so one h2c port serves gRPC, Connect and plain
// HTTP with JSON, which is what lets a shell script in a pod talk to us too.
//
// Rules that shaped it:
//   - the run token names the run; no message carries a run id that a caller could get wrong or forge
//   - every call is repeatable, because pods and gateways are killed at any moment: logs are numbered by the caller,
//     snapshots are compare-and-swap, the first report counts
//   - times are Timestamps; sizes and limits stand at the field
//   - the run token alone reads: a Git credential that may write is given to the pod that has claimed the run, by the
//     secret in [PodHeader]
package agentapi

// WaitsHeader is set, to the run's id, in the answer to a tool call at /mcp by which the run waits for people: its pod
// is to save the session and to end. What it asked, and what has become of that, is in the assignment of the next one.
const WaitsHeader = "Codexk8s-Run-Waits"

// PodHeader carries a secret that a pod makes for itself when it begins. The first one of a run claims it, with
// GetAssignment and each Heartbeat, and from then on GetGitCredential gives a credential that may write to who sends
// this secret, and one that may only read to who does not. Another pod can claim the run when the first has not been
// heard of for a while; until then it is told UNAVAILABLE. A pod sends the secret when it wants to write, which is
// after the agent's processes are gone.
const PodHeader = "Codexk8s-Pod"
