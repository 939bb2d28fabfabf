package page

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// Words are all that pages say, in one language. A test holds that no language lacks any.
type Words struct {
	Tag      language.Tag
	Language string // its own name for itself

	// The frame.
	Skip, Navigation, Runs, SignOut, SignedInAs, AsAPI string

	// Signing in.
	SignIn, SignInWith, SignInLead, SignInMissing, SignInHint string

	// Lists.
	All, Active, WaitingRuns, FailedRuns, Done, Filter, FilterHint, Apply, Clear, Older, Newest       string
	NoRuns, NoRunsLead, NothingFound, NothingFoundLead                                                string
	Issue, Stage, Role, Model, By, Cost, Took, Created, Pull, Project, State, Engine, Effort, Attempt string
	Kinds, States, WaitsFor, Steps                                                                    map[string]string

	// A run.
	Timeline, Log, Details, Asked, Task, Summary, Progress, Why, Money, Tokens, Time, In, Cached, Out          string
	Unpriced, NoLog, NoLogLead, First, Previous, Next, Last, Search, SearchLog, SearchedTo, Lines, LogLine     string
	Follow, NewLines, Namespace, Process, Prompt, Base, Head, Deadline, Heartbeat, OpenIssue, OpenPull, NoPull string
	AsOf, Because, Nothing, Raw, StaleLive, LostLive, OverLive, Resume                                         string

	// An issue.
	Profile, IsClosed, NotHeard, Drift, HeldBack, FollowsThen, WorksFrom, Leaves, NextSteps, NoEffect, Unhandled, DeadLetter, Timer, NotYet, Happened, NothingHappened string
	OtherSteps, Stages                                                                                                                                                 string
	Effects, Standings, Reviews                                                                                                                                        map[string]string

	// What needs people.
	Home, NeedsYou, NothingNeedsYou, NothingNeedsYouLead, AtWork, FailedOfLate, DoneOfLate, Question, Decision, AgentSays, Risk, DecideBy string
	YourWords, YourReason, SendAnswer, NoAnswer, Approve, Deny, VoteStored                                                                string
	Choices                                                                                                                               map[string]string

	// Commands.
	Orders, Does, OrderStates                                                               map[string]string // by command, what it does, its state
	StopRun, RunAgain, ReviseRun, WhatComes, LabelsOn, LabelsOff, PlaceInQueue, YourChanges string
	DoIt, Leave, LookAgain                                                                  string

	// Tokens.
	AccessTokens, TokensLead, NoTokens, TokenMade, TokenMadeLead, MakeToken, Name, ScopesOf, ProjectsOf, Days, Revoke, GoodUntil, UsedLast, Never string
	Scopes                                                                                                                                        map[string]string

	// Problems.
	Problem, WhatToDo, BackHome, Status, LeastRole string

	Units        map[string]string // d, h, min, s
	Ago          string            // with a duration
	Now          string            // less than a minute ago
	Count, Calls Plural            // of lines, of model calls
}

// A Plural is a text about a number, by the number's form in the language. https://cldr.unicode.org/index/cldr-spec/plural-rules
type Plural map[plural.Form]string

// catalogue has the words by the code of their language, and Languages the codes.
var catalogue = map[string]*Words{"en": &english, "ru": &russian}

// Languages are those that pages speak; the first is for whoever says nothing.
var Languages = []string{"en", "ru"}

var matcher = language.NewMatcher([]language.Tag{language.English, language.Russian})

// Speaks reports whether pages speak the language with that code.
func Speaks(code string) bool { return catalogue[code] != nil }

// Match is the language that fits a browser's Accept-Language best.
func Match(accept string) string {
	_, i := language.MatchStrings(matcher, accept)
	return Languages[i]
}

// Number is the text about n.
func (w *Words) Number(p Plural, n int64) string {
	form := plural.Cardinal.MatchPlural(w.Tag, int(n%1_000_000), 0, 0, 0, 0)
	text, found := p[form]
	if !found {
		text = p[plural.Other]
	}
	return fmt.Sprintf(text, n)
}

// Duration is a time span in the two largest units.
func (w *Words) Duration(d time.Duration) string {
	units := []struct {
		name string
		is   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}}
	var said []string
	for i, u := range units {
		n := int64(d / u.is)
		d %= u.is
		if n > 0 || i == len(units)-1 && len(said) == 0 {
			said = append(said, fmt.Sprintf("%d %s", n, w.Units[u.name]))
		}
		if len(said) == 2 || len(said) == 1 && n == 0 {
			break
		}
	}
	return strings.Join(said, " ")
}

// Since says how long ago a time was.
func (w *Words) Since(now, at time.Time) string {
	d := now.Sub(at)
	if d < time.Minute {
		return w.Now
	}
	return fmt.Sprintf(w.Ago, w.Duration(d.Truncate(time.Minute)))
}

// Of is a word of a map, or the key itself: processes have stages and reasons of their own.
func (w *Words) Of(words map[string]string, key any) string {
	text := fmt.Sprint(key)
	if word, found := words[text]; found {
		return word
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, "_", " "), ".", " ")
}
