// Package words has what the platform tells people about requests, in English and in Russian: a sentence for each way
// in which one ends or a vote does not count, and the reminders. Buttons and headings are with the channels.
//
// Texts are plain: a channel escapes them. A test checks that %s and %d have the same order in both languages.
//
// The package is pure.
package words

import "time"

// Words are those of one language.
type Words struct {
	Context string // whose work it is: repository, issue, stage, agent's role, who started it
	InPlace string // a deputy and the person they stand in for

	// How a request ended, by its state. Approved, denied and answered have %s, the people.
	Ended map[string]string
	// Why it ended without a person's decision, by the reason.
	Because map[string]string
	// Why a vote does not count, by the reason.
	Refused map[string]string

	WhichOne string // above a list of commands, when it is not clear which request one means

	Reminder  string // the title, and the time by which it must be decided
	Escalated string // the same, for the next step of a ladder

	// Linking a chat account.
	LinkDone   string // the login
	LinkFailed string
}

// In returns the words of a language: "ru" is Russian, everything else English.
func In(lang string) *Words {
	if lang == "ru" {
		return &russian
	}
	return &english
}

// When writes a time as these texts have it.
func When(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
