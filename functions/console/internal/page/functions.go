package page

import (
	"cmp"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/functions/console/internal/sgr"
)

var functions = template.FuncMap{
	"static":   func(name string) string { return "/static/" + names[name] },
	"line":     sgr.HTML,
	"dollars":  dollars,
	"tokens":   tokens,
	"query":    func(name, value string) template.URL { return template.URL(Query(name, value)) }, // encoded there
	"stamp":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"clock":    func(t time.Time) string { return t.UTC().Format("15:04:05") },
	"day":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" },
	"short":    func(s string) string { return s[:min(8, len(s))] },
	"outside":  outside,
	"person":   person,
	"inc":      func(i int) int { return i + 1 },
	"tone":     tone,
	"issue":    IssuePath,
	"markof":   markOf,
	"standing": func(s api.IssueStageState) string { return tone(api.State(markOf(s))) },
	"since":    func(a, b time.Time) time.Duration { return max(0, b.Sub(a)) },
	"seconds":  func(n int64) time.Duration { return time.Duration(n) * time.Second },
}

// dollars of millionths, to the cent; to the hundredth of one below ten cents.
func dollars(micro int64) string {
	switch {
	case micro == 0:
		return "$0"
	case micro < 100_000:
		return fmt.Sprintf("$%.4f", float64(micro)/1e6)
	}
	return fmt.Sprintf("$%.2f", float64(micro)/1e6)
}

// tokens is a number as people read it: 950, 12.3k, 1.2M.
func tokens(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprint(n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1fk", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1fM", float64(n)/1e6)
}

// outside is a link to elsewhere: http or https, else none.
func outside(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return ""
	}
	return address
}

// person is an actor of the audit as people call it.
func person(actor string) string {
	kind, name, found := strings.Cut(actor, ":")
	switch {
	case found && kind == "github":
		return "@" + name
	case found && kind == "agent":
		return kind
	}
	return actor
}

// tone is the colour that a state has, by what it asks of people.
func tone(s api.State) string {
	return cmp.Or(map[api.State]string{
		"running": "work", "starting": "work", "requested": "rest", "queued": "rest", "waiting": "ask",
		"succeeded": "good", "failed": "bad", "timed_out": "bad", "cancelled": "rest",
	}[s], "rest")
}

// markOf is the state of a run whose mark and colour a stage's standing has.
func markOf(s api.IssueStageState) string {
	return cmp.Or(map[api.IssueStageState]string{
		api.IssueStageStateActive: "running", api.IssueStageStateWaiting: "waiting", api.IssueStageStateReview: "waiting", api.IssueStageStateApproved: "succeeded",
		api.IssueStageStateDone: "succeeded", api.IssueStageStateFailed: "failed", api.IssueStageStateStopped: "cancelled", api.IssueStageStateSuperseded: "cancelled",
	}[s], "queued")
}
