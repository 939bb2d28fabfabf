package approval

import (
	_ "time/tzdata" // zones are the same on every machine

	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/yamlfile"
)

// maxDeadline is how long a request may stay open.
const maxDeadline = 90 * 24 * time.Hour

var (
	loginForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(@[1-9][0-9]{0,17})?$`)
	nameForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`) // of teams and HTTP approvers
	patternForm  = regexp.MustCompile(`^([a-z0-9_:./-]+\*?|\*)$`)
	allowedDays  = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	allowedSelf  = []string{"", SelfNever, SelfAlone, SelfYes}
	allowedEnds  = []string{"", ExpiryExpire, ExpiryDeny}
	allowedLangs = []string{"", "en", "ru"}
)

// Check reports to the file the faults of the policy that is at the path: what has the wrong form, and what could never
// be met, such as a quorum of more people than are named. agents are the roles that agents may have; nil if the file
// does not say.
func (p *Policy) Check(f *yamlfile.File, agents []string, path ...any) {
	c := checker{f: f, p: p, agents: agents, path: path}
	if !slices.Contains(allowedLangs, p.Lang) {
		c.bad("lang %q: want en or ru", []any{"lang"}, p.Lang)
	}
	if _, err := time.LoadLocation(p.Zone); err != nil || p.Zone == "Local" {
		c.bad("zone %q: want a name such as Europe/Berlin", []any{"zone"}, p.Zone)
	}
	if p.Quiet != nil {
		c.quiet(*p.Quiet)
	}
	for _, team := range slices.Sorted(maps.Keys(p.Teams)) {
		at := []any{"teams", team}
		if !nameForm.MatchString(team) {
			c.bad("team %q: want lower-case letters, digits and inner hyphens", at, team)
		}
		if len(p.Teams[team]) == 0 {
			c.bad("team %s has nobody", at, team)
		}
		c.logins(p.Teams[team], at...)
	}
	for i, d := range p.Deputies {
		c.deputy(d, "deputies", i)
	}
	for i, r := range p.Rules {
		c.rule(i, r)
	}
}

// checker is one Check under way.
type checker struct {
	f      *yamlfile.File
	p      *Policy
	agents []string
	path   []any
}

func (c *checker) bad(format string, at []any, args ...any) {
	c.f.Bad(slices.Concat(c.path, at), format, args...)
}

func (c *checker) quiet(q Quiet) {
	at := []any{"quiet"}
	if q.From == "" && q.Until == "" && len(q.Days) == 0 {
		c.bad("quiet has neither from and until nor days", at)
	}
	if q.From != "" || q.Until != "" {
		from, until := minute(q.From), minute(q.Until)
		if from < 0 || until < 0 {
			c.bad("quiet from %q until %q: want two times of day such as 22:00", at, q.From, q.Until)
		} else if from == until {
			c.bad("quiet from %s until %s never ends", at, q.From, q.Until)
		}
	}
	seen := map[string]bool{}
	for i, day := range q.Days {
		if !slices.Contains(allowedDays, day) {
			c.bad("quiet day %q: want one of %s", []any{"quiet", "days", i}, day, strings.Join(allowedDays, ", "))
		}
		seen[day] = true
	}
	if len(seen) >= len(allowedDays) {
		c.bad("quiet on every day never ends", at)
	}
}

func (c *checker) deputy(d Deputy, at ...any) {
	c.logins([]string{d.For, d.By}, at...)
	if login(d.For).is(login(d.By).account()) {
		c.bad("%s can't be their own deputy", at, d.By)
	}
	since, errSince := time.Parse(time.DateOnly, d.Since)
	until, errUntil := time.Parse(time.DateOnly, d.Until)
	switch {
	case errSince != nil || errUntil != nil:
		c.bad("deputy %s since %q until %q: want two days such as 2026-12-20", at, d.By, d.Since, d.Until)
	case until.Before(since):
		c.bad("deputy %s: until %s is before since %s", at, d.By, d.Until, d.Since)
	}
	c.patterns(d.Actions, at...)
}

// logins checks people by name.
func (c *checker) logins(logins []string, at ...any) {
	seen := map[string]bool{}
	for _, l := range logins {
		switch name := strings.ToLower(l); {
		case strings.Contains(name, "[bot]"):
			c.bad("%s is a program: an agent can't decide", at, l)
		case !loginForm.MatchString(l):
			c.bad("%q is no login", at, l)
		case seen[name]:
			c.bad("%s stands twice", at, l)
		default:
			seen[name] = true
		}
	}
}

func (c *checker) patterns(patterns []string, at ...any) {
	for _, p := range patterns {
		if !patternForm.MatchString(p) {
			c.bad("action %q: want one such as tool:secret_sync, its beginning and a star, or question", at, p)
		}
	}
}

func (c *checker) rule(i int, r Rule) {
	at := func(steps ...any) []any { return append([]any{"rules", i}, steps...) }
	if len(r.Actions) == 0 {
		c.bad("the rule names no actions", at())
	}
	c.patterns(r.Actions, at("actions")...)
	for _, role := range r.Roles {
		if c.agents != nil && !slices.Contains(c.agents, role) {
			c.bad("role %q of agents does not exist: want one of %s", at("roles"), role, strings.Join(c.agents, ", "))
		}
	}
	if before := c.hidden(i, r); before >= 0 {
		c.bad("the rule is never reached: rule %d fits all that it does", at(), before+1)
	}
	if r.Free {
		c.free(r, at)
		return
	}
	if r.Who.isEmpty() {
		c.bad("the rule says nobody who may decide", at())
	}
	c.who(r.Who, at("who")...)
	c.quorum(r, at("quorum"))
	if !slices.Contains(allowedSelf, r.Self) {
		c.bad("self %q: want never, alone or yes", at("self"), r.Self)
	}
	if !slices.Contains(allowedEnds, r.Expiry) {
		c.bad("expiry %q: want expire or deny", at("expiry"), r.Expiry)
	}
	c.times(r, at)
	c.channels(r, at)
}

