// Package words has all that the platform says to people about requests, in English and in Russian: buttons, headings, and
// a sentence for each way in which a request ends or a vote does not count.
//
// Texts are plain: a channel escapes them. %s and %d stand in both languages in the same order, as a test says.
//
// The package is pure.
package words

import "time"

// Words are those of one language.
type Words struct {
	// Buttons.
	Approve, Deny, DenyWithReason string
	OwnAnswer                     string // opens a form for an answer in other words
	Dismiss                       string // ends a question without an answer

	// A form for a text, and what Telegram asks for a reply with.
	ReasonTitle, ReasonLabel, AnswerTitle, AnswerLabel, Send, Cancel string

	// Headings.
	ApprovalWanted, AnswerWanted                                            string
	Arguments, AgentSays, Risk, Links, Options, Votes, Outcome, Issue, Code string
	DecideBy                                                                string // %s: the time
	Quorum                                                                  string // %d of those who must say yes
	Cut                                                                     string // stands where a text was too long
	NotChecked                                                              string // beside what the agent says
	OwnWords                                                                string // a question may be answered so

	// Whose work it is: repository and issue, stage, agent's role, who started it.
	Context string

	// A vote in a list, by its choice.
	Choices map[string]string
	InPlace string // "%s for %s": a deputy and whose place it is

	// How a request ended, by its state. Approved, denied and answered have %s, the people.
	Ended map[string]string
	// Why it ended where no person decided, by the reason.
	Because map[string]string
	// Why a vote does not count, by the reason.
	Refused map[string]string

	Reminder  string // %s: the title, %s: the time by which it must be decided
	Escalated string // the same, for the next step of a ladder

	// Linking a chat account.
	LinkHow    string // %s: the command or page
	LinkDone   string // %s: the login
	LinkFailed string
}

// In returns the words of a language: "ru" is Russian, everything else English.
func In(lang string) *Words {
	if lang == "ru" {
		return &russian
	}
	return &english
}

// When writes a time as all messages do.
func When(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
