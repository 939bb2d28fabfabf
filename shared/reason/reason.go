// Package reason is the catalogue of reasons: the words by which programs tell apart why a label had no effect, why a
// run ended as it did, why a vote did not count, or why something was left alone.
//
// A reason appears in events, in the audit, in metrics and in the status comment, so people search for it. With it
// there is always a message about the case at hand. What can be said about all cases is here; the tables under
// Troubleshooting in config/observability/README.md are generated from it.
//
// The errors that HTTP callers get (from llm-caller and webhook-adapter) are another vocabulary, defined in those
// functions.
//
// The package is pure.
package reason

import (
	"cmp"
	"slices"
	"strings"
)

// Why a label or a review had no effect.
const (
	SenderIsBot         = "sender_is_bot"
	SenderNotPermitted  = "sender_not_permitted"
	SenderIsAnother     = "sender_is_another"
	SenderMissing       = "sender_missing"
	RepositoryIsAnother = "repository_is_another"
	RepositoryNotBound  = "repository_not_bound"
	TriggerConflict     = "trigger_conflict"
	ModelConflict       = "model_conflict"
	ReasoningConflict   = "reasoning_conflict"
	ProfileConflict     = "profile_conflict"
	ProfileUnknown      = "profile_unknown"
	ProfileLowered      = "profile_lowered"
	StageSkipped        = "stage_skipped"
	UnknownStage        = "unknown_stage"
	ModelUnknown        = "model_unknown"
	ReasoningUnknown    = "reasoning_unknown"
	NothingToAbort      = "nothing_to_abort"
	IssueClosed         = "issue_closed"
	Blocked             = "blocked"
	NeedInput           = "need_input"
	RunActive           = "run_active"
	PullRequestMissing  = "pull_request_missing"
	PullRequestMerged   = "pull_request_merged"
	PullRequestClosed   = "pull_request_closed"
	Superseded          = "superseded"
	NotOurPullRequest   = "not_our_pull_request"
	LabelMisplaced      = "label_misplaced"
	AlreadyReviewed     = "already_reviewed"
	ApprovalOutdated    = "approval_outdated"
	LabelOff            = "label_off"
	OlderAct            = "older_act"
	IntentKnown         = "intent_known"
	TextUnseen          = "text_unseen"
	StageUnknown        = "stage_unknown"
	ProcessInvalid      = "process_invalid"
	DiscussionUsedUp    = "discussion_used_up"
	NotARemark          = "not_a_remark"
	Storm               = "storm"
	IssueUnknown        = "issue_unknown"
	NothingHeld         = "nothing_held"
)

// Why a run failed. The agent reports some itself, the platform most of them.
const (
	Engine              = "engine"
	Assignment          = "assignment"
	PromptInvalid       = "prompt_invalid"
	PullRequest         = "pull_request"
	WriteScope          = "write_scope"
	NoChanges           = "no_changes"
	BaseBranchMissing   = "base_branch_missing"
	RepositoryAccess    = "repository_access"
	PushConflict        = "push_conflict"
	PushRejected        = "push_rejected"
	NoReport            = "no_report"
	NoAnswer            = "no_answer"
	AgentSilent         = "agent_silent"
	AgentError          = "agent_error"
	ImagePull           = "image_pull"
	ConfigError         = "config_error"
	ServicesInvalid     = "services_invalid"
	ServicesUnreadable  = "services_unreadable"
	ArtefactMissing     = "artefact_missing"
	ArtefactsIncomplete = "artefacts_incomplete"
	ArtefactsUnreadable = "artefacts_unreadable"
	ChecksFailed        = "checks_failed"
	ChecksMissing       = "checks_missing"
	ReviewMissing       = "review_missing"
	ReviewRefused       = "review_refused"
	ServiceTaken        = "service_taken"
	IsolationBroken     = "isolation_broken"
	GatewayUnreachable  = "gateway_unreachable"
	OOMKilled           = "oom_killed"
	DeadlineExceeded    = "deadline_exceeded" // Kubernetes stopped the pod
	Deadline            = "deadline"          // the platform stopped the run
	SidecarFailed       = "sidecar_failed"
	NodeRejected        = "node_rejected"
	NotStarted          = "not_started"
	NamespaceStuck      = "namespace_stuck"
	NamespaceTaken      = "namespace_taken"
	JobTaken            = "job_taken"
	InvalidRequest      = "invalid_request"
	NamespaceInvalid    = "namespace_invalid"
	Evicted             = "evicted"
	Preempted           = "preempted"
	NodeLost            = "node_lost"
	NodeShutdown        = "node_shutdown"
	Unschedulable       = "unschedulable"
	QuotaExceeded       = "quota_exceeded"
	Precondition        = "precondition"
	JobDeleted          = "job_deleted"
	KubernetesRefused   = "kubernetes_refused"
)

