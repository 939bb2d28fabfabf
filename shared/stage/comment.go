package stage

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/reason"
)

// How much of the status comment may be other people's text, in characters. GitHub's limit is 65536 for the whole.
const (
	roomForMessage = 8_000
	roomForSummary = 48_000
	usual          = 2_000 // of most comments
)

// Comment is the body of the item's one status comment, in GitHub's Markdown: the last answer to a person, where the
// run stands, its result, and what a person can do next. It mentions nobody: GitHub notifies those who follow the issue
// by itself.
func Comment(p *Process, i Item) string {
	r := i.stageRun()
	if r == nil {
		return strings.TrimSpace(i.Note + "\n\n" + discussed(p, i))
	}
	var b strings.Builder
	b.Grow(usual)
	if i.Note != "" {
		put(&b, i.Note, "\n\n")
	}
	if talk := discussed(p, i); talk != "" {
		put(&b, talk, "\n\n")
	}
	put(&b, "### `", p.LabelOf(r.Stage, r.Kind), "`: ", headline(i), "\n\n")
	if r.Message != "" {
		put(&b, quote(r.Message, roomForMessage), "\n\n")
	}
	if r.Summary != "" && r.State == Succeeded && r.Kind != events.KindReview { // which stands on the pull request
		put(&b, quote(r.Summary, roomForSummary), "\n\n")
	}
	put(&b, returned(r), asks(r), "| | |\n|---|---|\n")
	if f := i.profile(p); f.Name != "" {
		put(&b, "| Profile | ", code(f.Name), " |\n")
	}
	writePulls(&b, i)
	put(&b, "| Asked for by | ", r.RequestedBy, " |\n")
	put(&b, "| Agent | ", r.Engine, ", ", r.Model, ", reasoning ", r.Reasoning, " |\n")
	if l := r.Limited; l != nil && l.Fallback != "" && r.State.Active() {
		put(&b, "| Model | ", l.Fallback, " stands in for ", l.Model, " until ", stamp(l.Until), ": ", l.Message, " |\n")
	}
	put(&b, "| Run | `", r.ID, "` |\n")
	if r.Spent != (budget.Amount{}) {
		put(&b, "| Spent | ", budget.Line(r.Spent, r.Bounds), " |\n")
	}
	for _, w := range r.Warned {
		put(&b, "| Budget | ", w.Line, " |\n")
	}
	if r.BaseCommit != "" {
		put(&b, "| Based on | ", short(r.BaseCommit), " of ", strings.ReplaceAll(code(cmp.Or(r.Base, i.BaseBranch)), "|", `\|`), " |\n")
	}
	if t := r.Task; t != nil {
		put(&b, "| Text of the issue | `", t.Digest(), "`, as of ", stamp(t.At), " |\n")
		if t.Editor != "" {
			put(&b, "\n", edited(p, r), "\n")
		}
		if len(t.Hidden) > 0 {
			put(&b, "\n", hidden(p, i, t), "\n")
		}
	}
	put(&b, "\n", next(p, i), "\n")
	writeOffer(&b, p, i)
	return b.String()
}

// put writes all parts. A comment is made with every decision, twice, so its parts go where they belong at once.
func put(b *strings.Builder, parts ...string) {
	for _, part := range parts {
		b.WriteString(part)
	}
}

// putCode writes what code gives.
func putCode(b *strings.Builder, name string) {
	if isPlain(name) {
		put(b, "`", name, "`")
		return
	}
	b.WriteString(code(name))
}

// writeOffer lists what may follow the run that has ended, each with its label.
func writeOffer(b *strings.Builder, p *Process, i Item) {
	run := i.stageRun()
	if run.State != Succeeded || i.Closed {
		return
	}
	profile, own := i.profile(p).Name, i.pullOf(run.Stage)
	steps := p.Following(run.Stage, profile, own.isOpen())
	if again := p.Stage(run.Reopens); again.Name != "" {
		steps = []Step{{Label: again.Label, About: "Begins again there: " + again.About}}
	}
	for n, s := range steps {
		if n == 0 {
			b.WriteString("\nWhat may follow, by its label:\n\n")
		}
		put(b, "- ")
		putCode(b, s.Label)
		if s.OnPull {
			put(b, " on the pull request")
		}
		if s.About != "" {
			put(b, ": ", s.About)
		}
		if profile == "" && len(s.Profiles) > 0 && len(s.Profiles) < len(p.Profiles) {
			put(b, " (", strings.Join(s.Profiles, ", "), ")")
		}
		put(b, "\n")
	}
}

