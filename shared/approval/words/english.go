package words

import "codexk8s.dev/shared/reason"

var english = Words{
	Context: "%s#%d, stage %s, agent %s, started by %s",
	InPlace: "%s for %s",

	Ended: map[string]string{
		"approved": "Approved by %s.", "denied": "Denied by %s.", "answered": "Answered by %s.",
		"expired": "Expired: nobody decided in time.", "withdrawn": "Withdrawn: nobody waits for it any more.",
		"superseded": "Superseded: a newer request asks the same of another commit.",
	},
	Because: map[string]string{
		"no_rule":        "Denied: the policy has no rule for this.",
		"needs_nobody":   "Approved: by the policy this needs nobody's yes any more.",
		"nobody_decided": "Denied: nobody decided in time, and by the policy that is a no.",
	},
	Refused: map[string]string{
		reason.NotLinked:         "This account is linked to nobody yet, so it does not count here. Link it first.",
		reason.AgentVote:         "Programs can't decide. A person has to.",
		reason.NotPermitted:      "You are not among those who may decide this.",
		reason.SelfApproval:      "You can't approve what your own run asks. Somebody else has to.",
		reason.PrincipalVoted:    "The person in whose place you act has decided already.",
		reason.WrongChat:         "This request was never shown in this chat, so nothing was counted.",
		reason.AnotherDigest:     "This button belongs to another request, so nothing was counted. Use the newest message.",
		reason.ChoiceUnfit:       "That is no answer to what is asked, so nothing was counted.",
		reason.AlreadyVoted:      "You have said so already. It counts once.",
		reason.OlderVote:         "You have decided otherwise since. The newer one counts.",
		reason.BeforeRequest:     "That was said before this was asked. Look at it, and say it again.",
		reason.RequestApproved:   "Too late: this is approved already.",
		reason.RequestDenied:     "Too late: this is denied already.",
		reason.RequestAnswered:   "Too late: this is answered already.",
		reason.RequestExpired:    "Too late: the time to decide was up.",
		reason.RequestWithdrawn:  "Too late: the run is over, nobody waits for this.",
		reason.RequestSuperseded: "Too late: a newer request has taken the place of this one.",
	},

	WhichOne: "It is not clear which request you mean. Write one of these:",

	Reminder:  "Still waiting for you: %s. Decide by %s.",
	Escalated: "Nobody has decided yet, so you are asked too: %s. Decide by %s.",

	LinkDone:   "This account is linked to %s now.",
	LinkFailed: "This code is not valid, or its time is up. Ask for another one.",
}
