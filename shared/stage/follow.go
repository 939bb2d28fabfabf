package stage

import (
	"cmp"
	"slices"

	"codexk8s.dev/shared/events"
)

// A Step is a label that a person may set after a stage.
type Step struct {
	Label    string
	About    string   // what it does
	Profiles []string // whose next stage it leads to; none = it is a way beside them
	OnPull   bool     // it is set on the pull request, not on the issue
}

// Following are the steps after a stage, in the order in which people are shown them: to rework what it made, each
// profile's next stage, other stages of profiles, a review by an agent, and what is beside the profiles. After a stage
// that is itself beside them there is what its next names, and no more.
//
// profile narrows them to one profile, "" = all. pull says that the item has an open pull request, which can be
// reworked and reviewed.
func (p *Process) Following(stage, profile string, pull bool) (steps []Step) {
	along, beside := p.ways(stage, p.Profile(profile))
	of := func(ws []way) {
		for _, w := range ws {
			s := p.Stage(w.stage)
			steps = append(steps, Step{Label: s.Label, About: s.About, Profiles: w.profiles})
		}
	}
	within := p.inProfiles(stage) && pull
	if within {
		steps = append(steps, Step{Label: p.LabelOf(stage, events.KindRevise), About: "Reworks the pull request"})
	}
	of(along)
	if within && p.Labels.Reviewer != "" {
		steps = append(steps, Step{Label: p.Labels.Reviewer, About: "An agent reviews it", OnPull: true})
	}
	of(beside)
	return steps
}

// A way leads to a stage, which is the next one of these profiles.
type way struct {
	stage    string
	profiles []string
}

// ways lead from a stage to those of profiles, and to those beside. Only is the profile that the item goes by; the zero
// Profile stands for all.
func (p *Process) ways(stage string, only Profile) (along, beside []way) {
	to := func(ws []way, stage string) int {
		return slices.IndexFunc(ws, func(w way) bool { return w.stage == stage })
	}
	if p.inProfiles(stage) {
		for _, f := range p.Profiles {
			next, more := p.nextOf(f, stage)
			if !more || only.Name != "" && only.Name != f.Name {
				continue
			}
			i := to(along, next)
			if i < 0 {
				i, along = len(along), append(along, way{stage: next})
			}
			along[i].profiles = append(along[i].profiles, f.Name)
		}
		// The longest way first: it leads to the earliest stage.
		slices.SortStableFunc(along, func(a, b way) int { return cmp.Compare(p.position(a.stage), p.position(b.stage)) })
	}
	for _, next := range p.Stage(stage).Next {
		switch {
		case !p.inProfiles(next):
			beside = append(beside, way{stage: next})
		case to(along, next) < 0 && !p.skips(only, next):
			along = append(along, way{stage: next})
		}
	}
	return along, beside
}

// nextOf is the profile's first stage that comes after the stage, which need not be one of the profile's.
func (p *Process) nextOf(f Profile, stage string) (next string, more bool) {
	at := p.position(stage)
	i := slices.IndexFunc(f.Stages, func(s string) bool { return p.position(s) > at })
	if i < 0 {
		return "", false
	}
	return f.Stages[i], true
}

// skips reports whether an item with that profile may not enter the stage: other profiles have it, this one has not.
func (p *Process) skips(f Profile, stage string) bool {
	return f.Name != "" && !slices.Contains(f.Stages, stage) && p.inProfiles(stage)
}

// inProfiles reports whether a profile has the stage.
func (p *Process) inProfiles(stage string) bool {
	return slices.ContainsFunc(p.Profiles, func(f Profile) bool { return slices.Contains(f.Stages, stage) })
}

// position is the stage's place in the canonical order; -1 = there is no such stage.
func (p *Process) position(stage string) int {
	return slices.IndexFunc(p.Stages, func(s Stage) bool { return s.Name == stage })
}

// Required are the files that exist before the stage is entered by an item of that profile: what the stage needs, and
// of what it reads, what the profile's stages before it make. Without a profile (""), or beside it, nobody can say what
// those are.
func (p *Process) Required(stage, profile string) (files []ArtefactKind) {
	s, f := p.Stage(stage), p.Profile(profile)
	made := map[string]bool{}
	for _, n := range s.Needs {
		made[n] = true
	}
	for _, before := range f.Stages[:max(0, slices.Index(f.Stages, stage))] {
		for _, n := range p.Stage(before).Makes {
			made[n] = true
		}
	}
	for _, n := range slices.Concat(s.Needs, s.Reads) {
		if a := p.Artefact(n); made[n] && a.Path != "" {
			files = append(files, a)
		}
	}
	return files
}
