package words

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
		"not_linked":         "This account is linked to nobody yet, so it does not count here. Link it first.",
		"agent_vote":         "Programs can't decide. A person has to.",
		"not_permitted":      "You are not among those who may decide this.",
		"self_approval":      "You can't approve what your own run asks. Somebody else has to.",
		"principal_voted":    "The person in whose place you act has decided already.",
		"wrong_chat":         "This request was never shown in this chat, so nothing was counted.",
		"another_digest":     "This button belongs to another request, so nothing was counted. Use the newest message.",
		"choice_unfit":       "That is no answer to what is asked, so nothing was counted.",
		"already_voted":      "You have said so already. It counts once.",
		"older_vote":         "You have decided otherwise since. The newer one counts.",
		"request_approved":   "Too late: this is approved already.",
		"request_denied":     "Too late: this is denied already.",
		"request_answered":   "Too late: this is answered already.",
		"request_expired":    "Too late: the time to decide was up.",
		"request_withdrawn":  "Too late: the run is over, nobody waits for this.",
		"request_superseded": "Too late: a newer request has taken the place of this one.",
	},

	WhichOne: "It is not clear which request you mean. Write one of these:",

	Reminder:  "Still waiting for you: %s. Decide by %s.",
	Escalated: "Nobody has decided yet, so you are asked too: %s. Decide by %s.",

	LinkDone:   "This account is linked to %s now.",
	LinkFailed: "This code is not valid, or its time is up. Ask for another one.",
}
