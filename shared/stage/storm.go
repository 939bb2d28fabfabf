package stage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/yamlfile"
)

// A storm is more than a repository usually asks for: somebody edits forty issues at once, or a label that a script
// sets and removes. What is asked for beyond the process's rule is held on its issue (Item.Held), and the issue shows
// that by a label. Whoever may start runs lets it go by taking that label off, whatever else is going on, or drops it
// by labels.abort. Setting the trigger again is one more request. The first issue that is held gets a comment for all
// that are held while the storm lasts, so a burst costs as many comments as one label.

// Storm says how many runs people may ask for in one repository, and what becomes of what they ask for beyond that. The
// zero Storm lets everything start.
type Storm struct {
	Runs   int           `yaml:"runs"`   // that may be requested
	Within time.Duration `yaml:"within"` // this time
	Policy string        `yaml:"policy"`
}

// What becomes of a request that is one too many.
const (
	QueueStorm   = "queue"   // it is held
	ReplaceStorm = "replace" // it starts in place of the oldest run that waits for its first place, which is held
	SkipStorm    = "skip"    // it is forgotten
)

// longestStorm bounds how far back requests are counted.
const longestStorm = 24 * time.Hour

func (p *Process) checkStorm(source *yamlfile.File) {
	s := p.Storm
	if s == (Storm{}) {
		return
	}
	at := func(key string) []any { return []any{"storm", key} }
	if s.Runs < 1 {
		source.Bad(at("runs"), "storm.runs is %d, at least 1 is needed; without storm: everything starts", s.Runs)
	}
	if s.Within <= 0 || s.Within > longestStorm {
		source.Bad(at("within"), "storm.within is %s: want a time up to %s", s.Within, longestStorm)
	}
	switch {
	case !slices.Contains([]string{QueueStorm, ReplaceStorm, SkipStorm}, s.Policy):
		source.Bad(at("policy"), "storm.policy is %q, want %s, %s or %s", s.Policy, QueueStorm, ReplaceStorm, SkipStorm)
	case s.Policy != SkipStorm && p.Labels.Held == "":
		source.Bad(at("policy"), "storm.policy %s needs labels.held, by which people see and let go what is held", s.Policy)
	}
}

// Lately is what was asked for in the item's repository, as far as the storm's rule wants to know it.
type Lately struct {
	Runs    int            // that were requested within the rule's time, at most as many as it allows
	Led     bool           // another issue has the comment about what is held within that time
	Waiting *events.RunRef // the oldest run that waits for its first place; nil = none does
	Held    []HeldIssue    // on other issues since Item.Held was, oldest first; at most MaxHeld and one more
}

// MaxHeld is how many held issues a comment names.
const MaxHeld = 100

// HeldIssue is what is held on an issue of the repository.
type HeldIssue struct {
	Issue int
	Label string
}

// Held is a request that was one too many in a storm.
type Held struct {
	Label   string    `json:"label"`  // the trigger
	Intent  string    `json:"intent"` // its meaning, which asks for nothing a second time
	By      string    `json:"by"`     // GitHub login
	At      time.Time `json:"at"`
	Told    bool      `json:"told,omitempty"`    // the issue has the storm's comment
	Skipped bool      `json:"skipped,omitempty"` // it can't be let go
}

// isHeld reports whether something can be let go.
func (i *Item) isHeld() bool { return i.Held != nil && !i.Held.Skipped }

// holds reports whether one more request of people is one too many, and holds it. With the policy replace another one
// is held.
func (d *decision) holds(label, intent string, by Person) bool {
	s := d.item.Process.Storm
	switch {
	case s.Runs == 0 || d.item.Lately.Runs < s.Runs:
		return false
	case s.Policy == ReplaceStorm && d.item.Lately.Waiting != nil:
		d.emit(events.HoldRequested{RunRef: *d.item.Lately.Waiting})
		return false
	}
	d.hold(label, intent, by.Login)
	action := "label.held"
	if d.item.Held.Skipped {
		action = "label.ignored"
	}
	d.audit(actor(by), action, reason.Storm, "%s: %s", label, s)
	return true
}

func (s Storm) String() string {
	return fmt.Sprintf("the repository has had all runs that its process allows within %s (%d)", span(s.Within), s.Runs)
}