// Why something that people did on GitHub stopped a run. IssueClosed, PullRequestClosed, PullRequestMerged, Blocked and
// NeedInput are others.
const (
	Aborted          = "aborted"
	Budget           = "budget"
	IssueDeleted     = "issue_deleted"
	IssueTransferred = "issue_transferred"
	StageBegan       = "stage_began"
	DiscussionEnded  = "discussion_ended"
)

// Why a vote on a request does not count. The words for who cast it are in shared/approval/words.
const (
	NotLinked         = "not_linked"
	AgentVote         = "agent_vote"
	NotPermitted      = "not_permitted"
	SelfApproval      = "self_approval"
	PrincipalVoted    = "principal_voted" // a deputy's, after the person they stand in for has voted
	WrongChat         = "wrong_chat"
	AnotherDigest     = "another_digest"
	ChoiceUnfit       = "choice_unfit"
	AlreadyVoted      = "already_voted"
	OlderVote         = "older_vote"
	BeforeRequest     = "before_request" // it names no request, and was said before this one was made
	SeveralOpen       = "several_open"
	RequestApproved   = "request_approved"
	RequestDenied     = "request_denied"
	RequestAnswered   = "request_answered"
	RequestExpired    = "request_expired"
	RequestWithdrawn  = "request_withdrawn"
	RequestSuperseded = "request_superseded"
)

// Why something that a chat or tracker reports is no vote.
const (
	NoSignature    = "no_signature"
	WrongSignature = "wrong_signature"
	Stale          = "stale"
	Malformed      = "malformed"
	Incomplete     = "incomplete"
	TooLarge       = "too_large" // of a message, too
	Unstorable     = "unstorable"
	UnknownButton  = "unknown_button"
	UnknownRequest = "unknown_request"
	UnknownCommand = "unknown_command"
	ByAProgram     = "by_a_program"
	CodeInPublic   = "code_in_public"
	CodeUnknown    = "code_unknown"
	ReplyElsewhere = "reply_elsewhere"
	WhichRequest   = "which_request"
	NoWords        = "no_words"
	AnsweredBefore = "answered_before"
	VoteRepeated   = "vote_repeated"
)

// Why a chat or tracker does not show what people are asked.
const (
	BotBlocked   = "bot_blocked"
	BotKicked    = "bot_kicked"
	ChatMoved    = "chat_moved"
	NotFound     = "not_found"
	Unauthorized = "unauthorized"
	NotAllowed   = "not_allowed"
	Rejected     = "rejected"
	NotShowable  = "not_showable"
	NotConnected = "not_connected"
	Unreachable  = "unreachable"
)

// Why GitHub does not do what we ask.
const (
	GitHubRefused   = "github_refused"
	GitHubGone      = "github_gone"
	GitHubArchived  = "github_archived"
	GitHubLocked    = "github_locked"
	GitHubSuspended = "github_suspended"
	GitHubBlocked   = "github_blocked"
	GitHubFull      = "github_full"
	GitHubMoved     = "github_moved"
)

// ReportLost is why a run has another Job: its last one completed, but its report is not in the database.
const ReportLost = "report_lost"

// Kind says what a reason explains.
type Kind string

// The kinds.
const (
	Ignored Kind = "ignored" // a label or a review had no effect
	Failed  Kind = "failed"  // a run failed
	Stopped Kind = "stopped" // what people did on GitHub ended a run

	Uncounted   Kind = "uncounted"   // a vote did not count
	Unheard     Kind = "unheard"     // a callback of a chat or tracker is no vote
	Undelivered Kind = "undelivered" // a chat or tracker does not show a request
)

// An Entry says what a person can do about one or several reasons, in Markdown.
type Entry struct {
	Kind   Kind
	Codes  []string
	Advice string
}

