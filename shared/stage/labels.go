package stage

import (
	"slices"
	"strings"
	"unicode"

	"codexk8s.dev/shared/events"
)

// A Trigger is what a label asks for.
type Trigger struct {
	Stage string
	Kind  events.Kind
	Abort bool
}

// Trigger reads a label, whose name has no case. ok is false when the label starts nothing; known is false when it
// looks like a trigger (it has the prefix) but no stage owns it. The stage of a review is that of its pull request.
func (p *Process) Trigger(label string) (t Trigger, known, ok bool) {
	if p.Labels.Reviewer != "" && same(label, p.Labels.Reviewer) {
		return Trigger{Kind: events.KindReview}, true, true
	}
	if !p.IsTrigger(label) {
		return Trigger{}, false, false
	}
	if same(label, p.Labels.Abort) {
		return Trigger{Abort: true}, true, true
	}
	for i := range p.Stages {
		switch s := &p.Stages[i]; {
		case same(label, s.Label):
			return Trigger{Stage: s.Name, Kind: events.KindWork}, true, true
		case same(label, s.Label+p.Labels.Revise):
			return Trigger{Stage: s.Name, Kind: events.KindRevise}, true, true
		}
	}
	return Trigger{}, false, true
}

// Begins reports whether somebody is waiting for something when the label stands on an issue: a run, an end of one, or
// a discussion.
func (p *Process) Begins(label string) bool {
	_, known, _ := p.Trigger(label)
	return known || p.Labels.Discussion != "" && same(label, p.Labels.Discussion)
}

// IsTrigger reports whether the label has the prefix of those that start something. Only people may set such a label.
func (p *Process) IsTrigger(label string) bool {
	return strings.HasPrefix(fold(label), fold(p.Labels.Trigger))
}

// triggers returns those labels that start or stop something, sorted.
func (p *Process) triggers(labels []string) []string {
	var ts []string
	for _, l := range labels {
		if _, known, _ := p.Trigger(l); known {
			ts = append(ts, l)
		}
	}
	slices.Sort(ts)
	return slices.CompactFunc(ts, same)
}

// LabelOf is the label that starts the stage, its revise or its review, or that under which people discuss it. For a
// stage that the process doesn't have it is made from the stage's name, so that a run always has something to show.
func (p *Process) LabelOf(stage string, kind events.Kind) string {
	switch kind {
	case events.KindReview:
		return p.Labels.Reviewer
	case events.KindDiscussion:
		return p.Labels.Discussion
	}
	label := ""
	if i := p.position(stage); i >= 0 {
		label = p.Stages[i].Label
	}
	if label == "" {
		label = p.Labels.Trigger + stage
	}
	if kind == events.KindRevise {
		label += p.Labels.Revise
	}
	return label
}

// choice reads the one value that labels of the pattern give, "prefix*suffix", in
// lower case. Two different values are a conflict, for a person to resolve. No label is of the pattern "".
func choice(pattern string, labels []string) (value string, conflict []string) {
	if pattern == "" {
		return "", nil
	}
	prefix, suffix, _ := strings.Cut(fold(pattern), "*")
	for _, l := range labels {
		v, ok := strings.CutPrefix(fold(l), prefix)
		if ok {
			v, ok = strings.CutSuffix(v, suffix)
		}
		if ok && v != "" {
			value = v
			conflict = append(conflict, l)
		}
	}
	slices.Sort(conflict)
	conflict = slices.CompactFunc(conflict, same)
	if len(conflict) < 2 {
		conflict = nil
	}
	return value, conflict
}

// model is the one that the labels choose, as the process spells it; ok is false when it is not allowed.
func (p *Process) model(labels []string) (model string, ok bool) {
	chosen, _ := choice(p.Models.Label, labels)
	if chosen == "" {
		return "", true
	}
	i := slices.IndexFunc(p.Models.Allowed, func(m string) bool { return same(m, chosen) })
	if i < 0 {
		return chosen, false
	}
	return p.Models.Allowed[i], true
}

// effort is the reasoning effort that the labels choose, in the API's word; ok is false when there is no such effort.
func (p *Process) effort(labels []string) (effort string, ok bool) {
	chosen, _ := choice(p.Reasoning.Label, labels)
	if chosen == "" {
		return p.Reasoning.Allowed[p.Reasoning.Default], true
	}
	for word, effort := range p.Reasoning.Allowed {
		if same(word, chosen) {
			return effort, true
		}
	}
	return chosen, false
}

// GitHub's label names have no case. fold gives all spellings of a name one form (lower case where it is ASCII), so
// that it agrees with strings.EqualFold, by which other functions compare.
func fold(label string) string { return strings.Map(foldRune, label) }

func foldRune(r rune) rune {
	least := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		least = min(least, other)
	}
	if 'A' <= least && least <= 'Z' {
		return least + 'a' - 'A'
	}
	return least
}

func same(a, b string) bool { return strings.EqualFold(a, b) }

func has(labels []string, label string) bool {
	return slices.ContainsFunc(labels, func(l string) bool { return same(l, label) })
}

// with adds the label unless it is there.
func with(labels []string, label string) []string {
	if has(labels, label) {
		return labels
	}
	return append(slices.Clone(labels), label)
}

// without removes the label, whatever its case.
func without(labels []string, label string) []string {
	return slices.DeleteFunc(slices.Clone(labels), func(l string) bool { return same(l, label) })
}

// among are the labels that others contains too.
func among(labels, others []string) []string {
	return slices.DeleteFunc(slices.Clone(labels), func(l string) bool { return !has(others, l) })
}
