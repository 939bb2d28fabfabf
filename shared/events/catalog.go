package events

import "slices"

// Types of events that other systems send to the Broker.
const (
	// TypePing is what a PingSource sends.
	TypePing = "dev.knative.sources.ping"
	// Types of an ApiServerSource in mode Resource.
	TypeResourceAdded   = "dev.knative.apiserver.resource.add"
	TypeResourceUpdated = "dev.knative.apiserver.resource.update"
	TypeResourceDeleted = "dev.knative.apiserver.resource.delete"
)

// Catalog says which function consumes which event types. It is the single source: tests compare it with the Triggers
// in eventing/ and the routes of each function, and timekeeper waits for the receipts that follow from it.
var Catalog = map[string][]string{
	"stage-router": {
		GitHubType("issues"),
		GitHubType("pull_request"),
		GitHubType("pull_request_review"),
		GitHubType("issue_comment"),
		GitHubType("check_run"),
		GitHubType("check_suite"),
		GitHubType("status"),
		LabelObserved{}.EventType(),
		RunRequested{}.EventType(),
		RunQueued{}.EventType(),
		RunFinished{}.EventType(),
		RunWaiting{}.EventType(),
		RunResumed{}.EventType(),
		ApprovalRequested{}.EventType(),
		ApprovalDecided{}.EventType(),
		ToolExecuted{}.EventType(),
		LabelApproved{}.EventType(),
		HoldRequested{}.EventType(),
		CommandRequested{}.EventType(),
		LLMLimited{}.EventType(),
		BudgetWarned{}.EventType(),
		StormDue{}.EventType(),
		RunDeadline{}.EventType(),
		RunCheck{}.EventType(),
		AgentStarted{}.EventType(),
		AgentDelayed{}.EventType(),
		AgentFinished{}.EventType(),
		AgentFailed{}.EventType(),
		AgentReported{}.EventType(),
		GitHubLookedUp{}.EventType(),
		GitHubReviewed{}.EventType(),
	},
	"approval-gate": {
		GitHubType("issue_comment"),
		ApprovalRequested{}.EventType(),
		ApprovalVoted{}.EventType(),
		ApprovalDue{}.EventType(),
		ApprovalDelivered{}.EventType(),
		ApprovalUndeliverable{}.EventType(),
		RunFinished{}.EventType(),
	},
	"approval-notifier": {
		ApprovalChanged{}.EventType(),
		ApprovalRefused{}.EventType(),
		ApprovalUnanswered{}.EventType(),
		NoticeRequested{}.EventType(),
	},
	"agent-launcher": {
		AgentRequested{}.EventType(),
		AgentStopRequested{}.EventType(),
		EnvironmentExpired{}.EventType(),
		ToolApproved{}.EventType(),
	},
	"run-observer": {
		TypeResourceAdded,
		TypeResourceUpdated,
		TypeResourceDeleted,
		AgentStarted{}.EventType(),
		EnvironmentRemoved{}.EventType(),
		RunCheck{}.EventType(),
	},
	"llm-caller": {
		LLMRequested{}.EventType(),
	},
	"github-caller": {
		GitHubChangeRequested{}.EventType(),
		GitHubLookupRequested{}.EventType(),
		GitHubReviewRequested{}.EventType(),
		GitHubLabelsRequested{}.EventType(),
		ToolApproved{}.EventType(),
	},
	"timekeeper": {
		TypePing,
	},
}

// Wakes says which events reach a function only to start it in time for what follows: otherwise, from zero, a label
// would wait for one cold start after the other. The function answers, does nothing, and owes no receipt. Its Trigger
// passes such an event only if something will follow.
var Wakes = map[string][]string{
	"agent-launcher": {GitHubType("issues"), GitHubType("pull_request")},
	"github-caller":  {GitHubType("issues"), GitHubType("pull_request")},
}

// consumers is the Catalog, inverted.
var consumers = func() map[string][]string {
	m := map[string][]string{}
	for function, types := range Catalog {
		for _, t := range types {
			m[t] = append(m[t], function)
		}
	}
	for _, functions := range m {
		slices.Sort(functions)
	}
	return m
}()

// Consumers returns the functions that must record an event of the type, sorted; none if nobody consumes the type. The
// result must not be changed.
func Consumers(eventType string) []string { return consumers[eventType] }