// Catalogue has every reason once per kind, in the order in which the README shows them.
var Catalogue = []Entry{
	{Ignored, []string{SenderIsBot}, "a person sets the label; only the audit tells of it"},
	{Ignored, []string{SenderNotPermitted}, "a maintainer of the project does it, or an admin adds the person; who has no role in the project gets no answer"},
	{Ignored, []string{SenderIsAnother}, "another account has the login of a member now; if it is the same person, write `login@number` in the projects file, with the number that the audit names. Only the audit tells of it"},
	{Ignored, []string{RepositoryIsAnother}, "another repository has the name of a bound one now; if it is meant too, write `owner/name@number`. Only the audit tells of it"},
	{Ignored, []string{RepositoryNotBound}, "add the repository to a project (`PROJECTS_FILE`); only the audit tells of it"},
	{Ignored, []string{TriggerConflict}, "several triggers at once: they are taken off, set one"},
	{Ignored, []string{ModelConflict, ReasoningConflict, ProfileConflict}, "keep one such label, then set the trigger again"},
	{Ignored, []string{StageSkipped}, "the issue's profile does not have the stage: the comment names the label of one that has"},
	{Ignored, []string{ProfileLowered}, "the issue has gone by a higher profile: a maintainer sets the lower one's label, then the trigger again"},
	{Ignored, []string{UnknownStage, ModelUnknown, ReasoningUnknown, ProfileUnknown}, "use a name of the project's process, mostly `shared/stage/process.yaml`"},
	{Ignored, []string{SenderMissing}, "GitHub did not say who did it: do it again"},
	{Ignored, []string{NothingToAbort}, "no run is active"},
	{Ignored, []string{IssueClosed}, "reopen the issue, set the label again"},
	{Ignored, []string{Blocked, NeedInput}, "resolve it and remove that label"},
	{Ignored, []string{RunActive}, "wait, or `run:abort`"},
	{Ignored, []string{PullRequestMissing}, "`run:dev` first"},
	{Ignored, []string{Superseded}, "a rethink has begun the issue again at an earlier stage: the comment names the label that makes anew what is needed"},
	{Ignored, []string{PullRequestMerged, PullRequestClosed}, "nothing is left to revise: `run:dev` for another one, or reopen it"},
	{Ignored, []string{NotOurPullRequest}, "set the label on the issue, or on the pull request that an agent has opened for it"},
	{Ignored, []string{LabelMisplaced}, "`need:reviewer` stands on an issue: set it on the pull request"},
	{Ignored, []string{AlreadyReviewed}, "an agent has reviewed that commit: read its review, or set `need:reviewer` again when there is a newer one"},
	{Ignored, []string{ApprovalOutdated}, "the approval is of an older commit: review again"},
	{Ignored, []string{StageUnknown}, "no run of the issue is known that the review could be about, or the process no longer has its stage: set a label on the issue"},
	{Ignored, []string{ProcessInvalid}, "the project's own process does not fit this release: the comment names line and fault. An owner corrects it in the projects file"},
	{Ignored, []string{Storm}, "more was asked for in the repository than the process's `storm` allows: take `state:held` off the issue to start it all the same, or set the label again later"},
	{Ignored, []string{LabelOff, OlderAct, IntentKnown}, "the news came late or twice: something newer counts. If it still holds, set the label again"},
	{Ignored, []string{TextUnseen}, "the issue's text was changed since the label, whose webhook was lost, or since the person saw it in the console: read it, ask again"},
	{Ignored, []string{IssueUnknown}, "nothing has happened on the issue since its repository was bound: set the label on GitHub"},
	{Ignored, []string{NothingHeld}, "no storm holds anything on the issue"},
	{Ignored, []string{NotARemark}, "a comment that answers a request is not part of the discussion; only the audit tells of it"},
	{Ignored, []string{DiscussionUsedUp}, "the discussion has had all its turns: take `mode:discussion` off and set it again"},

	{Failed, []string{Engine, Assignment, PullRequest}, "the run's log: the model's side, the platform's settings, GitHub's refusal"},
	{Failed, []string{PromptInvalid}, "a part of the prompt that project or installation have of their own does not fit this release: the comment names part and line"},
	{Failed, []string{WriteScope}, "the agent changed files that the stage may not change"},
	{Failed, []string{NoChanges}, "say in the issue what should be different"},
	{Failed, []string{PullRequestMissing}, "the pull request to revise is gone; `run:dev` again"},
	{Failed, []string{BaseBranchMissing, RepositoryAccess}, "the default branch, the App's installation and permissions"},
	{Failed, []string{PushConflict}, "someone else pushed to the branch or deleted it"},
	{Failed, []string{PushRejected}, "a rule of the repository forbids it, another branch is in the way, or a file must not be pushed: one with a secret, one above GitHub's 100 MB, one that Git LFS should store. The comment names it"},
	{Failed, []string{NoAnswer}, "the agent ended without a word: write another comment"},
	{Failed, []string{NoReport, AgentSilent, AgentError}, "the run's log"},
	{Failed, []string{ImagePull, ConfigError}, "the image in `ko.yaml`, the registry's access, the Job"},
	{Failed, []string{ServicesInvalid}, "the comment names line and fault: correct `services.yaml` on the base branch"},
	{Failed, []string{ServicesUnreadable}, "that file is no text, is over 64 KiB, or GitHub refuses it: the App needs `Contents: read`, and the base branch must exist"},
	{Failed, []string{ArtefactMissing}, "the stage works from files that are not there: the comment names them and the label that makes each. Nothing was started"},
	{Failed, []string{ArtefactsIncomplete}, "the comment names what is missing or not written to the end: say how to go on, remove `need:input`, set the label that the comment names"},
	{Failed, []string{ChecksFailed}, "a check that the repository requires fails, and the agent could not put it right: say how to go on, remove `need:input`, set the label that the comment names"},
	{Failed, []string{ChecksMissing}, "a check that the repository requires has not come to an end: does it run for such pull requests, and does the App's webhook send check run, check suite and status? Then as above"},
	{Failed, []string{ArtefactsUnreadable}, "GitHub refuses to show the files: the App needs `Contents: read` and `Pull requests: read`"},
	{Failed, []string{ReviewMissing}, "the agent that was to review has written nothing: the run's log, then `need:reviewer` again"},
	{Failed, []string{ReviewRefused}, "GitHub refuses the review: the App needs `Pull requests: write`; the message has GitHub's words"},
	{Failed, []string{ServiceTaken}, "somebody else made a Knative Service of that name in the run's namespace: rename yours"},
	{Failed, []string{NamespaceTaken, JobTaken}, "somebody else made a namespace or a Job of the name that the run needs; the message names it: remove it"},
	{Failed, []string{InvalidRequest, NamespaceInvalid}, "the platform asked for a pod that it may not have: the message says what is wrong, mostly with the process or the project's settings"},
	{Failed, []string{IsolationBroken}, "the message names what the pod could reach: the network plug-in does not enforce NetworkPolicy, or `GIT_CIDRS`, `GATEWAY_PEERS`, `DNS_PEERS` open too much. An API server with a public address: narrow `GIT_CIDRS`"},
	{Failed, []string{GatewayUnreachable}, "`GATEWAY_PEERS`, `GATEWAY_PORTS`, `DNS_PEERS`; are agent-gateway and llm-caller ready?"},
	{Failed, []string{OOMKilled, DeadlineExceeded, Deadline}, "the role's memory, the stage's timeout, or a smaller issue"},
	{Failed, []string{SidecarFailed}, "the message names a container that the cluster puts into pods, as a service mesh does: keep it out of the runs' namespaces"},
	{Failed, []string{NodeRejected, NotStarted}, "the node's own words: its room and labels, a volume, the pod network"},
	{Failed, []string{NamespaceStuck}, "the message names what is left of the issue's former namespace or agent: mostly a finalizer whose controller is gone, or a node that does not answer"},
	{Failed, []string{Evicted, Preempted, NodeLost, NodeShutdown, Unschedulable, QuotaExceeded}, "the cluster's room; then set the label again"},
	{Failed, []string{Precondition}, "trying again is useless; the message says why"},
	{Failed, []string{JobDeleted, KubernetesRefused}, "who deleted the Job; agent-launcher's rights and quotas; for a service: `OVERLAY=full-env`; for a Sandbox: `OVERLAY=agent-sandbox` and its definitions"},

	{Stopped, []string{Aborted}, "somebody set `run:abort`, or cancelled the run in the console"},
	{Stopped, []string{Budget}, "a budget was used up, and people did not extend it: the comment says who stopped it. Set the label again, or raise the figure under `budgets`"},
	{Stopped, []string{IssueClosed, IssueDeleted, IssueTransferred}, "the issue is not open here any more"},
	{Stopped, []string{Blocked, NeedInput}, "the issue got that label while the run waited for its place: resolve it, remove the label, start again"},
	{Stopped, []string{StageBegan, DiscussionEnded}, "a turn of a discussion made way for a stage, or `mode:discussion` was taken off"},
	{Stopped, []string{Storm}, "a newer request has taken the run's place (`storm` of the process): take `state:held` off the issue to start it again"},
	{Stopped, []string{PullRequestClosed, PullRequestMerged}, "the pull request has come to its end"},

	{Uncounted, []string{NotLinked}, "give the person a code: `make link-code LOGIN=…`"},
	{Uncounted, []string{NotPermitted}, "the policy's `who`, or the person's role in the project. An HTTP approver decides where a rule names it under `approvers`"},
	{Uncounted, []string{SelfApproval}, "somebody else decides; the policy's `self` may allow it"},
	{Uncounted, []string{AgentVote}, "the account belongs to a program: a person decides"},
	{Uncounted, []string{PrincipalVoted}, "the person whose deputy it is has voted, and that counts"},
	{Uncounted, []string{WrongChat, AnotherDigest, ChoiceUnfit}, "use the buttons of the newest message, where the request is shown"},
	{Uncounted, []string{AlreadyVoted, OlderVote}, "one person has one vote, the newest"},
	{Uncounted, []string{BeforeRequest}, "an old command that came late, or was sent again: look at the request, and say it again"},
	{Uncounted, []string{SeveralOpen}, "copy one of the commands that the comment lists"},
	{Uncounted, []string{RequestApproved, RequestDenied, RequestAnswered, RequestExpired, RequestWithdrawn, RequestSuperseded}, "it came too late; the message says how the request ended"},

	{Unheard, []string{NoSignature, WrongSignature}, "the channel's secret is another one there than in `codexk8s-chat`: put it beside the old one; for an approver also its callback address. Or a stranger tries"},
	{Unheard, []string{Stale}, "a replay, or a clock is wrong; a form or a reply that is too old: click again"},
	{Unheard, []string{Malformed, Incomplete, TooLarge, Unstorable}, "the detail says what is wrong; a chat's own servers do not send such things"},
	{Unheard, []string{UnknownButton, UnknownRequest}, "a message of another installation, from before a restored backup, or signed by a key that is no longer in `keys`"},
	{Unheard, []string{UnknownCommand, CodeUnknown, CodeInPublic}, "a new code by `make link-code`; it is good once, for a quarter of an hour, and sent to the bot alone"},
	{Unheard, []string{ByAProgram}, "only people decide, in their own name"},
	{Unheard, []string{ReplyElsewhere, NoWords}, "click the button for words first, then answer with text"},
	{Unheard, []string{WhichRequest}, "copy the whole command, with its digits"},
	{Unheard, []string{AnsweredBefore, VoteRepeated}, "nothing: the first one counts"},

	{Undelivered, []string{NotConnected}, "the channel's keys in `codexk8s-chat` and its chat in `110-settings.yaml`, or another channel in the policy"},
	{Undelivered, []string{BotBlocked, BotKicked, NotFound}, "invite the bot to the chat again; is the chat's id right?"},
	{Undelivered, []string{ChatMoved}, "the group has another id now: put it into the settings or the policy"},
	{Undelivered, []string{Unauthorized}, "the bot's token and its rights"},
	{Undelivered, []string{NotAllowed}, "the address is in a private network: name that in `approver-networks`"},
	{Undelivered, []string{TooLarge, Rejected, NotShowable}, "the channel's own words are in the audit; another channel in the policy's `fallback`"},
	{Undelivered, []string{Unreachable}, "it has not answered for ten minutes, or is to be left alone for longer: is it up, and does a network policy let approval-notifier (for GitHub, github-caller) reach its port?"},
	{Undelivered, []string{GitHubLocked, GitHubArchived, GitHubFull}, "unlock the issue or the repository, or name another channel in the policy's `fallback`"},
	{Undelivered, []string{GitHubRefused, GitHubSuspended, GitHubBlocked, GitHubGone, GitHubMoved}, "the App's permissions, and whether it is installed on the repository"},
}

// EndsRuns reports whether a run may end with the reason. "" is for a run that succeeded.
func EndsRuns(code string) bool {
	return code == "" || slices.ContainsFunc(Catalogue, func(e Entry) bool { return (e.Kind == Failed || e.Kind == Stopped) && slices.Contains(e.Codes, code) })
}

// Advice is what a person can do about a reason of that kind; "" if there is none such.
func Advice(kind Kind, code string) string {
	i := slices.IndexFunc(Catalogue, func(e Entry) bool { return e.Kind == kind && slices.Contains(e.Codes, code) })
	if i < 0 {
		return ""
	}
	return Catalogue[i].Advice
}

// kindOf says which reasons an act of the audit may have, by its last word or its whole name.
var kindOf = map[string]Kind{
	"ignored": Ignored, "run.failed": Failed, "run.timed_out": Failed, "run.cancelled": Stopped,
	"refused": Uncounted, "undeliverable": Undelivered,
}

// OfAct says what to do about an act of the audit with that reason; "" if there is nothing to say.
func OfAct(action, code string) string {
	_, last, _ := strings.Cut(action, ".")
	return Advice(cmp.Or(kindOf[action], kindOf[last]), code)
}
