package stage

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
)

// Each stage's work has a branch and a pull request of its own, so a review, a merge or a closing is of that stage,
// and its write scope is kept whatever other stages have open. A stage that works from what lies in the open pull
// request of an earlier one begins at that branch (gates.go), and its pull request is then into that branch: it shows
// no more than the stage's own work. Once the earlier one is merged or closed, the pull request is turned to where
// that one went.

// Pull is what is known about a pull request of the item.
type Pull struct {
	Branch  string `json:"-"` // it is of; the item has one for each
	Stage   string `json:"-"` // whose work it is
	Number  int    `json:"-"` // 0 = there is none
	URL     string `json:"-"`
	HeadSHA string `json:"-"`

	Closed     bool       `json:"closed,omitempty"` // or merged
	Merged     bool       `json:"merged,omitempty"`
	Draft      bool       `json:"draft,omitempty"`
	Delivered  bool       `json:"delivered,omitempty"`  // a run reported it ready for review
	Superseded bool       `json:"superseded,omitempty"` // by a rethink
	Base       string     `json:"base,omitempty"`       // branch that it is to be merged into
	Labels     []string   `json:"labels,omitempty"`
	Answered   []string   `json:"answered,omitempty"` // as Item.Answered
	Approvals  []Approval `json:"approvals,omitempty"`
	Dismissed  []int64    `json:"dismissed,omitempty"` // reviews, the newest last
	Reviewed   string     `json:"reviewed,omitempty"`  // the commit that an agent reviewed last
	Changes    *Changes   `json:"changes,omitempty"`   // what a revise by label answers
	UpdatedAt  time.Time  `json:"updatedAt,omitzero"`
}

// Approval is one person's approval of one commit.
type Approval struct {
	Review int64  `json:"review"` // its id on GitHub
	By     string `json:"by"`
	SHA    string `json:"sha"` // "" = GitHub did not say
}

// Changes is the newest review that requests changes, with its text as it is now.
type Changes struct {
	Review int64     `json:"review"` // its id on GitHub
	By     string    `json:"by"`
	Body   string    `json:"body"`
	At     time.Time `json:"at"`
}

// isOpen reports whether the pull request can be reviewed and merged.
func (p *Pull) isOpen() bool { return p.Number != 0 && !p.Closed }

// approval is the newest one for the commit that would be merged now.
func (p *Pull) approval() (a Approval, ok bool) {
	if !p.isOpen() || p.Draft {
		return Approval{}, false
	}
	for _, given := range p.Approvals {
		if given.SHA == "" || given.SHA == p.HeadSHA {
			a, ok = given, true
		}
	}
	return a, ok
}

// pullOf is the stage's newest pull request that counts; the zero Pull if it has none.
func (i *Item) pullOf(stage string) (newest Pull) {
	for _, p := range i.Pulls {
		if p.Stage == stage && p.Number > newest.Number && !p.Superseded {
			newest = p
		}
	}
	return newest
}

// PullOf is the pull request with that number; the zero Pull if it is not the item's.
func (i *Item) PullOf(number int) Pull {
	for _, p := range i.Pulls {
		if p.Number == number && number != 0 {
			return p
		}
	}
	return Pull{}
}

// Current is the pull request that says how the item stands: that of the stage at work, which may have none yet; else
// the newest open one, else the newest.
func (i *Item) Current() (current Pull) {
	if i.working() {
		return i.pullOf(i.Run.Stage)
	}
	for _, p := range i.Pulls {
		if p.Superseded {
			continue
		}
		if p.isOpen() == current.isOpen() && p.Number > current.Number || p.isOpen() && !current.isOpen() {
			current = p
		}
	}
	return current
}

// turned is the branch that the pull request is to be merged into in place of its base, which is that of another one
// that is closed; "" = it stays.
func (i *Item) turned(p Pull) (base string) {
	if !p.isOpen() {
		return ""
	}
	for range len(i.Pulls) + 1 { // one may have stood upon the other
		at := slices.IndexFunc(i.Pulls, func(on Pull) bool { return on.Closed && on.Branch == cmp.Or(base, p.Base) && on.Branch != p.Branch })
		if at < 0 {
			return base
		}
		base = cmp.Or(i.Pulls[at].Base, i.BaseBranch)
	}
	return i.BaseBranch // somebody has had them go in a circle, or all are closed
}

// baseNow is the branch, or the one that it went into since.
func (i *Item) baseNow(branch string) string {
	return cmp.Or(i.turned(Pull{Number: 1, Base: branch}), branch)
}

// Branch is the one on which agents work on an issue's code.
func Branch(issue int) string { return BranchPrefix + strconv.Itoa(issue) }

