// Package prompt turns an assignment into the text that an agent engine is given. It is pure: values in, text out.
//
// A prompt is made of parts, each a template with a name (templates/<language>/*.tmpl). Of the kind "work" it is
//
//	work ──▶ goal <stage> · the issue · documents · method <stage> · deliver ──▶ artefact <name>, done <stage>
//	     ──▶ gate · rules ──▶ trust · end (learning mode, context, the project's own rules)
//
// and the kinds "revise", "review" (with "checks <stage>") and "discussion" (with "questions <stage>") are made of the
// same. So there is one prompt for each stage, kind and language, and one text for each thing that is said. A stage
// without parts of its own has those of "any", an artefact without one is named by what the process says about it.
//
// An installation and a project may have parts of their own (Parts), the project's before the installation's. They are
// checked where they are loaded; one that this release can't use fails the prompt, and nothing takes its place. "work
// <stage>" and the like stand in for the part of the kind, for that stage alone. A prompt's hash is that of all the
// parts it may be made of, so that a run can record which wording it had.
//
// Anybody who can comment writes issue and review text, so it never mixes with our instructions: templates get it only
// in fences, whose marks carry a nonce that does not occur in the text itself:
//
//	<<<DATA issue 5f0c…
//	(text)
//	DATA issue 5f0c…>>>
//
// Text cannot close its fence because it cannot contain the mark: if it does, Render picks another nonce. What a
// person who approves the issue would not see is marked (reveal) or left out (DropHidden), the rules tell the agent not
// to follow it, and Prompt.Hidden lists it for people. Too long text is cut, and says so.
package prompt

import (
	"codexk8s.dev/shared/events"
)

// Input is everything that a prompt may say.
type Input struct {
	Facts
	Issue     Issue
	Pull      *Pull      // in a review, what is reviewed besides the files; nil = nothing is known of it
	Review    *Review    // on a revise; nil when the run was started by label alone
	Talk      []Remark   // in a discussion, what people have written since the agent's last message; else what was discussed before
	Decisions []Decision // about what the run asked people

	Language   string // a key of Languages; "" = DefaultLanguage
	Own        []Own  // parts in place of the built-in ones; of two with the same name the later one counts
	DropHidden bool   // leave out what people do not see in untrusted text, instead of marking it
	// Nonce makes the fences unguessable. At least 16 characters, fresh per prompt.
	Nonce string
}

// Facts are what templates may say as it stands. Nobody outside of platform and project has written any of it.
type Facts struct {
	Run          string // UUID
	Project      string
	Namespace    string // of Kubernetes; "" = not known
	Repository   string // "owner/name"
	BaseBranch   string
	Branch       string // checked out in the workspace
	Number       int    // of the issue
	URL          string // of the issue
	PullRequest  int    // 0 = none
	Stage        string // e.g. "dev"
	Kind         events.Kind
	Role         string     // e.g. "dev"
	Mode         string     // "code-only" or "full-env"
	WriteScope   []string   // globs; empty = the whole repository
	Artefacts    []Artefact // files that the stage makes
	Documents    []Artefact // that stages before have left in the repository
	Services     []Service
	Tools        []Tool
	Learning     bool     // explain decisions to the people
	Instructions string   // the project's own rules
	Missing      []string // when the work goes back to the agent: what is wrong with the stage's files, a line each
	Ended        string   // why an earlier conversation about the task cannot go on, e.g. the model's code; empty = there is none
}

// Artefact is a file that a stage makes, by the names of the process.
type Artefact struct {
	Name  string // e.g. "prd"
	Path  string // in the repository
	About string // the process's words for it, shown where no part describes it
}

// Tool is one of the platform's, that the agent may call.
type Tool struct {
	Name string
	Free bool // nobody has to say yes first
}

// Service is one of the project's services next to the agent, reviewed by people.
type Service struct {
	Name     string
	URL      string
	Variable string // of the environment that holds the URL
}

// Decision is how a request to people ended. Answer is theirs, the rest of the text the agent's own.
type Decision struct {
	Request   string // its id
	Asked     string
	Arguments string // JSON; "" = none
	Outcome   string // done or not_done of what the platform does after a yes; else approved, denied, answered, expired, withdrawn, superseded
	By        []string
	Answer    string // or the reason, or what came of it; "" = none
}

// Mark is a text that occurs in every conversation that was told the decision.
func (d Decision) Mark() string { return "Request " + d.Request + " is decided" }

// Issue is the text of the work item. All of it is untrusted.
type Issue struct {
	Title  string
	Labels []string
	Body   string
}

// Pull is what a pull request says for itself, and what checks say of its head. All of it is untrusted.
type Pull struct {
	Title  string
	Body   string
	Checks []Check
}

// Check is one result, as whoever checked words it.
type Check struct {
	Name  string
	State string // e.g. success, failure, in_progress
	Said  string // "" = nothing
}

// Review is what a person wants changed. All of it is untrusted.
type Review struct {
	Author   string
	Body     string
	Comments []Comment
}

// Comment is a remark on a line of the diff; Line 0 is the whole file.
type Comment struct {
	Path     string
	Line     int
	Author   string
	Body     string
	DiffHunk string
}

// Remark is something said in a discussion. All of it is untrusted.
type Remark struct {
	Author string // "" = an agent
	Body   string
}

// Prompt is the rendered text and where it came from.
type Prompt struct {
	Text string
	Used Used
	// Hidden is what people don't see when GitHub shows issue and review: passages and runs of characters.
	Hidden []string
}

// Render gives the opening prompt of a run, with what people have decided. The error is about the caller's input (nonce
// missing, no such language) or a part that does not execute (*PartError); no issue or review text can cause one.
func Render(in Input) (Prompt, error) {
	p, err := render(string(in.Kind), in)
	if err != nil {
		return p, err
	}
	decided, err := Decided(in)
	p.Text += decided
	return p, err
}

// Continue gives the message for an engine whose conversation was cut off by a lost pod and is resumed: the
// conversation itself holds the task. Restored says whether its changes to files were restored too.
func Continue(in Input, restored bool) (Prompt, error) {
	if restored {
		return render("continue-restored", in)
	}
	return render("continue", in)
}

// Incomplete gives the message that sends the work back to the agent, once, in its conversation: in.Missing says why.
func Incomplete(in Input) (Prompt, error) { return render("incomplete", in) }

// Decided says what people have decided, to follow a Continue; empty if nothing is decided.
func Decided(in Input) (string, error) {
	if len(in.Decisions) == 0 {
		return "", nil
	}
	p, err := render("decided", in)
	return "\n" + p.Text, err
}
