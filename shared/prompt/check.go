package prompt

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/yamlfile"
)

// Parts are templates in place of built-in ones, by language and name of the part, as people write them:
//
//	en:
//	  artefact prd: |
//	    The product requirements
//	    - **Summary**: …
type Parts map[string]map[string]string

// maxPart bounds one part, in bytes.
const maxPart = 32 << 10

// Parse reads and checks an installation's file of parts, whose version is the hash of its text. Its error lists every
// fault with its line.
func Parse(data []byte) (Versioned, error) {
	p := Parts{}
	file, err := yamlfile.Read(data, &p)
	if err != nil {
		return Versioned{}, fmt.Errorf("reading the prompts: %w", err)
	}
	p.Check(file)
	if err := file.Err(); err != nil {
		return Versioned{}, fmt.Errorf("the prompts are invalid: %w", err)
	}
	sum := sha256.Sum256(data)
	return Versioned{p, hex.EncodeToString(sum[:6])}, nil
}

// Versioned are parts, and by which their owners know them.
type Versioned struct {
	Parts   Parts
	Version string
}

// Check reports the faults of the parts that stand at the path of the file: languages and parts that there are not, and
// whatever keeps a part from use in any prompt that it may be in: a field that there is not, untrusted text outside of
// its fence, the task or the rules about such text left out.
func (p Parts) Check(file *yamlfile.File, path ...any) {
	for _, language := range slices.Sorted(maps.Keys(p)) {
		at := slices.Concat(path, []any{language})
		if !slices.Contains(Languages(), language) {
			file.Bad(at, "%q: want a language, one of %s", language, strings.Join(Languages(), ", "))
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(p[language])) {
			e := check(language, name, p[language][name])
			if e == nil {
				continue
			}
			line, literal := file.Block(slices.Concat(at, []any{name})...)
			if literal {
				line += e.Line - 1
			}
			file.BadAt(line, "part %q: %s", name, e.Text)
		}
	}
}

// partNames are the names that parts may have.
var partNames = regexp.MustCompile(`^(` + strings.Join(slices.Concat(blocks, messages), "|") + `|(work|revise|review|discussion)( [a-z0-9-]+)?` +
	`|(` + strings.Join(stageParts, "|") + `) [a-z0-9-]+|artefact [a-z0-9_-]+)$`)

// check tries the part out in each prompt that it may be in.
func check(language, name, text string) *PartError {
	bad := func(format string, args ...any) *PartError {
		return &PartError{Part: name, Line: 1, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case !partNames.MatchString(name):
		return bad("there is no such part: want a kind (work, revise, review, discussion), alone or with a stage, one of %s with a stage, an artefact, or one of %s",
			strings.Join(stageParts, ", "), strings.Join(slices.Concat(blocks, messages), ", "))
	case name == "trust":
		return bad("it tells agents what not to trust, and can't be replaced")
	case len(text) > maxPart:
		return bad("it has %d bytes, at most %d are taken", len(text), maxPart)
	}
	w, err := wordingOf(language, []Own{{Parts: map[string]string{name: text}}})
	for _, in := range samples(name) {
		var got Prompt
		if err == nil {
			got, err = w.render(message(name, in.Kind), in)
		}
		if e := new(PartError); errors.As(err, &e) {
			return e
		} else if err != nil {
			return bad("%s", err)
		}
		if why := w.unsafe(got.Text, name, in); why != "" {
			return bad("%s", why)
		}
	}
	return nil
}

// message is which message to write to see the part.
func message(part string, kind events.Kind) string {
	if slices.Contains(messages, part) {
		return part
	}
	return string(kind)
}

// samples are inputs for all prompts that the part may be in: of each kind, with everything and with only a task.
func samples(part string) (all []Input) {
	first, stage, _ := strings.Cut(part, " ")
	for _, kind := range Kinds() {
		if slices.Contains(Kinds(), events.Kind(first)) && first != string(kind) {
			continue
		}
		in := Input{
			Nonce: strings.Repeat("0123456789abcdef", 2), Issue: Issue{Title: foreign, Labels: []string{foreign}, Body: foreign},
			Facts: Facts{Repository: "owner/name", Number: 1, Stage: cmp.Or(stage, "dev"), Kind: kind, Role: "dev"},
		}
		if first == "artefact" {
			in.Facts.Stage, in.Facts.Artefacts = "any", []Artefact{{Name: stage, Path: "docs/x.md"}}
		}
		if part == "decided" {
			in.Decisions = []Decision{{Request: "1", Asked: foreign, Outcome: "answered", Answer: foreign}}
		}
		full := in
		full.PullRequest, full.WriteScope, full.Learning, full.Instructions, full.Ended = 1, []string{"*"}, true, "x", "x"
		full.Missing = []string{"x"}
		full.Services, full.Tools = []Service{{"x", "http://x", "X"}}, []Tool{{Name: "ask"}}
		full.Documents = []Artefact{{Name: "x", Path: "x.md", About: "x"}}
		full.Artefacts = append(full.Documents, full.Artefacts...)
		full.Talk = []Remark{{foreign, foreign}}
		switch kind {
		case events.KindRevise:
			full.Review = &Review{Author: foreign, Body: foreign, Comments: []Comment{{Path: "x", Author: foreign, Body: foreign}}}
		case events.KindReview:
			full.Pull = &Pull{Title: foreign, Body: foreign, Checks: []Check{{Name: foreign, State: foreign}}}
		}
		all = append(all, in, full)
	}
	return all
}

// foreign stands for untrusted text in samples.
const foreign = "text-of-somebody-else"

// unsafe says what the message that was made of a sample lacks; "" = nothing.
func (w *wording) unsafe(text, part string, in Input) string {
	for label, field := range fenced(part, in) {
		mark := marks(label, in.Nonce)
		if !mark.MatchString(text) {
			return fmt.Sprintf("the prompt lacks %s as it is, with the marks around it", field)
		}
		text = mark.ReplaceAllString(text, "")
	}
	for _, label := range []string{"pull", "talk"} { // a prompt may do without them
		text = marks(label, in.Nonce).ReplaceAllString(text, "")
	}
	if strings.Contains(text, foreign) || strings.Contains(text, in.Nonce) {
		return "text of others stands outside of its marks: write the fields that hold it as they are"
	}
	if slices.Contains(messages, part) {
		return ""
	}
	if trust, err := w.write("trust", in.data()); err != nil || !strings.Contains(text, trust) {
		return `the prompt lacks the rules about text of others: {{template "trust" .}} has to stand in it, or {{template "rules" .}}`
	}
	return ""
}

// marks finds a text of others with the marks around it.
func marks(label, nonce string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)<<<DATA ` + label + ` ` + nonce + `\n.*?\nDATA ` + label + ` ` + nonce + `>>>`)
}

// fenced are the texts of others that a message must have, by the label of their marks.
func fenced(part string, in Input) map[string]string {
	switch {
	case part == "decided":
		return map[string]string{"decision": "{{.Said}} of each of .Decisions"}
	case slices.Contains(messages, part):
		return nil
	case in.Review != nil:
		return map[string]string{"issue": "{{.Issue}}", "review": "{{.Review}}"}
	case in.Talk != nil && in.Kind == events.KindDiscussion:
		return map[string]string{"issue": "{{.Issue}}", "talk": "{{.Talk}}"}
	}
	return map[string]string{"issue": "{{.Issue}}"}
}
