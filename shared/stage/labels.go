package stage

import (
	"slices"
	"strings"
)

// A Trigger is what a label asks for.
type Trigger struct {
	Stage  string
	Revise bool
	Abort  bool
}

// Trigger reads a label. ok is false when the label starts nothing; known is
// false when it looks like a trigger (it has the prefix) but no stage owns it.
func (p *Process) Trigger(label string) (t Trigger, known, ok bool) {
	if !p.IsTrigger(label) {
		return Trigger{}, false, false
	}
	if label == p.Labels.Abort {
		return Trigger{Abort: true}, true, true
	}
	name, revise := strings.CutSuffix(label, p.Labels.Revise)
	for _, s := range p.Stages {
		if s.Label == name {
			return Trigger{Stage: s.Name, Revise: revise}, true, true
		}
	}
	return Trigger{}, false, true
}

// IsTrigger reports whether the label has the prefix of those that start
// something. Only people may set such a label.
func (p *Process) IsTrigger(label string) bool { return strings.HasPrefix(label, p.Labels.Trigger) }

// triggers returns those labels that start something, sorted.
func (p *Process) triggers(labels []string) []string {
	var ts []string
	for _, l := range labels {
		if p.IsTrigger(l) {
			ts = append(ts, l)
		}
	}
	slices.Sort(ts)
	return slices.Compact(ts)
}

// LabelOf is the label that starts the stage, or its revise.
func (p *Process) LabelOf(stage string, revise bool) string {
	label := p.Stage(stage).Label
	if revise {
		label += p.Labels.Revise
	}
	return label
}

// choice reads the one value that labels of the pattern give, "prefix*suffix".
// Two different values are a conflict, for a person to resolve.
func choice(pattern string, labels []string) (value string, conflict []string) {
	prefix, suffix, _ := strings.Cut(pattern, "*")
	for _, l := range labels {
		v, ok := strings.CutPrefix(l, prefix)
		if ok {
			v, ok = strings.CutSuffix(v, suffix)
		}
		if ok && v != "" {
			value = v
			conflict = append(conflict, l)
		}
	}
	slices.Sort(conflict)
	conflict = slices.Compact(conflict)
	if len(conflict) < 2 {
		conflict = nil
	}
	return value, conflict
}
