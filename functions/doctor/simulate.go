package main

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// A simulation is what an event would do.
type simulation struct {
	Issue    string          `json:"issue"`
	Event    string          `json:"event"`
	By       string          `json:"by"`
	Role     access.Role     `json:"role,omitempty"` // in the project; "" = none
	Does     string          `json:"does"`           // starts, stops, changes, nothing
	Reason   string          `json:"reason,omitempty"`
	Why      string          `json:"why,omitempty"`
	Advice   string          `json:"advice,omitempty"`
	Emits    []emitted       `json:"emits"`
	Audit    []events.Record `json:"audit"`
	Labels   []string        `json:"labels,omitempty"`     // of the issue: "+state:in-review", "-run:dev"
	Pull     []string        `json:"pullLabels,omitempty"` // of the pull request
	Comment  []string        `json:"comment,omitempty"`    // lines of the status comment that would differ, each behind + or -
	Position int             `json:"position,omitempty"`   // of a run that would start, among those that wait for a place; 0 = it would have one
}

type emitted struct {
	Type      string         `json:"type"`
	NotBefore time.Time      `json:"notBefore,omitzero"`
	Data      events.Payload `json:"data"`
}

// A happening is what a person is imagined to do.
type happening struct{ what, argument, login string }

// happenings are the forms of events that can be simulated, by their first word or words.
var happenings = regexp.MustCompile(`(?s)^\s*(label|review|comment|close|reopen|delete|transfer|close-pull|reopen-pull|merge)(?:\s+(.*?))?\s+by\s+@?([A-Za-z0-9][A-Za-z0-9_-]*(?:\[bot\])?)\s*$`)

const forms = "want 'label run:dev by bob', 'review approved by bob', 'review changes_requested by bob', 'comment /approve by bob', " +
	"or close, reopen, delete, transfer, close-pull, reopen-pull or merge by bob"

func parseHappening(text string) (happening, error) {
	m := happenings.FindStringSubmatch(text)
	if m == nil {
		return happening{}, fmt.Errorf("no event is named by %q: %s", text, forms)
	}
	h := happening{m[1], strings.Trim(m[2], `"`), m[3]}
	state, review := reviews[strings.ToLower(strings.ReplaceAll(h.argument, " ", "_"))]
	switch {
	case h.what == "review" && !review:
		return h, fmt.Errorf("%q is no review that decides anything: %s", h.argument, forms)
	case h.what == "review":
		h.argument = state
	case (h.what == "label" || h.what == "comment") && h.argument == "":
		return h, fmt.Errorf("%s what? %s", h.what, forms)
	}
	return h, nil
}

var reviews = map[string]string{
	"approved": "approved", "approve": "approved", "approves": "approved",
	"changes_requested": "changes_requested", "request_changes": "changes_requested",
}

// input is the happening as a decision takes it.
func (e happening) input(item *stage.Item, by stage.Person, now time.Time) stage.Input {
	switch e.what {
	case "label":
		return item.IfLabeled(e.argument, by, now)
	case "review":
		return item.IfReviewed(e.argument, by, now)
	case "comment":
		return item.IfCommented(e.argument, by, now)
	case "close-pull":
		return item.IfPullChanged("closed", by, now)
	case "reopen-pull":
		return item.IfPullChanged("reopened", by, now)
	case "merge":
		return item.IfPullChanged("merged", by, now)
	}
	return item.IfEdited(map[string]string{"close": "closed", "reopen": "reopened", "delete": "deleted", "transfer": "transferred"}[e.what], by, now)
}

// simulate prints what an event would do, and does nothing.
func (h *handler) simulate(ctx context.Context, name, event string) error {
	e, err := parseHappening(event)
	if err != nil {
		return err
	}
	home, err := h.find(ctx, name)
	if err != nil {
		return err
	}
	var tickets []approval.Ticket
	if e.what == "comment" {
		if tickets, err = h.db.Requests(ctx, home.Repository, home.Issue); err != nil {
			return err
		}
	}
	var s simulation
	if err := h.db.Look(ctx, func(ctx context.Context, tx *store.Tx) error {
		s, err = simulated(ctx, tx, home, e, tickets)
		return err
	}); err != nil {
		return err
	}
	return h.show(s, s.text())
}