// waits says what the run is waiting for.
func waits(r *Run) string {
	switch {
	case len(r.Open()) == 0 && r.WaitingFor == ForRateLimit:
		return "its model, until " + stamp(r.NotBefore)
	case r.awaited():
		return "the required checks " + quoted(r.Exit.Awaits)
	case len(r.Open()) == 0:
		return "the agent's container to end"
	case r.WaitingFor == ForBudget:
		return "people to extend its budget"
	case !slices.ContainsFunc(r.Open(), func(a Ask) bool { return a.Answer == nil }):
		return "the platform to do what was approved"
	case r.WaitingFor == ForApproval:
		return "a decision"
	}
	return "an answer"
}

const (
	// maxAnswered is how many decided requests are shown at most, the newest ones.
	maxAnswered = 10
	// maxBrief is how much is shown of each of their texts, in characters. An answer may have thousands.
	maxBrief = 200
)

// brief is code with the end of a long text left out.
func brief(text string) string {
	if runes := []rune(text); len(runes) > maxBrief {
		text = string(runes[:maxBrief-1]) + "…"
	}
	return code(text)
}

// asks shows what the run waits for, as long as it may continue, and what people have decided.
func asks(r *Run) string {
	if len(r.Asks) == 0 {
		return ""
	}
	var open, answered []string
	for _, a := range r.Asks {
		switch {
		case a.Answer != nil:
			answered = append(answered, fmt.Sprintf("- %s %s: %s", code(a.Digest), brief(a.Title), outcome(a)))
		case r.State.Active():
			line := fmt.Sprintf("- %s %s", code(a.Digest), code(a.Title))
			for i, o := range a.Options {
				line += fmt.Sprintf("\n  %d. %s", i+1, code(o))
			}
			open = append(open, line)
		}
	}
	var b strings.Builder
	if len(open) > 0 {
		who := "The agent asks"
		if r.WaitingFor == ForBudget {
			who = "The platform asks"
		}
		fmt.Fprintf(&b, "%s:\n\n%s\n\n", who, strings.Join(open, "\n"))
	}
	if left := len(answered) - maxAnswered; left > 0 {
		answered = append([]string{fmt.Sprintf("- … and %d before", left)}, answered[left:]...)
	}
	if len(answered) > 0 {
		fmt.Fprintf(&b, "Decided:\n\n%s\n\n", strings.Join(answered, "\n"))
	}
	return b.String()
}

// outcome is how an ask ended, and who decided.
func outcome(a Ask) string {
	words := string(a.Answer.Outcome)
	if len(a.Answer.By) > 0 {
		words += " by " + quoted(a.Answer.By)
	}
	if said := a.Said(); said != "" {
		words += ", " + brief(said)
	}
	if a.Result != nil && !budget.IsAsk(a.Action) {
		word, said := a.Outcome()
		words += ", " + strings.ReplaceAll(word, "_", " ") + ": " + brief(said)
	}
	return words
}

// edited says that the text differs from the run's task, and how to make the present text the task.
func edited(p *Process, r *Run) string {
	return fmt.Sprintf("%s edited the issue later. That is not part of this run. To have it done, somebody with the right edits the issue, or sets `%s` when this run has ended.",
		r.Task.Editor, p.LabelOf(r.Stage, events.KindWork))
}

// maxHidden is how many hidden passages are shown at most.
const maxHidden = 20

// hidden shows, to the person who approved the task, what the page hides of its text, and says whether the
// agent sees it.
func hidden(p *Process, i Item, t *Task) string {
	var b strings.Builder
	passages := t.Hidden
	fate := "It is marked for the agent, which is told not to follow it"
	if i.Project != nil && i.Project.Settings.HiddenText == project.DropHidden {
		fate = "It is left out of the agent's task"
	}
	fmt.Fprintf(&b, "The text of the issue holds what its page does not show. %s. If it should not be there, set `%s` and edit the issue:\n", fate, p.Labels.Abort)
	for n, passage := range passages {
		if n == maxHidden {
			fmt.Fprintf(&b, "\n- … and %d more", len(passages)-n)
			break
		}
		fmt.Fprintf(&b, "\n- %s", code(passage))
	}
	return b.String()
}

// writePulls names each stage's pull request, with how it stands.
func writePulls(b *strings.Builder, i Item) {
	for _, p := range i.Pulls {
		put(b, "| Pull request")
		if len(i.Pulls) > 1 || p.Stage != i.stageRun().Stage {
			put(b, " of ", code(p.Stage))
		}
		put(b, " | #", strconv.Itoa(p.Number), p.state())
		if on := slices.IndexFunc(i.Pulls, func(o Pull) bool { return o.Branch == p.Base && o.Number != p.Number }); on >= 0 && p.isOpen() {
			put(b, ", upon #", strconv.Itoa(i.Pulls[on].Number))
		}
		put(b, " |\n")
	}
}