// BranchPrefix begins the names of all branches that agents work on.
const BranchPrefix = "codexk8s/issue-"

// stageBranch is the one of any other stage's.
func stageBranch(issue int, stage string) string { return Branch(issue) + "-" + stage }

// ownBranch reads both.
var ownBranch = regexp.MustCompile(`^codexk8s/issue-([1-9][0-9]{0,8})(?:-(.+))?$`)

// issueOfBranch is the issue that agents work on there; 0 = it is no branch of ours.
func issueOfBranch(branch string) (issue int) {
	if m := ownBranch.FindStringSubmatch(branch); m != nil {
		issue, _ = strconv.Atoi(m[1]) // nine digits at most
	}
	return issue
}

// OwnerOf is the stage whose branch it is: the one in its name, else the one that changes code.
func (p *Process) OwnerOf(branch string) string {
	m := ownBranch.FindStringSubmatch(branch)
	if m == nil || m[2] == "" {
		return p.codeStage()
	}
	if p.position(m[2]) < 0 { // a later branch of the stage has a number behind its name
		if name, n, ok := cutLast(m[2], "-"); ok && p.position(name) >= 0 && strings.Trim(n, "0123456789") == "" {
			return name
		}
	}
	return m[2]
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if at := strings.LastIndex(s, sep); at >= 0 {
		return s[:at], s[at+len(sep):], true
	}
	return s, "", false
}

// codeStage is the first stage that may change every file; "" = none may.
func (p *Process) codeStage() string {
	for _, s := range p.Stages {
		if slices.Contains(s.Write, "**") {
			return s.Name
		}
	}
	return ""
}

// branchFor is where a run of the stage works: on the branch of the stage's open pull request, else on one that no
// other open pull request has.
func (d *decision) branchFor(stage string) string {
	if own := d.item.pullOf(stage); own.isOpen() {
		return own.Branch
	}
	branch := stageBranch(d.item.Issue, stage)
	if stage == d.p.codeStage() && !d.item.occupied(Branch(d.item.Issue)) {
		branch = Branch(d.item.Issue)
	}
	for n, first := 2, branch; d.item.occupied(branch); n++ {
		branch = fmt.Sprintf("%s-%d", first, n)
	}
	return branch
}

// stand says on which branch the new run works and where its work goes. A run that begins anew may have to begin at
// the branch of another stage, which is known once its files were looked for.
func (d *decision) stand(t Trigger) {
	run, own := d.item.Run, d.item.pullOf(t.Stage)
	run.Grant.Branch = d.branchFor(t.Stage)
	if newest := d.item.Current(); t.Kind == events.KindDiscussion && newest.isOpen() { // it only reads
		own, run.Grant.Branch = newest, newest.Branch
	}
	switch {
	case own.isOpen():
		run.Base = own.Base
	case t.Kind == events.KindWork:
		run.Grant.From = d.below(t.Stage)
	}
	if t.Kind == events.KindWork && len(run.Grant.From) == 0 { // the others go by its branch
		d.base = cmp.Or(run.Base, d.item.BaseBranch)
		run.Exit.Based = true
	}
}

// occupied reports whether an open pull request has the branch, or one that no longer counts.
func (i *Item) occupied(branch string) bool {
	return slices.ContainsFunc(i.Pulls, func(p Pull) bool { return p.Branch == branch && (p.isOpen() || p.Superseded) })
}

// below are the branches of earlier stages' open pull requests, the newest first: a run of the stage may have to begin
// at one of them.
func (d *decision) below(stage string) (branches []string) {
	var open []Pull
	for _, p := range d.item.Pulls {
		if p.isOpen() && !p.Superseded && d.p.position(p.Stage) < d.p.position(stage) {
			open = append(open, p)
		}
	}
	slices.SortFunc(open, func(a, b Pull) int { return cmp.Compare(b.Number, a.Number) })
	for _, p := range open {
		branches = append(branches, p.Branch)
	}
	return branches
}