// free checks a rule by which nobody is asked: that is for tools, not for labels that start something, nor for what an
// agent itself does after a yes.
func (c *checker) free(r Rule, at func(...any) []any) {
	for i, action := range r.Actions {
		if !strings.HasPrefix(action, "tool:") {
			c.bad("action %q can't be free: only tools can, such as tool:labels_*", at("actions", i), action)
		}
	}
	if said := (Rule{Actions: r.Actions, Roles: r.Roles, Free: true}); !reflect.DeepEqual(r, said) {
		c.bad("the rule is free, so nobody is asked: it can't say who, how many or by when", at())
	}
}

// hidden is an earlier rule that matches everything this one does; -1 = none.
func (c *checker) hidden(i int, r Rule) int {
	return slices.IndexFunc(c.p.Rules[:i], func(before Rule) bool {
		for _, action := range r.Actions {
			if !anyFits(before.Actions, action) {
				return false
			}
		}
		if len(before.Roles) == 0 {
			return len(r.Actions) > 0
		}
		return len(r.Roles) > 0 && !slices.ContainsFunc(r.Roles, func(role string) bool { return !slices.Contains(before.Roles, role) })
	})
}

func (c *checker) who(w Who, at ...any) {
	c.logins(w.Logins, at...)
	for _, role := range w.Roles {
		switch {
		case slices.Contains(access.Roles, access.Role(role)):
		case slices.Contains(c.agents, role):
			c.bad("%s is a role of agents: an agent can't decide", at, role)
		default:
			c.bad("role %q: want owner, admin, maintainer or reader", at, role)
		}
	}
	for _, team := range w.Teams {
		if _, ok := c.p.Teams[team]; !ok {
			c.bad("team %q does not exist", at, team)
		}
	}
	for _, a := range w.Approvers {
		if !nameForm.MatchString(a) {
			c.bad("approver %q: want lower-case letters, digits and inner hyphens", at, a)
		}
	}
}

// quorum counts people only if they are named: how many have a role is not known until a request is made.
func (c *checker) quorum(r Rule, at []any) {
	if r.Quorum < 0 || r.Quorum == 0 && c.f.Has(slices.Concat(c.path, at)...) {
		c.bad("quorum is %d: want at least 1", at, r.Quorum)
	}
	people, counted := map[string]bool{}, true
	add := func(w Who) {
		counted = counted && len(w.Roles) == 0
		w = c.p.who(w)
		for _, l := range w.Logins {
			people[strings.ToLower(login(l).account().Login)] = true
		}
		for _, a := range w.Approvers {
			people[approverPrefix+a] = true
		}
	}
	add(r.Who)
	for _, s := range r.Escalate {
		add(s.Who)
	}
	if counted && r.Quorum > len(people) {
		c.bad("quorum is %d, and %d may decide", at, r.Quorum, len(people))
	}
	if r.Quorum > 1 && slices.Equal(r.Actions, []string{"question"}) {
		c.bad("quorum is %d: a question takes one answer", at, r.Quorum)
	}
}

func (c *checker) times(r Rule, at func(...any) []any) {
	if r.Deadline <= 0 || r.Deadline > maxDeadline {
		c.bad("deadline is %s: want more than 0 and at most %s", at("deadline"), r.Deadline, maxDeadline)
	}
	last := time.Duration(0)
	for i, d := range r.Remind {
		if d <= last || d >= r.Deadline {
			c.bad("reminder after %s: want each later than the one before, and before the deadline of %s", at("remind", i), d, r.Deadline)
		}
		last = d
	}
	last = 0
	for i, s := range r.Escalate {
		if s.After <= last || s.After >= r.Deadline {
			c.bad("escalation after %s: want each later than the one before, and before the deadline of %s", at("escalate", i), s.After, r.Deadline)
		}
		last = s.After
		if s.Who.isEmpty() && len(s.Channels) == 0 {
			c.bad("escalation after %s brings in nobody and no channel", at("escalate", i), s.After)
		}
		c.who(s.Who, at("escalate", i, "who")...)
	}
}

func (c *checker) channels(r Rule, at func(...any) []any) {
	seen := map[string]bool{}
	asked := len(r.Channels) == 0
	check := func(list []string, all bool, at []any) {
		for _, name := range list {
			channel, target, named := strings.Cut(name, ":")
			known := slices.Contains(Channels, channel) || all && name == All
			if !known || named && target == "" || len(target) > 200 {
				c.bad("channel %q: want one of %s, with a colon and a chat behind it if it is not the one connected", at, name, strings.Join(Channels, ", "))
			}
			if seen[name] {
				c.bad("channel %q stands twice", at, name)
			}
			seen[name] = true
			asked = asked || name == All || name == HTTP
		}
	}
	check(r.Channels, true, at("channels"))
	check(r.Fallback, false, at("fallback"))
	for i, s := range r.Escalate {
		check(s.Channels, false, at("escalate", i, "channels"))
	}
	for _, a := range r.Who.Approvers {
		if !asked && !seen[approverPrefix+a] {
			c.bad("approver %s is never asked: name the channel %s", at("who"), a, approverPrefix+a)
		}
	}
}

func (w Who) isEmpty() bool {
	return len(w.Logins)+len(w.Roles)+len(w.Teams)+len(w.Approvers) == 0
}