// simulated loads what stage-router loads for the event, and asks what it asks.
func simulated(ctx context.Context, tx *store.Tx, home store.Home, e happening, tickets []approval.Ticket) (simulation, error) {
	item, err := tx.Known(ctx, home, stage.Needs{})
	if err != nil {
		return simulation{}, err
	}
	s := simulation{Issue: events.WorkItem(item.Repository, item.Issue), Event: strings.TrimSpace(e.what + " " + e.argument), By: e.login}
	by := stage.Person{Login: e.login, Bot: strings.HasSuffix(e.login, "[bot]")}
	if item.Project != nil {
		if by, err = tx.Person(ctx, item.Project.ID, e.login); err != nil {
			return s, err
		}
		by.Bot = strings.HasSuffix(e.login, "[bot]")
	}
	if pulls := []string{"review", "close-pull", "reopen-pull", "merge"}; slices.Contains(pulls, e.what) && item.Current().Number == 0 {
		return s, fmt.Errorf("%s has no pull request of an agent, so there is nothing to %s: simulate the label that makes one", s.Issue, e.what)
	}
	if _, votes := approval.ReadCommand(e.argument); e.what == "comment" && (votes || !item.Talk.On) {
		err := s.comment(ctx, tx, e, by, tickets)
		return s, err
	}
	in := e.input(&item, by, tx.Now())
	if item, err = tx.Known(ctx, home, in.Needs(home.Repository.Key, home.Issue)); err != nil {
		return s, err
	}
	if item.Project != nil {
		s.Role = item.Project.SenderRole
	}
	after, d, change, err := stage.Foresee(item, in, tx.Now())
	if err != nil {
		return s, err
	}
	s.decided(d)
	s.changed(e, change)
	if change.Started != nil {
		s.Position, err = position(ctx, tx, after)
	}
	return s, err
}

// decided keeps what would be stored.
func (s *simulation) decided(d events.Decision) {
	s.Emits, s.Audit = make([]emitted, 0, len(d.Emit)), slices.Concat([]events.Record{}, d.Audit)
	for _, draft := range d.Emit {
		s.Emits = append(s.Emits, emitted{draft.Payload.EventType(), draft.NotBefore, draft.Payload})
	}
}

// changed keeps what people would see.
func (s *simulation) changed(e happening, c stage.Change) {
	p := foreseen(stage.Prospect{Act: e.argument, Change: c})
	s.Does, s.Reason, s.Why, s.Advice = p.Does, p.Reason, p.Why, p.Advice
	s.Labels = signed(c.LabelsOn, c.LabelsOff)
	s.Pull = signed(c.PullOn, c.PullOff)
	if len(s.Audit) == 0 && len(s.Emits) == 0 {
		s.Does, s.Why = "nothing", "it means nothing to any run"
	}
	s.Comment = difference(c.Was, c.Comment)
}

// position is the place that the new run would have among those of its project that wait; 0 = it would start at once.
func position(ctx context.Context, tx *store.Tx, after stage.Item) (int, error) {
	settings, places, err := tx.Places(ctx, after.Run.Project)
	if err != nil {
		return 0, err
	}
	return after.Position(settings, places, tx.Now()), nil
}

