package prompt

import (
	"fmt"
	"strings"
)

// contextVersion is that of the facts which every prompt ends with. It grows when their meaning changes.
const contextVersion = 1

// minNonce is the shortest nonce that Render takes: 64 bits as hex.
const minNonce = 16

// data is what templates see: facts, parts that are written already, and untrusted text in its fences.
type data struct {
	Facts
	Version  int
	Template string
	Writes   bool // files; else it only reads
	Asks     bool // it has the tool that asks people

	Goal, Method, Done, Checks, Questions string // of the stage
	Artefacts, Documents                  []artefact

	Issue, Pull, Review, Talk string
	Decisions                 []decision
}

type artefact struct {
	Artefact
	Title string // in one line
	Guide string // what it holds; "" = nothing is known about it
}

type decision struct {
	Mark, Outcome string
	Said          string // in its fence
}

// render writes the part with that name, which is a whole message.
func render(name string, in Input) (Prompt, error) {
	w, err := wordingOf(in.Language, in.Own)
	if err != nil {
		return Prompt{}, err
	}
	return w.render(name, in)
}

func (w *wording) render(name string, in Input) (Prompt, error) {
	if len(in.Nonce) < minNonce {
		return Prompt{}, fmt.Errorf("the nonce has %d characters, give at least %d random ones", len(in.Nonce), minNonce)
	}
	hidden := hiddenIn(in)
	if in.DropHidden {
		in = withoutHidden(in)
	}
	name = w.forStage(name, in.Stage)
	d, used := in.data(), w.used(name, in.Facts)
	d.Template = used.String()
	if err := d.describe(w); err != nil {
		return Prompt{}, err
	}
	text, err := w.write(name, d)
	if err != nil {
		return Prompt{}, err
	}
	return Prompt{Text: text + "\n", Used: used, Hidden: hidden}, nil
}

// data is the input as templates see it, before the parts of stage and artefacts are written.
func (in Input) data() data {
	nonce := unused(in.Nonce, untrusted(in))
	d := data{
		Facts: in.Facts, Version: contextVersion, Writes: in.Kind.Writes(),
		Issue: fence("issue", nonce, issueText(in.Issue)),
	}
	for _, t := range in.Tools {
		d.Asks = d.Asks || t.Name == "ask"
	}
	if in.Pull != nil {
		d.Pull = fence("pull", nonce, pullText(in.Pull))
	}
	if in.Review != nil {
		d.Review = fence("review", nonce, reviewText(in.Review))
	}
	if len(in.Talk) > 0 {
		d.Talk = fence("talk", nonce, talkText(in.Talk))
	}
	for _, asked := range in.Decisions {
		d.Decisions = append(d.Decisions, decision{asked.Mark(), asked.Outcome, fence("decision", nonce, asked.Text())})
	}
	return d
}

// describe writes the parts of stage and artefacts.
func (d *data) describe(w *wording) (err error) {
	for i, text := range []*string{&d.Goal, &d.Method, &d.Done, &d.Checks, &d.Questions} {
		if *text, err = w.write(w.ofStage(stageParts[i], d.Stage), *d); err != nil {
			return err
		}
	}
	if d.Artefacts, err = w.described(d.Facts.Artefacts, *d); err != nil {
		return err
	}
	d.Documents, err = w.described(d.Facts.Documents, *d)
	return err
}

// described gives each artefact its title and its guide.
func (w *wording) described(all []Artefact, d data) ([]artefact, error) {
	var out []artefact
	for _, a := range all {
		text, err := a.About, error(nil)
		if part := "artefact " + a.Name; w.has(part) {
			text, err = w.write(part, d)
		}
		if err != nil {
			return nil, err
		}
		title, guide, _ := strings.Cut(text, "\n")
		out = append(out, artefact{a, title, guide})
	}
	return out, nil
}

func untrusted(in Input) string {
	text := issueText(in.Issue) + pullText(in.Pull) + reviewText(in.Review) + talkText(in.Talk)
	for _, d := range in.Decisions {
		text += d.Text()
	}
	return text
}
