// Package prompt turns an assignment into the text that an agent engine is given. It is pure: values in, text out.
//
// The text comes from the embedded templates/*.tmpl, chosen by stage: "dev", "dev:revise", and "stage" for every stage
// that has no template of its own. The hash of the template is returned, so that a run can record which wording it had.
//
// Anybody who can comment writes issue and review text, so it never mixes with our instructions. It is put in fences
// whose marks carry a nonce that does not occur in the text itself:
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
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"strings"
	"text/template"

	"codexk8s.dev/shared/events"
)

// Input is everything that a prompt may say.
type Input struct {
	Repository   string // "owner/name"
	BaseBranch   string
	Branch       string // checked out in the workspace
	Stage        string // e.g. "dev"
	Role         string // e.g. "dev"
	Kind         events.Kind
	Issue        Issue
	PullRequest  int      // 0 = none
	Review       *Review  // on a revise; nil when the run was started by label alone
	WriteScope   []string // globs; empty = the whole repository
	Instructions string   // the project's own rules, trusted
	Services     []Service
	Decisions    []Decision // about what the run asked people
	DropHidden   bool       // leave out what people do not see in issue and review, instead of marking it
	Ended        string     // why an earlier conversation about the task cannot go on, e.g. the model's code; empty = there is none
	// Nonce makes the fences unguessable. At least 16 characters, fresh per prompt.
	Nonce string
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

// Service is one of the project's services next to the agent, reviewed by people.
type Service struct {
	Name     string
	URL      string
	Variable string // of the environment that holds the URL
}

// Issue is the work item. Title and Body are untrusted.
type Issue struct {
	Number int
	Title  string
	Body   string
	URL    string
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

// Prompt is the rendered text and where it came from.
type Prompt struct {
	Text     string
	Template string // e.g. "dev:revise"
	Hash     string // SHA-256 of the template's source, hex
	// Hidden is what people don't see when GitHub shows issue and review: passages and runs of characters.
	Hidden []string
}

// minNonce is the shortest nonce that Render takes: 64 bits as hex.
const minNonce = 16

//go:embed templates/*.tmpl
var templateFiles embed.FS

// openings names the template file of each stage; "stage" serves all others.
var openings = map[string]string{
	"dev":        "templates/dev.tmpl",
	"dev:revise": "templates/dev-revise.tmpl",
	"stage":      "templates/stage.tmpl",
}

// Render gives the opening prompt of a run, with what people have decided. The error is about the caller's input (nonce
// missing) or an embedded template that does not execute; no issue or review text can cause one.
func Render(in Input) (Prompt, error) {
	name := in.Stage
	if in.Kind != events.KindWork {
		name += ":" + string(in.Kind)
	}
	if _, ok := openings[name]; !ok {
		name = "stage"
	}
	p, err := render(name, openings[name], in)
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
		return render("continue:restored", "templates/continue-restored.tmpl", in)
	}
	return render("continue", "templates/continue.tmpl", in)
}

// Decided says what people have decided, to follow a Continue; empty if nothing is decided.
func Decided(in Input) (string, error) {
	if len(in.Decisions) == 0 {
		return "", nil
	}
	p, err := render("decided", "templates/decided.tmpl", in)
	return "\n" + p.Text, err
}

func render(name, file string, in Input) (Prompt, error) {
	if len(in.Nonce) < minNonce {
		return Prompt{}, fmt.Errorf("the nonce has %d characters, give at least %d random ones", len(in.Nonce), minNonce)
	}
	hidden := hiddenIn(in)
	if in.DropHidden {
		in = withoutHidden(in)
	}
	nonce := unused(in.Nonce, untrusted(in))
	source, err := templateFiles.ReadFile(file)
	if err != nil {
		return Prompt{}, fmt.Errorf("reading template %s: %w", name, err)
	}
	rules, err := templateFiles.ReadFile("templates/rules.tmpl")
	if err != nil {
		return Prompt{}, fmt.Errorf("reading the rules: %w", err)
	}
	t, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{
		"fence": func(label, text string) string { return fence(label, nonce, text) },
	}).Parse(string(source))
	if err != nil {
		return Prompt{}, fmt.Errorf("parsing template %s: %w", name, err)
	}
	if _, err := t.New("rules").Parse(string(rules)); err != nil {
		return Prompt{}, fmt.Errorf("parsing the rules: %w", err)
	}
	var out bytes.Buffer
	data := struct {
		Input
		IssueText  string
		ReviewText string
	}{in, issueText(in.Issue), reviewText(in.Review)}
	if err := t.Execute(&out, data); err != nil {
		return Prompt{}, fmt.Errorf("executing template %s: %w", name, err)
	}
	sum := sha256.Sum256(append(source, rules...))
	return Prompt{
		Text:     strings.TrimSpace(out.String()) + "\n",
		Template: name,
		Hash:     hex.EncodeToString(sum[:]),
		Hidden:   hidden,
	}, nil
}

func untrusted(in Input) string {
	text := issueText(in.Issue) + reviewText(in.Review)
	for _, d := range in.Decisions {
		text += d.Text()
	}
	return text
}
