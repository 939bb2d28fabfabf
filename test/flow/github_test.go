package flow_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/webhook"
)

// A place is an issue and the pull requests of its branches, as GitHub shows them, the newest last.
type place struct {
	issue issue
	pulls []pull

	repository string
}

// Of GitHub's payloads, what is read of them.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads
type (
	issue struct {
		Number    int       `json:"number"`
		Title     string    `json:"title"`
		State     string    `json:"state"`
		Labels    []label   `json:"labels"`
		UpdatedAt time.Time `json:"updated_at"`
	}
	pull struct {
		issue
		Draft  bool   `json:"draft"`
		Merged bool   `json:"merged"`
		Head   branch `json:"head"`
		Base   branch `json:"base"`
	}
	branch struct {
		Ref  string     `json:"ref"`
		SHA  string     `json:"sha"`
		Repo repository `json:"repo"`
	}
	repository struct {
		Name   string `json:"full_name"`
		Branch string `json:"default_branch"`
	}
	label struct {
		Name string `json:"name"`
	}
	review struct {
		ID     int64     `json:"id"`
		State  string    `json:"state"`
		Body   string    `json:"body"`
		User   user      `json:"user"`
		Commit string    `json:"commit_id"`
		At     time.Time `json:"submitted_at"`
	}
	comment struct {
		ID        int64     `json:"id"`
		Body      string    `json:"body"`
		User      user      `json:"user"`
		UpdatedAt time.Time `json:"updated_at"`
	}
	user struct {
		Login string `json:"login"`
		Type  string `json:"type"`
	}
	payload struct {
		Action     string     `json:"action"`
		Label      *label     `json:"label,omitempty"`
		Issue      *issue     `json:"issue,omitempty"`
		Pull       *pull      `json:"pull_request,omitempty"`
		Review     *review    `json:"review,omitempty"`
		Comment    *comment   `json:"comment,omitempty"`
		Repository repository `json:"repository"`
		Sender     user       `json:"sender"`
	}
)

func (w *world) place(key string) *place {
	key = strings.ToLower(key)
	if w.github[key] == nil {
		name, number, _ := strings.Cut(key, "#")
		n, err := strconv.Atoi(number)
		w.check(err)
		w.github[key] = &place{issue: issue{Number: n, Title: "Title", State: "open"}}
		w.github[key].repository = name
	}
	return w.github[key]
}

// of is the pull request of the branch, which is opened if there is none.
func (p *place) of(name, base string) *pull {
	for i := range p.pulls {
		if p.pulls[i].Head.Ref == name {
			return &p.pulls[i]
		}
	}
	n := p.issue.Number
	p.pulls = append(p.pulls, pull{
		issue: issue{Number: 100*(len(p.pulls)+1) + n, State: "open"}, Base: branch{Ref: cmp.Or(base, "main")},
		Head: branch{Ref: name, SHA: "c0ffee1", Repo: repository{Name: p.repository}},
	})
	return &p.pulls[len(p.pulls)-1]
}

// pull is the stage's, by the end of its branch's name; "" = the newest, and with none yet that of the code.
func (p *place) pull(stage string) *pull {
	for i := len(p.pulls) - 1; i >= 0; i-- {
		if stage == "" || strings.HasSuffix(p.pulls[i].Head.Ref, "-"+stage) || stage == "dev" && p.pulls[i].Head.Ref == stageless(p.issue.Number) {
			return &p.pulls[i]
		}
	}
	return p.of(stageless(p.issue.Number), "")
}

func stageless(issue int) string { return fmt.Sprintf("codexk8s/issue-%d", issue) }

func sender(login string) user {
	if strings.HasSuffix(login, "[bot]") {
		return user{login, "Bot"}
	}
	return user{login, "User"}
}

