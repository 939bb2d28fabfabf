package approval

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/yamlfile"
)

const goodPolicy = `lang: en
zone: Europe/Berlin
quiet: {from: "22:00", until: "07:00", days: [sat]}
teams:
  release: [bob, carol@3]
deputies:
  - {for: bob, by: dave, since: 2026-12-20, until: 2026-12-20, actions: ["step:*"]}
rules:
  - actions: ["step:*"]
    roles: [dev]
    who: {logins: [erin], teams: [release], approvers: [desk]}
    quorum: 4
    self: alone
    deadline: 24h
    remind: [2h, 8h]
    escalate:
      - {after: 12h, who: {roles: [owner]}, channels: ["telegram:-100"]}
    expiry: deny
    channels: [slack, "slack:C1", "http:desk"]
    fallback: [github]
  - actions: [question]
    who: {roles: [maintainer]}
    deadline: 72h
`

func checked(text string) error {
	p := &Policy{}
	f, err := yamlfile.Read([]byte(text), p)
	if err != nil {
		return err
	}
	p.Check(f, []string{"dev", "qa"})
	return f.Err()
}

func TestCheckSaysWhatIsWrongAndWhere(t *testing.T) {
	if err := checked(goodPolicy); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"lang: en", "lang: de", `line 1: lang "de": want en or ru`},
		{"Europe/Berlin", "Berlin", `line 2: zone "Berlin": want a name`},
		{`until: "07:00"`, `until: "22:00"`, "line 3: quiet from 22:00 until 22:00 never ends"},
		{`until: "07:00"`, `until: "24:30"`, "line 3: quiet from \"22:00\" until \"24:30\": want two times of day"},
		{"days: [sat]", "days: [mon, tue, wed, thu, fri, sat, sun]", "line 3: quiet on every day never ends"},
		{"days: [sat]", "days: [sabbath]", `line 3: quiet day "sabbath"`},
		{"[bob, carol@3]", "[]", "line 5: team release has nobody"},
		{"[bob, carol@3]", `[bob, "codex[bot]"]`, "line 5: codex[bot] is a program: an agent can't decide"},
		{"[bob, carol@3]", `["bob smith"]`, `line 5: "bob smith" is no login`},
		{"[bob, carol@3]", "[bob, Bob]", "line 5: Bob stands twice"},
		{"release: [bob", "Release!: [bob", `line 5: team "Release!": want lower-case`},
		{"by: dave", "by: Bob", "line 7: Bob can't be their own deputy"},
		{"since: 2026-12-20", "since: tomorrow", `line 7: deputy dave since "tomorrow"`},
		{"until: 2026-12-20", "until: 2026-12-19", "line 7: deputy dave: until 2026-12-19 is before since 2026-12-20"},
		{`actions: ["step:*"]}`, `actions: ["*:step"]}`, `line 7: action "*:step": want one such as`},
		{`- actions: ["step:*"]`, `- actions: []`, "line 9: the rule names no actions"},
		{"roles: [dev]", "roles: [devil]", `line 10: role "devil" of agents does not exist: want one of dev, qa`},
		{"who: {logins: [erin], teams: [release], approvers: [desk]}\n", "who: {}\n", "line 9: the rule says nobody who may decide"},
		{"teams: [release]", "teams: [core]", `line 11: team "core" does not exist`},
		{"approvers: [desk]", "approvers: [The Desk]", `line 11: approver "The Desk"`},
		{"roles: [maintainer]", "roles: [dev]", "line 22: dev is a role of agents: an agent can't decide"},
		{"roles: [maintainer]", "roles: [king]", `line 22: role "king": want owner, admin, maintainer or reader`},
		{"who: {roles: [owner]}", "who: {}", ""},
		{"who: {roles: [owner]}, channels: [\"telegram:-100\"]", "who: {}", "line 17: escalation after 12h0m0s brings in nobody and no channel"},
		{"quorum: 4", "quorum: 0", "line 12: quorum is 0: want at least 1"},
		{"who: {roles: [owner]}, channels", "channels", ""},
		{"quorum: 4", "quorum: 5", ""}, // an owner may come to it
		{"quorum: 4", "quorum: many", "line 12: want a whole number, not many"},
		{"self: alone", "self: maybe", `line 13: self "maybe": want never, alone or yes`},
		{"deadline: 24h", "deadline: 0s", "line 14: deadline is 0s"},
		{"deadline: 24h", "deadline: 10000h", "line 14: deadline is 10000h0m0s: want more than 0"},
		{"deadline: 24h", "deadline: 8h", "line 15: reminder after 8h0m0s: want each later than the one before, and before the deadline of 8h0m0s"},
		{"[2h, 8h]", "[8h, 2h]", "line 15: reminder after 2h0m0s"},
		{"after: 12h", "after: 24h", "line 17: escalation after 24h0m0s: want each later"},
		{"expiry: deny", "expiry: approve", `line 18: expiry "approve": want expire or deny`},
		{"[slack, \"slack:C1\", \"http:desk\"]", "[signal, http]", `line 19: channel "signal": want one of github, telegram`},
		{"[slack, \"slack:C1\", \"http:desk\"]", `["slack:", http]`, `line 19: channel "slack:"`},
		{`, "http:desk"]`, `, "http:other"]`, "line 11: approver desk is never asked: name the channel http:desk"},
		{`, "http:desk"]`, `, http]`, ""},
		{"fallback: [github]", "fallback: [all]", `line 20: channel "all"`},
		{"fallback: [github]", "fallback: [slack]", `line 20: channel "slack" stands twice`},
		{"actions: [question]", `actions: ["step:a"]`, ""},
		{"    roles: [dev]\n", "", ""},
		{"actions: [question]\n", "actions: [\"step:a\"]\n    roles: [dev]\n", "line 21: the rule is never reached: rule 1 fits all that it does"},
		{"deadline: 72h", "deadline: 72h\n    quorum: 2", "line 24: quorum is 2: a question takes one answer"},
		{"deadline: 72h", "deadline: 72h\n    colour: red", "line 24: the key colour is not known here"},
	} {
		changed := strings.Replace(goodPolicy, c.old, c.new, 1)
		if changed == goodPolicy {
			t.Fatalf("%q is not in the policy", c.old)
		}
		if err := fmt.Sprint(checked(changed)); c.want == "" && err != "<nil>" || !strings.Contains(err, c.want) {
			t.Errorf("%s → %s:\n got %s\nwant %s", c.old, c.new, err, c.want)
		}
	}
	named := strings.Replace(goodPolicy, "who: {roles: [owner]}", "who: {logins: [frank]}", 1)
	if err := checked(strings.Replace(named, "quorum: 4", "quorum: 5", 1)); err != nil {
		t.Error(err)
	}
	if err := checked(strings.Replace(named, "quorum: 4", "quorum: 6", 1)); err == nil || !strings.Contains(err.Error(), "line 12: quorum is 6, and 5 may decide") {
		t.Errorf("got %v", err)
	}
}

