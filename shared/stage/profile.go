package stage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// A profile is chosen by a label on the issue. Anybody who may start runs chooses, by setting that label, by leaving it
// alone on the issue, or by starting a run under it. The item keeps the highest that it has gone by (Item.Profile):
// going back leaves out what a higher one takes for necessary, so that takes somebody who sets the lower label and may
// start runs, and is audited.

// profileOf is the profile that the labels choose; the zero Profile if they choose none, or none that there is.
func (p *Process) profileOf(labels []string) (f Profile, chosen string, conflict []string) {
	chosen, conflict = choice(p.Labels.Profile, labels)
	return p.Profile(chosen), chosen, conflict
}

// lower reports whether an item that goes by the profile named kept would go back by this one.
func (p *Process) lower(f Profile, kept string) bool {
	rank := func(name string) int {
		return slices.IndexFunc(p.Profiles, func(f Profile) bool { return same(f.Name, name) })
	}
	return rank(f.Name) < rank(kept)
}

// profile is the one that the item goes by, as far as its process has it: the higher of what it kept and what its
// labels say.
func (i *Item) profile(p *Process) Profile {
	f, _, conflict := p.profileOf(i.Labels)
	if kept := p.Profile(i.Profile); f.Name == "" || conflict != nil || p.lower(f, kept.Name) {
		return kept
	}
	return f
}

// unfitProfile says why nothing starts with the profiles that the item's labels name, or why its profile does not have
// the stage.
func (d *decision) unfitProfile(t Trigger) (cause, why string) {
	if cause, why := d.unclearProfile(); cause != "" {
		return cause, why + " Then set the trigger again."
	}
	switch chosen, _, _ := d.p.profileOf(d.item.Labels); {
	case chosen.Name != "" && d.p.lower(chosen, d.item.Profile):
		return reason.ProfileLowered, fmt.Sprintf("The issue has gone by the profile %s, and its label says %s by now. Going back leaves stages out, so a maintainer decides it: takes that label off and sets it again.",
			code(d.item.Profile), code(chosen.Name))
	case t.Kind == events.KindWork && d.p.skips(d.item.profile(d.p), t.Stage):
		return reason.StageSkipped, d.skipped(t.Stage)
	}
	return "", ""
}

// unclearProfile says why the item's labels choose no profile, though they try to.
func (d *decision) unclearProfile() (cause, why string) {
	f, chosen, conflict := d.p.profileOf(d.item.Labels)
	switch {
	case conflict != nil:
		return reason.ProfileConflict, fmt.Sprintf("The issue carries %s. Keep one of them.", quoted(conflict))
	case chosen != "" && f.Name == "":
		return reason.ProfileUnknown, fmt.Sprintf("There is no profile %s. There are %s.", code(chosen), quoted(d.p.profileLabels(func(Profile) bool { return true })))
	}
	return "", ""
}

// goesOn reports whether an issue has work to come after a stage: until its profile's last stage or, without a profile,
// after a stage that makes documents.
func (p *Process) goesOn(s Stage, f Profile) bool {
	if f.Name == "" {
		return slices.ContainsFunc(s.Makes, func(name string) bool { return p.Artefact(name).Path != "" })
	}
	return f.Stages[len(f.Stages)-1] != s.Name
}

// skipped says that the item's profile does not have the stage, and which profile has.
func (d *decision) skipped(stage string) string {
	own := d.item.profile(d.p)
	higher := d.p.profileLabels(func(f Profile) bool { return slices.Contains(f.Stages, stage) && d.p.lower(own, f.Name) })
	if len(higher) == 0 {
		return fmt.Sprintf("The profile %s does not have the stage %s, nor has a higher one.", code(own.Name), code(stage))
	}
	return fmt.Sprintf("The profile %s does not have the stage %s. If the issue needs it, set %s in place of its label, then this one again.", code(own.Name), code(stage), code(higher[0]))
}

// profileLabels are the labels of those profiles, the lowest first.
func (p *Process) profileLabels(of func(Profile) bool) (labels []string) {
	for _, f := range p.Profiles {
		if of(f) {
			labels = append(labels, p.profileLabel(f))
		}
	}
	return labels
}

func (p *Process) profileLabel(f Profile) string {
	return strings.Replace(p.Labels.Profile, "*", f.Name, 1)
}

// rechoose follows a person who has set a profile's label on the issue, or taken one off and left another.
func (d *decision) rechoose(label string, set bool, by Person) {
	if value, _ := choice(d.p.Labels.Profile, []string{label}); value == "" || has(d.item.Labels, label) != set {
		return
	}
	cause, why := d.mayTrigger(by)
	if cause == "" {
		cause, why = d.unclearProfile()
	}
	f, _, _ := d.p.profileOf(d.item.Labels)
	switch {
	case cause != "" && set:
		d.audit(actor(by), "label.ignored", cause, "%s: %s", label, why)
		if d.isAnswered(by) {
			d.remark("Not changed", label, why)
		}
	case cause == "" && f.Name != "":
		d.goBy(f, by)
		if d.item.Note != "" { // which may be about the profile before
			d.remark("Chosen", d.p.profileLabel(f), fmt.Sprintf("The issue goes through %s.", quoted(f.Stages)))
		}
	}
}

// goBy makes the profile the item's own.
func (d *decision) goBy(f Profile, by Person) {
	kept := d.item.Profile
	if f.Name == "" || f.Name == kept {
		return
	}
	action := "profile.set"
	if d.p.lower(f, kept) {
		action = "profile.lowered"
	}
	d.item.Profile = f.Name
	d.audit(actor(by), action, "", "%s, before %s", f.Name, cmp.Or(kept, "none"))
}