// onGitHub plays what somebody does on GitHub, and its webhook. What comes late tells
// of how things were, and changes nothing.
func (w *world) onGitHub(f []string) {
	words, options := split(f[4:])
	at := w.at(options["at"])
	now := w.place(f[1])
	here, hook := place{now.issue, slices.Clone(now.pulls), now.repository}, payload{Action: f[2], Sender: sender(f[3])}
	var pull *pull
	if f[0] == "pull" || f[0] == "review" || options["on"] == "pr" {
		pull = here.pull(options["of"])
	}
	switch f[0] {
	case "label":
		hook.Action, hook.Label = "labeled", &label{f[2]}
		here.label(append([]string{f[2]}, words...), options["on"], pull, &hook)
	case "unlabel":
		hook.Action, hook.Label, hook.Issue = "unlabeled", &label{f[2]}, &here.issue
		here.issue.Labels = slices.DeleteFunc(slices.Clone(here.issue.Labels), func(l label) bool { return l.Name == f[2] })
	case "edit":
		hook.Issue = &here.issue
		switch f[2] {
		case "closed":
			here.issue.State = "closed"
		case "reopened":
			here.issue.State = "open"
		}
	case "comment":
		id, err := strconv.ParseInt(f[2], 10, 64)
		w.check(err)
		hook.Action, hook.Issue = "created", &here.issue
		if last := words[len(words)-1]; last == "edited" || last == "deleted" {
			hook.Action, words = last, words[:len(words)-1]
		}
		hook.Comment = &comment{id, strings.Join(words, " "), hook.Sender, at}
	case "pull":
		pull.change(f[2], words, options)
		hook.Pull = pull
	case "review":
		id, err := strconv.ParseInt(words[0], 10, 64)
		w.check(err)
		hook.Action, hook.Pull = "submitted", pull
		hook.Review = &review{id, f[2], "Please.", hook.Sender, cmp.Or(options["sha"], pull.Head.SHA), at}
		if f[2] == "dismissed" {
			hook.Action = "dismissed"
		}
	}
	if hook.Issue != nil {
		hook.Issue.UpdatedAt = at
	}
	if hook.Pull != nil && hook.Review == nil {
		hook.Pull.UpdatedAt = at
	}
	if options["at"] == "" {
		*now = here
	}
	w.send(f[1], hook)
}

// observe plays timekeeper, which found a label whose webhook never came.
func (w *world) observe(f []string) {
	_, options := split(f[4:])
	repo, _, _ := strings.Cut(f[1], "#")
	here := w.place(f[1])
	here.issue.Labels = append(here.issue.Labels, label{f[2]})
	seen := events.LabelObserved{
		Repository: repo, Issue: here.issue.Number, Title: here.issue.Title, Label: f[2], Sender: f[3], SenderType: sender(f[3]).Type,
		LabeledAt: w.now, UpdatedAt: w.now, Rewriter: options["rewriter"], DefaultBase: "main",
	}
	for _, l := range here.issue.Labels {
		seen.Labels = append(seen.Labels, l.Name)
	}
	w.happen(seen)
}

// send delivers a webhook.
func (w *world) send(key string, hook payload) {
	repo, _, _ := strings.Cut(key, "#")
	hook.Repository = repository{repo, "main"}
	name := "issues"
	switch {
	case hook.Comment != nil:
		name = "issue_comment"
	case hook.Review != nil:
		name = "pull_request_review"
	case hook.Pull != nil:
		name = "pull_request"
	}
	data, err := json.Marshal(hook)
	w.check(err)
	w.deliveries++
	d, err := webhook.Classify(name, fmt.Sprintf("delivery-%d", w.deliveries), data)
	w.check(err)
	w.hear(d.CloudEvent(data, w.now))
}

// split tells words from options, name=value.
func split(all []string) (words []string, options map[string]string) {
	options = map[string]string{}
	for _, word := range all {
		if name, value, ok := strings.Cut(word, "="); ok {
			options[name] = value
		} else {
			words = append(words, word)
		}
	}
	return words, options
}

// at is the time of day, today; "" is now.
func (w *world) at(clock string) time.Time {
	if clock == "" {
		return w.now
	}
	of, err := time.Parse(time.TimeOnly, clock)
	w.check(err)
	return w.now.Truncate(24 * time.Hour).Add(of.Sub(of.Truncate(24 * time.Hour)))
}

// label sets the labels, of which the first is new, on the issue, its pull request or another one.
func (p *place) label(names []string, on string, its *pull, hook *payload) {
	labels := make([]label, len(names))
	for i, name := range names {
		labels[i].Name = name
	}
	switch on {
	case "pr":
		its.Labels, hook.Pull = labels, its
	case "other":
		hook.Pull = &pull{issue: issue{Number: p.issue.Number, State: "open", Labels: labels}, Head: branch{Ref: "somebody's"}}
	default:
		p.issue.Labels, hook.Issue = labels, &p.issue
	}
}

// change does to the pull request what the action says.
func (pull *pull) change(action string, words []string, options map[string]string) {
	switch action {
	case "closed":
		pull.State = "closed"
	case "opened", "reopened":
		pull.State = "open"
	}
	pull.Draft = action == "converted_to_draft" || slices.Contains(words, "draft")
	pull.Merged = slices.Contains(words, "merged")
	if n, err := strconv.Atoi(options["number"]); err == nil {
		pull.Number = n
	}
	pull.Head.SHA = cmp.Or(options["sha"], pull.Head.SHA)
	pull.Base.Ref = cmp.Or(options["base"], pull.Base.Ref)
}