// seePull stores what GitHub says about the item's pull request, unless something newer is known. It reports whether
// the pull request is the item's: the first one heard of for its branch, or the next one once that is closed. The
// decision is about it from then on.
func (d *decision) seePull(in PullRequest) (ours bool) {
	at := slices.IndexFunc(d.item.Pulls, func(p Pull) bool { return p.Number == in.Number })
	switch {
	case in.Number == 0:
		return false
	case at >= 0:
		d.pull = &d.item.Pulls[at]
		if !in.UpdatedAt.IsZero() && in.UpdatedAt.Before(d.pull.UpdatedAt) {
			return true
		}
	case !d.begins(in):
		return false
	}
	pull := d.pull
	if in.Base != "" && pull.Base != "" && in.Base != pull.Base && in.Base != d.item.turned(*pull) {
		pull.Approvals = nil // of other changes than would be merged now
	}
	pull.URL, pull.HeadSHA, pull.Base = cmp.Or(in.URL, pull.URL), cmp.Or(in.HeadSHA, pull.HeadSHA), cmp.Or(in.Base, pull.Base)
	pull.Merged = pull.Merged || in.Merged // for good
	if in.State != "" || pull.Merged {
		pull.Closed = in.closed() || pull.Merged
	}
	if in.Draft != nil {
		pull.Draft = *in.Draft
	}
	pull.Labels, pull.Answered = in.Labels, among(pull.Answered, in.Labels)
	pull.UpdatedAt = later(pull.UpdatedAt, in.UpdatedAt)
	d.follow(*pull)
	return true
}

// begins takes the pull request as the one of its branch, unless another one is.
func (d *decision) begins(in PullRequest) bool {
	if in.Branch == "" {
		return false
	}
	stage := d.p.OwnerOf(in.Branch)
	if run := d.item.stageRun(); run != nil && run.branch(d.item.Issue) == in.Branch {
		stage = run.Stage
	}
	at := slices.IndexFunc(d.item.Pulls, func(p Pull) bool { return p.Branch == in.Branch })
	if at < 0 {
		d.startPull(Pull{Branch: in.Branch, Stage: stage, Number: in.Number})
		return true
	}
	known := d.item.Pulls[at]
	late := in.Number < known.Number && !in.UpdatedAt.IsZero() && in.UpdatedAt.Before(known.UpdatedAt) // news of an earlier one
	if !known.Closed || in.closed() || late {
		return false
	}
	d.startPull(Pull{Branch: in.Branch, Stage: stage, Number: in.Number})
	return true
}

// startPull makes the pull request its branch's, in place of what was known of that branch.
func (d *decision) startPull(p Pull) {
	d.item.Pulls = append(slices.DeleteFunc(d.item.Pulls, func(old Pull) bool { return old.Branch == p.Branch }), p)
	d.pull = &d.item.Pulls[len(d.item.Pulls)-1]
}

// about makes the decision be about the branch's pull request, if there is one.
func (d *decision) about(branch string) {
	if at := slices.IndexFunc(d.item.Pulls, func(p Pull) bool { return p.Branch == branch }); at >= 0 {
		d.pull = &d.item.Pulls[at]
	}
}

// opened keeps the pull request that the run's agent has reported.
func (d *decision) opened(in events.AgentReported) {
	run := d.item.Run
	branch := run.branch(d.item.Issue)
	if at := slices.IndexFunc(d.item.Pulls, func(p Pull) bool { return p.Number == in.PullRequest }); at >= 0 {
		d.pull = &d.item.Pulls[at]
	} else {
		d.startPull(Pull{Branch: branch, Number: in.PullRequest, Base: run.Base})
	}
	if d.pull.Branch == branch {
		d.pull.Stage = run.Stage
	}
	d.pull.URL, d.pull.HeadSHA = in.PullRequestURL, in.HeadSHA
}

// answered notes that a trigger has had its answer, and is to be taken off where it may stand: the issue, the pull
// request that the event is about, and those that are known to carry it.
func (d *decision) answered(label string) {
	d.item.Answered = with(d.item.Answered, label)
	d.pull.Answered = with(d.pull.Answered, label)
	for i := range d.item.Pulls {
		if p := &d.item.Pulls[i]; has(p.Labels, label) {
			p.Answered = with(p.Answered, label)
		}
	}
}

// unanswered is for a trigger that is about to be followed.
func (d *decision) unanswered(label string) {
	d.item.Answered = without(d.item.Answered, label)
	for i := range d.item.Pulls {
		d.item.Pulls[i].Answered = without(d.item.Pulls[i].Answered, label)
	}
}

// follow keeps the active run's base that of its pull request, or of the one that it stands upon.
func (d *decision) follow(p Pull) {
	switch run := d.item.Run; {
	case !d.item.active():
	case run.branch(d.item.Issue) == p.Branch:
		run.Base = p.Base
	case p.Closed && run.Base == p.Branch:
		run.Base = p.Base
	}
}

// delivered reports whether a run has reported the pull request ready for review.
func (i *Item) delivered(p Pull) bool {
	r := i.stageRun()
	return p.Delivered || r != nil && r.Stage == p.Stage && (r.Kind == events.KindRevise || r.State == Succeeded)
}
