package approval

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
)

// For returns the terms for requests for an action by agents of a role: those of the first rule that fits, in the order
// of the policies, so a project's comes before the process's. nil means that no rule fits: nobody can allow the action,
// so don't offer it. Language, zone, quiet hours and deputies come from the first policy that has them.
func For(action, role string, policies ...*Policy) *Terms {
	var whole Policy
	var from *Policy
	var rule Rule
	for _, p := range policies {
		if p == nil {
			continue
		}
		whole.Lang, whole.Zone, whole.Quiet = cmp.Or(whole.Lang, p.Lang), cmp.Or(whole.Zone, p.Zone), cmp.Or(whole.Quiet, p.Quiet)
		if len(whole.Deputies) == 0 {
			whole.Deputies = p.Deputies
		}
		if i := slices.IndexFunc(p.Rules, func(r Rule) bool { return r.fits(action, role) }); i >= 0 && from == nil {
			from, rule = p, p.Rules[i]
		}
	}
	if from == nil {
		return nil
	}
	t := from.terms(rule)
	t.Lang, t.Zone = cmp.Or(whole.Lang, "en"), whole.Zone
	if !rule.Urgent {
		t.Quiet = whole.Quiet
	}
	for _, d := range whole.Deputies {
		if len(d.Actions) == 0 || anyFits(d.Actions, action) {
			t.Deputies = append(t.Deputies, d.stand(whole.Zone))
		}
	}
	return t
}

// Offers reports whether some rule fits an action by agents of a role, and whether the first one lets them do it
// freely: For without the terms.
func Offers(action, role string, policies ...*Policy) (fits, free bool) {
	for _, p := range policies {
		if p == nil {
			continue
		}
		for i := range p.Rules {
			if p.Rules[i].fits(action, role) {
				return true, p.Rules[i].Free
			}
		}
	}
	return false, false
}

func (p *Policy) terms(r Rule) *Terms {
	t := &Terms{
		Free: r.Free, Who: p.who(r.Who), Quorum: cmp.Or(r.Quorum, 1), Veto: r.Veto == nil || *r.Veto, Self: cmp.Or(r.Self, SelfNever),
		Deadline: r.Deadline, Remind: r.Remind, Expiry: cmp.Or(r.Expiry, ExpiryExpire),
		Targets: targets(r.Channels), Fallback: targets(r.Fallback),
	}
	if len(t.Targets) == 0 {
		t.Targets = []Target{{Channel: All}}
	}
	for _, s := range r.Escalate {
		t.Ladder = append(t.Ladder, Rung{After: s.After, Who: p.who(s.Who), Targets: targets(s.Channels)})
	}
	return t
}

// who is w with teams replaced by their logins.
func (p *Policy) who(w Who) Who {
	logins := slices.Clone(w.Logins)
	for _, team := range w.Teams {
		logins = append(logins, p.Teams[team]...)
	}
	return Who{Logins: logins, Roles: w.Roles, Approvers: w.Approvers}
}

func (r *Rule) fits(action, role string) bool {
	return anyFits(r.Actions, action) && (len(r.Roles) == 0 || slices.Contains(r.Roles, role))
}

// anyFits reports whether one of the patterns fits: the action itself, or its beginning and a star.
func anyFits(patterns []string, action string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		begin, open := strings.CutSuffix(pattern, "*")
		return open && strings.HasPrefix(action, begin) || pattern == action
	})
}

// targets reads "slack" and "slack:C0123".
func targets(channels []string) (all []Target) {
	for _, c := range channels {
		channel, target, _ := strings.Cut(c, ":")
		all = append(all, Target{Channel: channel, Target: target})
	}
	return all
}

// stand is the deputy with the days as times in the zone. Check has read them.
func (d Deputy) stand(zone string) Stand {
	where, err := time.LoadLocation(zone)
	if err != nil {
		where = time.UTC
	}
	since, _ := time.ParseInLocation(time.DateOnly, d.Since, where)
	until, _ := time.ParseInLocation(time.DateOnly, d.Until, where)
	return Stand{For: d.For, By: d.By, Since: since.UTC(), Until: until.AddDate(0, 0, 1).UTC()}
}

// login is a person in a policy: "alice", or "alice@583231" with GitHub's number.
type login string

func (l login) account() events.GitHubAccount {
	name, number, _ := strings.Cut(string(l), "@")
	id, _ := strconv.ParseInt(number, 10, 64) // Check has read it
	return events.GitHubAccount{Login: name, ID: id}
}

// is reports whether the login means the account.
func (l login) is(a events.GitHubAccount) bool {
	want := l.account()
	if want.ID != 0 {
		return want.ID == a.ID
	}
	return want.Login != "" && strings.EqualFold(want.Login, a.Login)
}