// show sets and removes the labels that the platform asks for, and lets GitHub tell of it.
func (w *world) show(c events.GitHubChangeRequested) {
	key, bot := events.WorkItem(c.Repository, c.Issue), sender("codexk8s[bot]")
	here := w.place(key)
	if changed := relabel(here.issue.Labels, c.On, c.Off); !slices.Equal(changed, here.issue.Labels) {
		here.issue.Labels, here.issue.UpdatedAt = changed, w.now
		w.send(key, payload{Action: "unlabeled", Issue: &here.issue, Sender: bot})
	}
	at := slices.IndexFunc(here.pulls, func(p pull) bool { return p.Number == c.PullRequest })
	if at < 0 {
		return
	}
	its := &here.pulls[at]
	if changed := relabel(its.Labels, c.PullOn, c.PullOff); !slices.Equal(changed, its.Labels) {
		its.Labels, its.UpdatedAt = changed, w.now
		w.send(key, payload{Action: "unlabeled", Pull: its, Sender: bot})
	}
	if c.PullBase != "" && its.State == "open" && its.Base.Ref != c.PullBase {
		its.Base.Ref, its.UpdatedAt = c.PullBase, w.now
		w.send(key, payload{Action: "edited", Pull: its, Sender: bot})
	}
}

func has(labels []label, name string) bool {
	return slices.ContainsFunc(labels, func(l label) bool { return strings.EqualFold(l.Name, name) })
}

func relabel(labels []label, on, off []string) []label {
	out := slices.DeleteFunc(slices.Clone(labels), func(l label) bool {
		return slices.ContainsFunc(off, func(name string) bool { return strings.EqualFold(name, l.Name) })
	})
	for _, name := range on {
		if !has(out, name) {
			out = append(out, label{name})
		}
	}
	return out
}

func short(p events.Payload) string { return strings.TrimPrefix(p.EventType(), events.Prefix) }

// lookup is what is asked for, and where.
func lookup(p events.GitHubLookupRequested) string {
	var b strings.Builder
	if p.Path != "" {
		b.WriteString(" " + p.Path + " at " + p.Ref)
	}
	for _, f := range p.Files {
		b.WriteString(" " + path.Base(f))
	}
	if len(p.Files) > 0 {
		b.WriteString(" at " + strings.Join(append(p.In, p.Head), " "))
	}
	if p.Head != "" && len(p.Files) == 0 {
		b.WriteString(" at " + p.Head)
	}
	return strings.TrimRight(b.String(), " ")
}

// detail is what a reader of the specification wants to see of an event.
func detail(p events.Payload) string {
	var b strings.Builder
	c, ok := p.(events.GitHubChangeRequested)
	if !ok {
		switch p := p.(type) {
		case events.RunFinished:
			return " " + strings.TrimSpace(p.State+" "+p.Reason)
		case events.RunWaiting:
			return " " + p.For
		case events.ToolApproved:
			return " " + p.Tool
		case events.LabelApproved:
			return " " + p.Label + " by " + p.By.Login
		case events.GitHubLookupRequested:
			return lookup(p)
		case events.GitHubReviewRequested:
			return fmt.Sprintf(" #%d at %s", p.PullRequest, p.Head)
		case events.AgentRequested:
			for _, s := range p.Services {
				b.WriteString(" " + s.Name + "=" + s.Image)
			}
		}
		return b.String()
	}
	for _, l := range c.On {
		b.WriteString(" +" + l)
	}
	for _, l := range c.Off {
		b.WriteString(" -" + l)
	}
	if c.PullRequest != 0 && !(slices.Equal(c.On, c.PullOn) && slices.Equal(c.Off, c.PullOff)) {
		fmt.Fprintf(&b, " #%d", c.PullRequest)
		for _, l := range c.PullOn {
			b.WriteString(" +" + l)
		}
		for _, l := range c.PullOff {
			b.WriteString(" -" + l)
		}
	}
	if c.PullBase != "" {
		b.WriteString(" into " + c.PullBase)
	}
	if c.Note != nil {
		return b.String() + " note: " + c.Note.Text
	}
	if c.Status != nil {
		b.WriteString(" status=" + c.Status.State)
	}
	fmt.Fprintf(&b, " v%d", c.Version)
	comment, offer, _ := strings.Cut(strings.TrimSpace(c.Comment), "\n\nWhat may follow, by its label:\n\n")
	lines := strings.Split(comment, "\n")
	for i, line := range lines { // the note, the state, what is next, and the labels that may follow
		if i == 0 || strings.HasPrefix(line, "### ") || i == len(lines)-1 && c.Version > 0 {
			fmt.Fprintf(&b, "\n        %s", line)
		}
	}
	if offer != "" {
		b.WriteString("\n        may follow:")
		for line := range strings.Lines(offer) {
			b.WriteString(" " + strings.Split(line, "`")[1])
		}
	}
	return b.String()
}
