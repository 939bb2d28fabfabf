// Package agentapi is the Session API: the wire between agent-runner in an untrusted pod and agent-gateway.
//
// session.proto is the contract and its comments are the documentation; the Go code next to it is generated (`make
// generate`) and committed. The service is spoken with Connect, so one h2c port serves gRPC, Connect and plain
// HTTP with JSON, so a shell script in a pod can use it too.
//
// Rules that shaped it:
//   - the run token names the run; no message carries a run id that a caller could get wrong or forge
//   - every call is repeatable, because pods and gateways are killed at any moment: logs are numbered by the caller,
//     snapshots are compare-and-swap, the first report counts
//   - times are Timestamps; sizes and limits are documented at the field
//   - the run token alone reads: a Git credential that may write is given to the pod that has claimed the run, by the
//     secret in [PodHeader]
package agentapi

// WaitsHeader is set, to the run's id, in the answer to a tool call at /mcp that makes the run wait for people: its pod
// is to save the session and end. The next pod's assignment has what was asked and how it ended.
const WaitsHeader = "Codexk8s-Run-Waits"

// PodHeader carries a secret that a pod generates when it begins. The first pod of a run claims the run, with
// GetAssignment and each Heartbeat. From then on GetGitCredential gives a credential that may write to callers with
// this secret, and one that may only read to others. Another pod can claim the run when the first has been silent for a
// while; until then it gets UNAVAILABLE. A pod sends the secret when it wants to write, which is after the agent's
// processes are gone.
const PodHeader = "Codexk8s-Pod"
