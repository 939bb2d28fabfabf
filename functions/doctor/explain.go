package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// An explanation says why something started on an issue, or did not, and what would happen now.
type explanation struct {
	Issue   string    `json:"issue"` // "owner/repo#12"
	Title   string    `json:"title,omitempty"`
	URL     string    `json:"url,omitempty"`
	At      time.Time `json:"at"`
	Project string    `json:"project,omitempty"` // "" = the repository belongs to none
	Process rules     `json:"process"`           // that decides now

	Held    *stage.Held         `json:"held,omitempty"` // what a storm has kept from starting; nil = nothing
	Run     *present            `json:"run,omitempty"`  // the newest one; nil = there is none
	Labels  []prospect          `json:"labels"`
	Waiting []store.Outstanding `json:"waiting,omitempty"` // events that are not handled yet, and timers
	Acts    []act               `json:"acts"`              // the newest first
	Older   int64               `json:"older,omitempty"`   // BEFORE of the next page; 0 = this is all
}

// rules name a process.
type rules struct {
	Hash string `json:"hash,omitempty"`
	Of   string `json:"of,omitempty"` // for people: "version 3 of the project's"
}

func (r rules) String() string {
	if r.Hash == "" {
		return ""
	}
	return r.Hash[:min(len(r.Hash), 8)] + ", " + r.Of
}

// present is where a run stands.
type present struct {
	ID       string      `json:"id"`
	Label    string      `json:"label"` // that starts such runs
	State    stage.State `json:"state"`
	Reason   string      `json:"reason,omitempty"`
	By       string      `json:"by"`
	Since    time.Time   `json:"since"` // when it was requested
	Deadline time.Time   `json:"deadline,omitzero"`
	Process  rules       `json:"process"`
	Asks     []asked     `json:"asks,omitempty"`     // what it waits for
	Position int         `json:"position,omitempty"` // in its project's queue, from 1; 0 = it waits for no place
	Behind   string      `json:"behind,omitempty"`   // why it waits for a place: role_full, project_full
	Follows  string      `json:"follows,omitempty"`  // the label that takes effect when it has succeeded
}

type asked struct {
	Request string `json:"request"` // the digest that people see
	Kind    string `json:"kind"`
	Title   string `json:"title"`
	Decided bool   `json:"decided"` // the platform has yet to do it
}

// prospect is what a label or a review would do now.
type prospect struct {
	Act    string `json:"act"`
	Does   string `json:"does"` // starts, stops, changes, nothing
	Reason string `json:"reason,omitempty"`
	Why    string `json:"why,omitempty"`
	Advice string `json:"advice,omitempty"`
}

// act is one thing that was done or decided.
type act struct {
	store.Act
	Process rules  `json:"process"`
	Advice  string `json:"advice,omitempty"`
}

// itemForm is how people name an issue.
var itemForm = regexp.MustCompile(`^(?:https?://[^/]+/)?([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)(?:#|/issues/|/pull/)([1-9][0-9]{0,8})$`)

// find is where the issue that a person names is kept. A pull request of an agent stands for its issue.
func (h *handler) find(ctx context.Context, name string) (store.Home, error) {
	m := itemForm.FindStringSubmatch(name)
	if m == nil {
		return store.Home{}, fmt.Errorf("no issue is named by %q: want ISSUE=owner/repo#12, or its address on GitHub", name)
	}
	number, err := strconv.Atoi(m[2])
	if err != nil {
		return store.Home{}, fmt.Errorf("reading the number of %q: %w", name, err)
	}
	if _, err := h.useProcess(); err != nil {
		return store.Home{}, err
	}
	return h.db.Find(ctx, m[1], number)
}

// page is how many lines of the audit one explanation has, with those of its runs' queue between them.
const page = 40

// explain prints what happened to an issue and what would; before is the number of an act, for those before it.
func (h *handler) explain(ctx context.Context, name string, before int64) error {
	home, err := h.find(ctx, name)
	if err != nil {
		return err
	}
	var x explanation
	if err := h.db.Look(ctx, func(ctx context.Context, tx *store.Tx) error {
		x, err = explained(ctx, tx, home, before)
		return err
	}); err != nil {
		return err
	}
	return h.show(x, x.text())
}