func (p *Pull) state() string {
	_, approved := p.approval()
	switch {
	case p.Merged:
		return ", merged"
	case p.Closed:
		return ", closed"
	case p.Draft:
		return ", a draft"
	case p.Superseded:
		return ", superseded"
	case approved:
		return ", approved"
	}
	return ""
}

// words name the states for people.
var words = map[State]string{
	Requested: "accepted", Queued: "waiting for a free place", Starting: "starting", Running: "the agent is working",
	Waiting: "waiting for ", Succeeded: "done, ready for review", Failed: "failed", Cancelled: "stopped", TimedOut: "out of time",
}

func headline(i Item) string {
	r := i.stageRun()
	s := words[r.State]
	switch {
	case r.State.Active() && r.Delivered != "" && r.Kind == events.KindReview:
		s = "leaving the review on the pull request"
	case r.State == Succeeded && r.Kind == events.KindReview:
		return "reviewed"
	case r.State.HoldsPod() && r.Delivered != "":
		s = "looking at what the agent has left"
	case r.Reason == reason.ArtefactMissing:
		s = "not started"
	case r.State == Waiting:
		s += waits(r)
	case r.State == Queued:
		s += inQueue(r.Position)
	}
	if r.Reason != "" {
		s += " (" + r.Reason + ")"
	}
	if r.State != Succeeded {
		return s
	}
	own := i.pullOf(r.Stage)
	switch _, approved := own.approval(); {
	case own.Merged:
		return "done and merged"
	case own.Closed:
		return "done, the pull request was closed"
	case own.Draft:
		return "done, the pull request is a draft"
	case approved:
		return "done and approved"
	}
	return s
}

// next says what a person can do now.
func next(p *Process, i Item) string {
	r := i.stageRun()
	switch {
	case !r.State.Final() && i.Next != nil:
		return fmt.Sprintf("%s follows when it has succeeded, as %s has approved. `%s` stops both.", code(i.Next.Label), i.Next.By.Login, p.Labels.Abort)
	case !r.State.Final():
		return "`" + p.Labels.Abort + "` stops it."
	}
	if i.isHeld() {
		return fmt.Sprintf("%s is held back: take `%s` off to start it.", code(i.Held.Label), p.Labels.Held)
	}
	again, revise, fresh := p.LabelOf(r.Stage, r.Kind), p.LabelOf(r.Stage, events.KindRevise), p.LabelOf(r.Stage, events.KindWork)
	own := i.pullOf(r.Stage)
	goOn := again // with what there is
	if own.Number != 0 {
		goOn = revise
	}
	approval, approved := own.approval()
	switch {
	case p.position(r.Stage) < 0:
		return gone(p, r.Stage)
	case own.Merged:
		return fmt.Sprintf("The pull request is merged. `%s` on the open issue starts another one.", fresh)
	case i.Closed:
		return "The issue is closed. Reopen it to go on."
	case own.Number != 0 && own.Closed:
		return fmt.Sprintf("The pull request is closed. Reopen it to go on with it, or set `%s` for another one.", fresh)
	case isIncomplete(r.Reason) && i.NeedInput:
		return fmt.Sprintf("Say on the issue or the pull request how to go on, remove `%s`, then set `%s`.", p.Labels.NeedInput, goOn)
	case isIncomplete(r.Reason):
		return fmt.Sprintf("Set `%s` to go on.", goOn)
	case r.State != Succeeded:
		return fmt.Sprintf("Set `%s` again to retry.", again)
	case own.Draft:
		return "Mark the pull request as ready for review to go on."
	case approved && (approval.SHA == "" || approval.By == ""): // known by its label alone
		return "Approved. Ready to merge."
	case approved:
		return fmt.Sprintf("Approved by %s at %s. Ready to merge.", approval.By, short(approval.SHA))
	case len(own.Approvals) > 0:
		last := own.Approvals[len(own.Approvals)-1]
		return fmt.Sprintf("%s approved %s, and the pull request is at %s by now: review it again. *Request changes* starts `%s`, and so does the label.",
			cmp.Or(last.By, "Somebody"), short(last.SHA), short(own.HeadSHA), revise)
	}
	return "Review the pull request: *Request changes* starts `" + revise + "`, and so does the label."
}

// isIncomplete reports whether the run failed because of what it has left.
func isIncomplete(cause string) bool {
	return cause == reason.ArtefactsIncomplete || cause == reason.ChecksFailed || cause == reason.ChecksMissing
}

// gone says that the current process has no such stage.
func gone(p *Process, stage string) string {
	return fmt.Sprintf("The project's process has no stage %s any more. These labels start something, or stop it: %s.", code(stage), p.known())
}
