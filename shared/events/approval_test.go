package events

import "encoding/json"

// approvals are the examples of what is asked of people.
var approvals = []Payload{
	ApprovalRequested{
		RunRef: ref, ID: "aaaaaaaa-89ab-5def-8123-456789abcdef", Kind: KindQuestion, Stage: "dev", Role: "dev", Action: "tool:secret_sync",
		Title: "Make a secret", Arguments: json.RawMessage(`{"name":"api-key"}`), Options: []string{"Yes", "Later"}, FreeText: true,
		Justification: "The shop needs it.", Risk: "Low.", Links: []ApprovalLink{{Text: "code", URL: "https://github.com/acme/demo"}},
		HeadSHA: "c0ffee", IssueURL: "https://github.com/acme/demo/issues/12", Digest: "0123456789abcdef", RequestedBy: GitHubAccount{Login: "alice", ID: 1}, Repeat: 1, At: at,
	},
	ApprovalVoted{
		ID: "click-1", RequestID: "aaaaaaaa-89ab-5def-8123-456789abcdef", Digest: "0123456789ab", Choice: Answer, Option: 2, Words: "Tomorrow", Text: "Later.",
		By: Voter{Channel: "slack", Account: "U02ABC", Name: "Alice", Chat: "C0123"}, At: at,
	},
	ApprovalDue{RunRef: ref, RequestID: "aaaaaaaa-89ab-5def-8123-456789abcdef", Round: 2},
	ApprovalChanged{
		RunRef: ref, Targets: []ApprovalTarget{{Channel: "slack", Target: "C0123"}}, Reminder: &ApprovalReminder{Number: 1, Text: "Still waiting."},
		Message: ApprovalMessage{
			RequestID: "aaaaaaaa-89ab-5def-8123-456789abcdef", Digest: "0123456789ab", Version: 3, Lang: "en", Kind: KindApproval, State: "approved",
			Action: "tool:secret_sync", Title: "Make a secret", Arguments: json.RawMessage(`{"name":"api-key"}`), Fields: []ApprovalField{{Name: "name", Value: "api-key"}},
			Justification: "The shop needs it.", Risk: "Low.", Links: []ApprovalLink{{Text: "code", URL: "https://github.com/acme/demo"}},
			Options: []string{"Yes", "Later"}, FreeText: true, Context: "acme/demo#12", IssueURL: "https://github.com/acme/demo/issues/12", Deadline: at, Quorum: 1,
			Votes: []ApprovalVoteLine{{Who: "alice", Choice: Approve, Text: "Fine.", At: at}}, Outcome: "Approved by alice.",
		},
	},
	ApprovalRefused{
		RequestID: "aaaaaaaa-89ab-5def-8123-456789abcdef", VoteID: "click-1", By: Voter{Channel: "slack", Account: "U02ABC", Name: "Alice", Chat: "C0123"},
		Reason: "not_linked", Text: "This account is linked to nobody.",
	},
	ApprovalDecided{
		RunRef: ref, RequestID: "aaaaaaaa-89ab-5def-8123-456789abcdef", Kind: KindQuestion, Action: "question", Arguments: json.RawMessage(`{"name":"api-key"}`),
		Digest: "0123456789abcdef", Outcome: "answered", By: []string{"alice"}, People: []GitHubAccount{{"alice", 1}}, Option: 2, Text: "Later.", At: at,
	},
	ToolApproved{
		RunRef: ref, CallID: "aaaaaaaa-89ab-5def-8123-456789abcdef", Tool: "secret_sync", Arguments: json.RawMessage(`{"name":"api-key"}`), PullRequest: 13,
		Namespace: "codexk8s-run-0123456789ab", Stage: "dev", Role: "dev", Attempt: 1, ExpiresAt: at,
	},
	ToolExecuted{RunRef: ref, CallID: "aaaaaaaa-89ab-5def-8123-456789abcdef", Tool: "secret_sync", Arguments: json.RawMessage(`{"name":"api-key"}`), Result: "It is there.", Reason: "kubernetes_refused"},
	LabelApproved{RunRef: ref, Label: "run:qa", By: GitHubAccount{"alice", 1}, RequestID: "aaaaaaaa-89ab-5def-8123-456789abcdef"},
	ApprovalDelivered{RequestID: "aaaaaaaa-89ab-5def-8123-456789abcdef", Version: 3, ApprovalTarget: ApprovalTarget{Channel: "slack", Target: "C0123"}},
	ApprovalUndeliverable{
		RequestID: "aaaaaaaa-89ab-5def-8123-456789abcdef", Version: 3, ApprovalTarget: ApprovalTarget{Channel: "slack", Target: "C0123"},
		Reason: "not_found", Message: "There is no such chat.",
	},
	ApprovalUnanswered{
		RequestID: "aaaaaaaa-89ab-5def-8123-456789abcdef", ApprovalTarget: ApprovalTarget{Channel: "http", Target: "desk"},
		Attempt: "bbbbbbbb-89ab-5def-8123-456789abcdef", Due: at,
	},
}
