package page

import (
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

var english = Words{
	Tag: language.English, Language: "English",

	Skip: "Skip to the content", Navigation: "Sections", Runs: "Runs", SignOut: "Sign out", SignedInAs: "Signed in as", AsAPI: "As API",

	SignIn: "Sign in", SignInWith: "Sign in with GitHub", SignInLead: "See what agents do, and answer what they ask.",
	SignInMissing: "Nobody can sign in yet. The operator of this platform has to set:",
	SignInHint:    "You need a role in one of the projects. GitHub tells this platform who you are, and nothing else.",

	All: "All", Active: "Active", WaitingRuns: "Waiting", FailedRuns: "Failed", Done: "Done", Filter: "Filter", FilterHint: "state:failed project:shop stage:dev by:ann",
	Apply: "Apply", Clear: "Clear the filter", Older: "Older", Newest: "Newest",
	NoRuns: "No runs yet", NoRunsLead: "Put a label such as run:dev on an issue of a bound repository, and its run appears here.",
	NothingFound: "No run fits this filter", NothingFoundLead: "Filters hold together. Take one away, or begin anew.",
	Issue: "Issue", Stage: "Stage", Role: "Role", Model: "Model", By: "By", Cost: "Cost", Took: "Time", Created: "Asked for", Pull: "Pull request", Project: "Project", State: "State",
	Engine: "Engine", Effort: "Effort", Attempt: "Job",
	Kinds: map[string]string{"work": "work", "revise": "revise", "review": "review", "discussion": "discussion"},
	States: map[string]string{
		"requested": "Requested", "queued": "Queued", "starting": "Starting", "running": "Running", "waiting": "Waiting",
		"succeeded": "Succeeded", "failed": "Failed", "cancelled": "Cancelled", "timed_out": "Out of time",
	},
	WaitsFor: map[string]string{"approval": "for an approval", "question": "for an answer", "owner_review": "for an owner's review", "budget": "for budget", "rate_limit": "for the provider's limit", "checks": "for required checks"},
	Steps: map[string]string{
		"run.requested": "Run requested", "run.queued": "Waits for a place", "run.starting": "Got a place", "run.started": "Agent's pod started", "run.running": "Agent at work",
		"run.waiting": "Waits for people", "run.answered": "Answered", "run.resumed": "Goes on", "run.succeeded": "Succeeded", "run.failed": "Failed",
		"run.cancelled": "Cancelled", "run.timed_out": "Out of time", "run.aborted": "Stop asked for", "run.repeated": "Started again",
		"agent.reported": "Agent reported", "agent.delayed": "Pod is delayed", "job.over": "Job ended", "tool.executed": "Platform did what was asked",
		"pull_request.approved": "Pull request approved", "pull_request.closed": "Pull request closed", "services.known": "Services found", "label.approved": "Label approved",
		"approval.requested": "Asked people", "approval.decided": "People decided",
	},

	Timeline: "Timeline", Log: "Log", Details: "Details", Asked: "Asked", Task: "Task", Summary: "Summary", Progress: "Progress", Why: "Why", Money: "Cost", Tokens: "Tokens", Time: "Time",
	In: "in", Cached: "cached", Out: "out", Unpriced: "some calls have no known price",
	NoLog: "No lines yet", NoLogLead: "The log begins when the agent's pod does.", First: "First", Previous: "Previous", Next: "Next", Last: "Last", Search: "Search", SearchLog: "Search the log",
	SearchedTo: "Searched up to line", Lines: "Lines", LogLine: "Line", Follow: "Follow", NewLines: "New lines", Namespace: "Namespace", Process: "Process", Prompt: "Prompt", Base: "Base branch", Head: "Commit",
	Deadline: "Deadline", Heartbeat: "Last heard of", OpenIssue: "Issue on GitHub", OpenPull: "Pull request on GitHub", NoPull: "none yet", AsOf: "as of", Because: "because", Nothing: "Nothing found",
	Raw: "JSON", LostLive: "The connection is lost; trying again.", OverLive: "You may not follow this page any more.", StaleLive: "Live updates are paused", Resume: "Resume",

	Profile: "Profile", IsClosed: "Closed", NotHeard: "The platform has not heard of this issue yet. Look at the last webhook in make doctor, and at the webhook's deliveries on GitHub.",
	Drift: "Not on GitHub yet:", HeldBack: "Held back, since more was asked for than the process's storm allows:", FollowsThen: "Follows when the run has succeeded:",
	WorksFrom: "Works from", Leaves: "Leaves", NextSteps: "What may follow", NoEffect: "What would have no effect now", Unhandled: "Not handled yet", DeadLetter: "failed for good", Timer: "due", NotYet: "sent again",
	Happened: "What happened", NothingHappened: "Nothing was decided about this issue yet.",
	OtherSteps: "Other stages", Stages: "Stages", Effects: map[string]string{"starts": "starts a run of", "stops": "stops the run", "changes": "changes labels", "nothing": "does nothing"},
	Standings: map[string]string{"ahead": "ahead", "skipped": "skipped", "active": "at work", "waiting": "waits", "review": "in review", "approved": "approved", "done": "done", "failed": "failed", "stopped": "stopped", "superseded": "superseded"},
	Reviews:   map[string]string{"approved": "Approving the pull request", "changes_requested": "Requesting changes"},

	Home: "Home", NeedsYou: "Needs you", NothingNeedsYou: "Nothing needs you", NothingNeedsYouLead: "What agents ask appears here, to be answered on the spot.",
	AtWork: "At work", FailedOfLate: "Failed of late", DoneOfLate: "Done of late", Question: "Question", Decision: "Approval", AgentSays: "The agent says", Risk: "Risk", DecideBy: "Decide by",
	YourWords: "Your answer", YourReason: "Reason, if you want to give one", SendAnswer: "Send the answer", NoAnswer: "Give no answer", Approve: "Approve", Deny: "Deny",
	VoteStored: "Your vote is stored. What it decides is shown here in a moment.",
	Choices:    map[string]string{"approve": "said yes", "deny": "said no", "answer": "answered"},

	Orders: map[string]string{"start": "Start", "cancel": "Stop this run", "release": "Let go what is held", "drop": "Drop what is held"},
	Does: map[string]string{"starts": "A run starts.", "stops": "The run is stopped. What it has pushed stays.", "changes": "What is held is dropped.",
		"holds": "It is held: more was asked for in this repository than its process allows at a time.", "nothing": "Nothing comes of it."},
	OrderStates: map[string]string{"pending": "It is stored and decided in a moment.", "done": "Done.", "held": "It is held.", "refused": "It was refused."},
	StopRun:     "Stop", RunAgain: "Run again", ReviseRun: "Revise", WhatComes: "What comes of it", LabelsOn: "Labels that the issue gets", LabelsOff: "Labels that it loses",
	PlaceInQueue: "Its place among those that wait", YourChanges: "What to change; without words, what the newest review says", DoIt: "Do it", Leave: "Leave it", LookAgain: "Look again",

	AccessTokens: "Tokens", TokensLead: "By a token a program uses the API in your name, as far as its scopes and your rights at that moment go.", NoTokens: "No tokens yet.",
	TokenMade: "This is the token", TokenMadeLead: "Copy it now: it is not shown again. Whoever has it acts in your name.", MakeToken: "Make a token", Name: "Name", ScopesOf: "What it is good for",
	ProjectsOf: "Only in these projects, with blanks between them; none = all of yours", Days: "Days", Revoke: "Revoke", GoodUntil: "good until", UsedLast: "last used", Never: "never used",
	Scopes: map[string]string{"read": "look at everything", "runs": "start and stop runs", "approve": "answer requests"},

	Problem: "Something is in the way", WhatToDo: "What to do", BackHome: "To the runs", Status: "Status", LeastRole: "It takes this role, or a stronger one:",

	Units: map[string]string{"d": "d", "h": "h", "min": "min", "s": "s"}, Ago: "%s ago", Now: "just now",
	Count: Plural{plural.One: "%d line", plural.Other: "%d lines"},
	Calls: Plural{plural.One: "%d model call", plural.Other: "%d model calls"},
}