// comment asks what approval-gate asks about a comment. A comment that is no command means nothing to a run.
func (s *simulation) comment(ctx context.Context, tx *store.Tx, e happening, by stage.Person, tickets []approval.Ticket) error {
	said, ok := approval.ReadCommand(e.argument)
	m := said.Of(tickets, tx.Now())
	s.Does, s.Emits, s.Audit = "nothing", []emitted{}, []events.Record{}
	switch {
	case !ok:
		s.Why = "no discussion is on, so only /approve, /deny and /answer at the beginning of a comment mean something, and only to a request of an agent"
		return nil
	case by.Bot:
		s.Reason, s.Why = reason.AgentVote, "the account belongs to a program"
		return nil
	case m.Request == nil:
		s.Why = "no request of an agent is open here"
		return nil
	}
	v := m.Vote
	v.ID, v.At, v.By = "github:simulated", tx.Now(), events.Voter{Channel: approval.GitHub, Account: strconv.FormatInt(by.ID, 10), Name: by.Login}
	at := slices.IndexFunc(tickets, func(t approval.Ticket) bool { return t.Request.ID == v.RequestID })
	in, err := tx.Voted(ctx, tickets[at], v)
	if err != nil {
		return err
	}
	if in.Who != nil {
		s.Role = in.Who.Role
	}
	if len(m.Which) > 0 {
		s.Reason, s.Why, s.Advice = reason.SeveralOpen, "several requests are open, and the command does not say which it means", reason.Advice(reason.Uncounted, reason.SeveralOpen)
		return nil
	}
	after, d, err := approval.Decide(tickets[at], in, tx.Now())
	if err != nil {
		return err
	}
	s.decided(d)
	for _, draft := range d.Emit {
		if r, ok := draft.Payload.(events.ApprovalRefused); ok {
			s.Reason, s.Why, s.Advice = r.Reason, r.Text, reason.Advice(reason.Uncounted, r.Reason)
			return nil
		}
	}
	if !reflect.DeepEqual(after.Votes, tickets[at].Votes) || after.State != tickets[at].State {
		s.Does, s.Why = "changes", fmt.Sprintf("request %s (%s), which would be %s", approval.ShortDigest(after.Request), oneLine(after.Request.Title), after.State)
	}
	return nil
}

// difference is the lines that a text loses and gains, behind - and +, in their order.
func difference(was, is string) (lines []string) {
	unified := string(diff.Diff("was", []byte(was+"\n"), "is", []byte(is+"\n")))
	_, hunks, _ := strings.Cut(unified, "\n@@")
	for line := range strings.Lines(hunks) {
		if line = strings.TrimRight(line, "\n"); len(line) > 1 && (line[0] == '-' || line[0] == '+') {
			lines = append(lines, line)
		}
	}
	return lines
}

func signed(on, off []string) (all []string) {
	for _, l := range on {
		all = append(all, "+"+l)
	}
	for _, l := range off {
		all = append(all, "-"+l)
	}
	return all
}

// text is the simulation for people.
func (s simulation) text() string {
	var b strings.Builder
	role := string(s.Role)
	if role == "" {
		role = "nobody there"
	}
	fmt.Fprintf(&b, "If %s (%s in the project) did this on %s now: %s\n\n", s.By, role, s.Issue, s.Event)
	does := s.Does + " "
	if s.Does == "nothing" {
		does = "does nothing: "
	}
	if s.Reason != "" {
		does = fmt.Sprintf("does nothing (%s): ", s.Reason)
	}
	fmt.Fprintf(&b, "  It %s%s\n", does, brief(s.Why))
	if s.Advice != "" {
		fmt.Fprintf(&b, "  → %s\n", s.Advice)
	}
	if s.Position > 0 {
		fmt.Fprintf(&b, "  The run would be number %d of those that wait for a place.\n", s.Position)
	}
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "\n%s\n  %s\n", title, strings.Join(lines, "\n  "))
		}
	}
	section("Labels of the issue", s.Labels)
	section("Labels of the pull request", s.Pull)
	section("Status comment", s.Comment)
	var emits, audit []string
	for _, e := range s.Emits {
		when := ""
		if !e.NotBefore.IsZero() {
			when = ", at " + stamp(e.NotBefore)
		}
		emits = append(emits, kind(e.Type)+when)
	}
	for _, r := range s.Audit {
		what := r.Action
		if r.Reason != "" {
			what += " (" + r.Reason + ")"
		}
		audit = append(audit, strings.TrimRight(fmt.Sprintf("%s by %s: %s", what, r.Actor, brief(r.Detail)), ": "))
	}
	section("Events", emits)
	section("Audit", audit)
	b.WriteString("\nNothing was changed.\n")
	return b.String()
}