func TestForTakesTheProjectsRulesFirst(t *testing.T) {
	process, project := parse(t, goodPolicy), parse(t, "lang: ru\nrules:\n  - {actions: [\"step:deploy\"], who: {logins: [frank]}, deadline: 1h, urgent: true}\n")
	if got := For("tool:x", "dev", nil, process); got != nil {
		t.Errorf("what no rule fits has terms: %+v", got)
	}
	if got := For("step:deploy", "qa", process); got != nil {
		t.Errorf("a rule for another role has terms: %+v", got)
	}
	day := time.Date(2026, 12, 19, 23, 0, 0, 0, time.UTC) // midnight in Berlin
	deputies := []Stand{{For: "bob", By: "dave", Since: day, Until: day.AddDate(0, 0, 1)}}
	want := &Terms{
		Lang: "ru", Zone: "Europe/Berlin", Who: Who{Logins: []string{"frank"}}, Quorum: 1, Veto: true, Self: SelfNever, Deadline: time.Hour,
		Expiry: ExpiryExpire, Targets: []Target{{Channel: All}}, Deputies: deputies,
	}
	if diff := cmp.Diff(want, For("step:deploy", "qa", project, process)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = &Terms{
		Lang: "en", Zone: "Europe/Berlin", Who: Who{Logins: []string{"erin", "bob", "carol@3"}, Approvers: []string{"desk"}}, Quorum: 4, Veto: true, Self: SelfAlone,
		Deadline: 24 * time.Hour, Remind: []time.Duration{2 * time.Hour, 8 * time.Hour},
		Ladder: []Rung{{After: 12 * time.Hour, Who: Who{Roles: []string{"owner"}}, Targets: []Target{{Channel: Telegram, Target: "-100"}}}},
		Expiry: ExpiryDeny, Quiet: process.Quiet, Targets: []Target{{Channel: Slack}, {Channel: Slack, Target: "C1"}, {Channel: HTTP, Target: "desk"}}, Fallback: []Target{{Channel: GitHub}}, Deputies: deputies,
	}
	if diff := cmp.Diff(want, For("step:other", "dev", nil, process)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Quiet hours end, in every zone and when clocks are changed.
func TestQuietHoursEnd(t *testing.T) {
	for _, c := range []struct {
		zone, from, until string
		days              []string
		at, want          string
	}{
		{"Europe/Berlin", "22:00", "07:00", nil, "2026-11-02T20:59:00Z", "2026-11-02T20:59:00Z"},
		{"Europe/Berlin", "22:00", "07:00", nil, "2026-11-02T21:00:00Z", "2026-11-03T06:00:00Z"},
		{"Europe/Berlin", "22:00", "07:00", nil, "2026-11-03T05:59:59Z", "2026-11-03T06:00:00Z"},
		{"Europe/Berlin", "22:00", "07:00", []string{"sat", "sun"}, "2026-11-06T21:00:00Z", "2026-11-09T06:00:00Z"},
		{"Europe/Berlin", "22:00", "02:30", nil, "2027-03-27T23:00:00Z", "2027-03-28T01:30:00Z"}, // there is no 02:30 that night
		{"Europe/Berlin", "22:00", "07:00", nil, "2026-10-24T21:00:00Z", "2026-10-25T06:00:00Z"}, // the hour from 2 to 3 comes twice
		{"America/New_York", "12:00", "13:00", nil, "2026-11-02T17:30:00Z", "2026-11-02T18:00:00Z"},
		{"", "", "", []string{"mon"}, "2026-11-02T12:00:00Z", "2026-11-03T00:00:00Z"},
		{"Nowhere/Gone", "00:00", "23:59", nil, "2026-11-02T12:00:00Z", "2026-11-02T12:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		terms := Terms{Zone: c.zone, Quiet: &Quiet{From: c.from, Until: c.until, Days: c.days}}
		if got := terms.Loud(at).Format(time.RFC3339); got != c.want {
			t.Errorf("%s, quiet from %s until %s %v: at %s people are told at %s, want %s", c.zone, c.from, c.until, c.days, c.at, got, c.want)
		}
	}
}