// span is a time as people write it: 10m.
func span(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// hold keeps a request on the item. The first issue of a storm tells of all of them.
func (d *decision) hold(label, intent, by string) {
	s := d.item.Process.Storm
	h := &Held{Label: label, Intent: intent, By: by, At: d.now, Skipped: s.Policy == SkipStorm}
	if was := d.item.Held; was != nil && d.now.Sub(was.At) < s.Within {
		h.At, h.Told = was.At, was.Told
	}
	lead := !h.Told && !d.item.Lately.Led
	h.Told = h.Told || lead
	d.item.Held = h
	switch {
	case lead:
		d.item.Note, d.noted = d.item.Process.storm(h, nil), true
		d.later(firstLook, events.StormDue{Repository: d.item.Repository, RepositoryID: d.item.RepositoryID, Issue: d.item.Issue})
	case !h.Told && d.item.Note != "": // which is of before
		d.remark("Held back", label, s.String()+".")
	}
}

// firstLook is when the storm's comment first names what else is held. Each further look comes after twice the time, as
// long as the storm may last.
const firstLook = 15 * time.Second

// stormDue brings the storm's comment up to date.
func (d *decision) stormDue(in events.StormDue) {
	h := d.item.Held
	if h == nil || !h.Told {
		d.audit(platform, "storm.due.late", "not_held", "")
		return
	}
	d.item.Note, d.noted = d.item.Process.storm(h, d.item.Lately.Held), true
	if d.now.Sub(h.At) < d.item.Process.Storm.Within {
		in.Look++
		d.later(firstLook<<min(in.Look, 6), in)
	}
}

// storm is the comment for all that is held; others are on other issues.
func (p *Process) storm(h *Held, others []HeldIssue) string {
	verdict, way := "Held back", p.waysOn
	if h.Skipped {
		verdict, way = "Not started", func() string {
			return fmt.Sprintf("Set the label again later, in %s at the latest.", span(p.Storm.Within))
		}
	}
	text := fmt.Sprintf("**%s** (%s): %s.", verdict, code(h.Label), p.Storm)
	if len(others) > 0 {
		text += " So it is with what was asked for after it: " + list(others) + "."
	}
	return text + "\n\n" + way()
}

// waysOn says what people can do about what is held.
func (p *Process) waysOn() string {
	return fmt.Sprintf("Whoever may start runs takes %s off an issue to start what is held there, or sets %s there to drop it.", code(p.Labels.Held), code(p.Labels.Abort))
}

// list names held issues, as GitHub links them.
func list(held []HeldIssue) string {
	names := make([]string, 0, MaxHeld+1)
	for _, h := range held[:min(len(held), MaxHeld)] {
		names = append(names, fmt.Sprintf("#%d %s", h.Issue, code(h.Label)))
	}
	if len(held) > MaxHeld {
		names = append(names, "and more")
	}
	return strings.Join(names, ", ")
}

// letGo starts what is held when the label for that is taken off, as if the trigger was set then. Whoever does it reads
// the issue as it is, and answers for the run. The rule does not hold it a second time.
func (d *decision) letGo(in Edited) {
	h := d.item.Held
	if !d.item.isHeld() || !same(in.Label, d.item.Process.Labels.Held) || has(d.item.Labels, in.Label) || in.Sender.Bot {
		return
	}
	asked := Labeled{Issue: in.Issue, Label: h.Label, At: later(in.Issue.UpdatedAt, d.item.UpdatedAt), Sender: in.Sender}
	if cause, why := d.release(asked); cause != "" {
		d.audit(actor(in.Sender), "label.ignored", cause, "%s: %s", in.Label, why)
		d.redo = true // it is still held, so its label comes back
		if d.isAnswered(in.Sender) {
			d.remark("Still held back", h.Label, why)
		}
		return
	}
	d.item.ActedAt = later(d.item.ActedAt, asked.At)
}

// release starts what is held, or says why it can't be.
func (d *decision) release(asked Labeled) (cause, why string) {
	h := d.item.Held
	t, known, _ := d.p.Trigger(h.Label)
	d.item.Held = nil
	if cause, why := d.whyNot(asked, d.item, t, known, true); cause != "" {
		d.item.Held = h
		return cause, why
	}
	d.audit(actor(asked.Sender), "label.let_go", "", "%s, which %s had asked for", h.Label, h.By)
	d.approve(asked, t)
	d.request(t, asked.Sender, "held "+h.Intent, d.reviewsUntil(t, asked.At))
	if others := d.item.Lately.Held; h.Told && len(others) > 0 { // they stay in sight while this run goes on
		d.remark("Let go", h.Label, "Held are still "+list(others)+".\n\n"+d.p.waysOn())
	}
	return "", ""
}

// drop forgets what is held.
func (d *decision) drop(by Person, cause string) {
	h := d.item.Held
	if !d.item.isHeld() {
		return
	}
	d.audit(actor(by), "label.dropped", cause, "%s, which %s had asked for", h.Label, h.By)
	if d.item.Held = nil; d.item.Note != "" {
		d.remark("Dropped", h.Label, "It is not held any more and starts nothing.")
	}
}

// replaced holds a run that waits for its first place, because a newer request has taken that.
func (d *decision) replaced() {
	run := d.item.Run
	if run.begun() {
		d.audit(platform, "hold.requested.late", "run_"+string(run.State), "")
		return
	}
	d.hold(d.p.LabelOf(run.Stage, run.Kind), run.Intent, run.RequestedBy)
	d.stop(Cancelled, reason.Storm, "A newer request has taken its place: "+d.item.Process.Storm.String()+".")
}