// explained reads all of it as of one moment.
func explained(ctx context.Context, tx *store.Tx, home store.Home, before int64) (x explanation, err error) {
	item, err := tx.Known(ctx, home, stage.Needs{Artefacts: true, Lately: true})
	if err != nil {
		return x, err
	}
	x = explanation{Issue: events.WorkItem(item.Repository, item.Issue), Title: item.Title, URL: item.URL, At: tx.Now(), Held: item.Held}
	names := naming{home.Repository.Process.Hash, nil}
	var run string
	if item.Project != nil {
		x.Project = item.Project.ID
		if names.versions, err = tx.ProcessVersions(ctx, x.Project); err != nil {
			return x, err
		}
	}
	x.Process = names.of(home.Repository.Process.Hash)
	if item.Run != nil {
		run = item.Run.ID
		if x.Run, err = presentRun(ctx, tx, &item, names); err != nil {
			return x, err
		}
	}
	prospects, err := stage.Prospects(item, tx.Now())
	if err != nil {
		return x, err
	}
	for _, p := range prospects {
		x.Labels = append(x.Labels, foreseen(p))
	}
	if x.Waiting, err = tx.Outstanding(ctx, home.Names(item)); err != nil {
		return x, err
	}
	acts, err := tx.Acts(ctx, item.Key(), run, before, page)
	if err != nil {
		return x, err
	}
	x.Acts = make([]act, 0, len(acts))
	for _, a := range acts {
		x.Acts = append(x.Acts, act{a, names.of(a.Process), reason.OfAct(a.Action, a.Reason)})
	}
	if len(acts) >= page {
		x.Older = acts[len(acts)-1].Seq
	}
	return x, nil
}

// naming says what a process's hash means in a project.
type naming struct {
	present  string
	versions []store.ProcessVersion // the newest first
}

func (n naming) of(hash string) rules {
	r := rules{Hash: hash}
	i := slices.IndexFunc(n.versions, func(v store.ProcessVersion) bool { return v.Hash == hash })
	switch {
	case hash == "":
	case i >= 0:
		r.Of = fmt.Sprintf("version %d of the project's", n.versions[i].Version)
	case hash == n.present:
		r.Of = "the installation's"
	default:
		r.Of = "an earlier one of the installation's"
	}
	return r
}

// presentRun is where the item's newest run stands, with its place in the queue.
func presentRun(ctx context.Context, tx *store.Tx, item *stage.Item, names naming) (*present, error) {
	r := item.Run
	p := &present{ID: r.ID, Label: cmp.Or(r.Process, item.Process).LabelOf(r.Stage, r.Kind), State: r.State, Reason: r.Reason, By: r.RequestedBy, Since: r.CreatedAt.UTC(), Deadline: r.Deadline}
	if r.Grant != nil {
		p.Process = names.of(r.Grant.Process)
	}
	if item.Next != nil {
		p.Follows = item.Next.Label
	}
	if r.State.Final() {
		return p, nil
	}
	for _, a := range r.Open() {
		p.Asks = append(p.Asks, asked{a.Digest, string(a.Kind), a.Title, a.Answer != nil})
	}
	if !r.State.Queues() {
		return p, nil
	}
	settings, places, err := tx.Places(ctx, r.Project)
	if err != nil {
		return p, err
	}
	for _, a := range stage.Admit(settings, places, tx.Now()) {
		if a.ID == r.ID {
			p.Position, p.Behind = a.Position, a.Reason
		}
	}
	return p, nil
}

func foreseen(p stage.Prospect) prospect {
	is := prospect{Act: p.Act, Does: p.Does(), Reason: p.Reason, Why: strings.TrimPrefix(p.Why, p.Act+": "), Advice: reason.Advice(reason.Ignored, p.Reason)}
	switch is.Does {
	case "starts":
		r := p.Started
		is.Why = fmt.Sprintf("a run of %s (%s), %s with %s, reasoning %s", r.Stage, r.Kind, r.Engine, r.Model, r.Reasoning)
	case "stops":
		is.Why = "run " + p.Ended.ID
	case "changes":
		is.Why = changes(p.Change)
	}
	return is
}

// changes are the labels that the platform would set or remove.
func changes(c stage.Change) string {
	return cmp.Or(strings.Join(signed(c.LabelsOn, c.LabelsOff), " "), "nothing that is shown")
}
