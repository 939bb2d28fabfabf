package stage

import (
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/resource"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/scope"
	"codexk8s.dev/shared/tool"
	"codexk8s.dev/shared/yamlfile"
)

// check reports every fault of the process to the file that it was read from.
func (p *Process) check(source *yamlfile.File) {
	if p.Version != version {
		source.Bad([]any{"version"}, "version is %d, this release reads %d", p.Version, version)
	}
	p.checkLabels(source)
	p.checkOwners(source)
	p.checkChoices(source)
	p.checkDiscussion(source)
	p.checkRoles(source)
	p.checkStorm(source)
	p.checkArtefacts(source)
	for i := range p.Stages {
		p.checkStage(source, i)
		p.checkMade(source, i)
	}
	for i := range p.Profiles {
		p.checkProfile(source, i)
	}
	p.checkWays(source)
	var roles []string
	for _, r := range p.Roles {
		roles = append(roles, r.Name)
	}
	p.Approvals.Check(source, roles, "approvals")
	var stages []string
	for i, s := range p.Stages {
		stages = append(stages, s.Name)
		s.Estimate.Check(source, "stages", i, "estimate")
	}
	p.Budgets.Check(source, stages, "budgets")
}

func (p *Process) checkLabels(source *yamlfile.File) {
	l := p.Labels
	if l.Trigger == "" || l.Revise == "" {
		source.Bad([]any{"labels"}, "labels.trigger and labels.revise must not be empty")
	}
	if !strings.HasPrefix(l.Abort, l.Trigger) {
		source.Bad([]any{"labels", "abort"}, "labels.abort %q does not begin with %q, so it would stop nothing", l.Abort, l.Trigger)
	}
	if _, ok := p.role(reviewerRole); l.Reviewer != "" && !ok {
		source.Bad([]any{"labels", "reviewer"}, "labels.reviewer is %q, and there is no role %s to review", l.Reviewer, reviewerRole)
	}
	switch {
	case l.Profile == "" && len(p.Profiles) > 0:
		source.Bad([]any{"profiles"}, "there is no labels.profile, so nobody could choose one of the profiles")
	case l.Profile != "" && len(p.Profiles) == 0:
		source.Bad([]any{"labels", "profile"}, "labels.profile is %q, and there are no profiles to choose", l.Profile)
	case l.Profile != "" && strings.Count(l.Profile, "*") != 1:
		source.Bad([]any{"labels", "profile"}, "labels.profile is %q: it needs exactly one *, where the profile's name stands", l.Profile)
	}
}

// checkOwners sees to it that each label means one thing, and that GitHub takes it.
func (p *Process) checkOwners(source *yamlfile.File) {
	owners := map[string]string{}
	for _, n := range p.names() {
		other, taken := owners[fold(n.label)]
		switch {
		case n.label == "":
			source.Bad(n.path, "%s has no label", n.owner)
			continue
		case taken:
			source.Bad(n.path, "label %q belongs to both %s and %s", n.label, other, n.owner)
		case n.is == starting && !p.IsTrigger(n.label):
			source.Bad(n.path, "%s: label %q does not begin with %q, so an agent could set it", n.owner, n.label, p.Labels.Trigger)
		case n.is == inert && p.Labels.Trigger != "" && p.IsTrigger(n.label):
			source.Bad(n.path, "label %q of %s begins with %q, so it would be taken for a stage's", n.label, n.owner, p.Labels.Trigger)
		case utf8.RuneCountInString(n.label) > maxLabel:
			source.Bad(n.path, "label %q of %s has %d characters, and GitHub takes %d", n.label, n.owner, utf8.RuneCountInString(n.label), maxLabel)
		}
		owners[fold(n.label)] = n.owner
	}
}

// checkChoices is about models and efforts.
func (p *Process) checkChoices(source *yamlfile.File) {
	for owner, pattern := range map[string]string{"models": p.Models.Label, "reasoning": p.Reasoning.Label} {
		if strings.Count(pattern, "*") != 1 {
			source.Bad([]any{owner, "label"}, "%s.label is %q: it needs exactly one *, where the value stands", owner, pattern)
		}
	}
	if !slices.Contains(p.Models.Allowed, p.Models.Default) {
		source.Bad([]any{"models", "default"}, "models.default %q is not among models.allowed", p.Models.Default)
	}
	for _, model := range slices.Sorted(maps.Keys(p.Models.Fallback)) {
		if other := p.Models.Fallback[model]; other == model || !slices.Contains(p.Models.Allowed, other) || !slices.Contains(p.Models.Allowed, model) {
			source.Bad([]any{"models", "fallback", model}, "models.fallback: %q stands in for %q: want two of models.allowed", other, model)
		}
	}
	if _, ok := p.Reasoning.Allowed[p.Reasoning.Default]; !ok {
		source.Bad([]any{"reasoning", "default"}, "reasoning.default %q is not among reasoning.allowed", p.Reasoning.Default)
	}
}

// checkDiscussion is about the limits of discussions, where there are any.
func (p *Process) checkDiscussion(source *yamlfile.File) {
	d := p.Discussion
	if p.Labels.Discussion != "" && (d.Timeout <= 0 || d.Turns < 1) {
		source.Bad([]any{"labels", "discussion"}, "labels.discussion is %q, and discussion does not say how long a turn may take (timeout) and how many there may be (turns)", p.Labels.Discussion)
	}
	checkTools(d.Tools, "discussion", func(format string, args ...any) { source.Bad([]any{"discussion", "tools"}, format, args...) })
}

func (p *Process) checkRoles(source *yamlfile.File) {
	seen := map[string]bool{}
	for i, r := range p.Roles {
		bad := func(format string, args ...any) { source.Bad([]any{"roles", i}, format, args...) }
		if seen[r.Name] {
			bad("role %s stands twice", r.Name)
		}
		seen[r.Name] = true
		if r.Parallel < 1 {
			bad("role %s: parallel is %d, at least 1 is needed", r.Name, r.Parallel)
		}
		if r.Mode != "" && r.Mode != CodeOnly && r.Mode != FullEnv {
			bad("role %s: mode is %q, want %s or %s", r.Name, r.Mode, CodeOnly, FullEnv)
		}
		if !slices.Contains([]string{"", "none", events.KubernetesRead}, r.Kubernetes) {
			bad("role %s: kubernetes is %q, want none or %s", r.Name, r.Kubernetes, events.KubernetesRead)
		}
		checkTools(r.Tools, "role "+r.Name, bad)
		for field, quantity := range map[string]string{"cpu": r.CPU, "memory": r.Memory} {
			if _, err := resource.ParseQuantity(quantity); err != nil {
				bad("role %s: %s %q is not a Kubernetes quantity", r.Name, field, quantity)
			}
		}
	}
}

func checkTools(names []string, whose string, bad func(string, ...any)) {
	for i, name := range names {
		switch {
		case !slices.Contains(tool.Names(), name):
			bad("%s: tool %q does not exist: want of %s", whose, name, strings.Join(tool.Names(), ", "))
		case slices.Contains(names[:i], name):
			bad("%s: tool %s stands twice", whose, name)
		}
	}
}

func (p *Process) checkArtefacts(source *yamlfile.File) {
	names, files := map[string]bool{madePullRequest: true}, map[string]string{}
	for i, a := range p.Artefacts {
		bad := func(format string, args ...any) { source.Bad([]any{"artefacts", i}, format, args...) }
		makers := p.makersOf(a.Name)
		switch {
		case a.Name == "" || names[a.Name]:
			bad("artefact %q needs a name of its own", a.Name)
		case len(makers) == 0:
			bad("artefact %s is made by no stage", a.Name)
		case len(makers) > 1:
			bad("artefact %s is made by both %s and %s: whose is it?", a.Name, makers[0], makers[1])
		}
		names[a.Name] = true
		if why := misplaced(a.Path); why != "" {
			bad("artefact %s: the path %q %s", a.Name, a.Path, why)
		} else if other, taken := files[a.Path]; taken {
			bad("artefact %s: the path %q is also that of %s", a.Name, a.Path, other)
		}
		files[a.Path] = a.Name
		if a.About == "" || strings.Contains(a.About, "\n") {
			bad("artefact %s needs an about: one line on what it contains", a.Name)
		}
	}
}

// makersOf are the stages that make the artefact.
func (p *Process) makersOf(artefact string) (stages []string) {
	for _, s := range p.Stages {
		if slices.Contains(s.Makes, artefact) {
			stages = append(stages, s.Name)
		}
	}
	return stages
}

// misplaced says why the path of an artefact is not that of a file in the repository; "" if it is.
func misplaced(file string) string {
	name := strings.ReplaceAll(file, issuePlace, "1")
	outside := func(part string) bool { return part == ".." || strings.EqualFold(part, ".git") }
	switch {
	case name == "":
		return "is empty"
	case path.IsAbs(name), strings.Contains(name, `\`), slices.ContainsFunc(strings.Split(name, "/"), outside):
		return "leaves the repository's files"
	case strings.ContainsAny(name, "*?[]{}"):
		return "is a pattern: it names one file, with no placeholder but " + issuePlace
	case name != path.Clean(name):
		return "is not the plain path of a file"
	}
	return ""
}

func (p *Process) checkStage(source *yamlfile.File, i int) {
	s := p.Stages[i]
	bad := func(format string, args ...any) { source.Bad([]any{"stages", i}, format, args...) }
	if first := slices.IndexFunc(p.Stages, func(o Stage) bool { return o.Name == s.Name }); first < i || s.Name == "" {
		bad("stage %q needs a name of its own", s.Name)
	}
	if utf8.RuneCountInString(s.About) > maxDescription || strings.Contains(s.About, "\n") {
		bad("stage %s: about is to be one line of at most %d characters, as GitHub describes labels", s.Name, maxDescription)
	}
	checkTools(s.Tools, "stage "+s.Name, bad)
	if s.Timeout <= 0 {
		bad("stage %s has no timeout", s.Name)
	}
	if _, ok := p.role(s.Role); !ok {
		bad("stage %s: role %q does not exist", s.Name, s.Role)
	}
	for _, n := range s.Next {
		if _, ok := p.stage(n); !ok {
			source.Bad([]any{"stages", i, "next"}, "stage %s: next stage %q does not exist", s.Name, n)
		}
	}
}

// checkMade is about what a stage makes, and what it takes for that.
func (p *Process) checkMade(source *yamlfile.File, i int) {
	s := p.Stages[i]
	bad := func(key, format string, args ...any) { source.Bad([]any{"stages", i, key}, format, args...) }
	if len(s.Makes) == 0 {
		bad("makes", "stage %s makes nothing: name its artefacts", s.Name)
	}
	for _, n := range s.Needs {
		if len(p.makersOf(n)) == 0 {
			bad("needs", "stage %s needs %q, which no stage makes: it could never be entered", s.Name, n)
		}
	}
	if s.Reopens != "" && (!slices.Contains(s.Makes, s.Reopens) || p.Artefact(s.Reopens).Path == "") {
		bad("reopens", "stage %s: reopens is to name a file that the stage makes, not %q", s.Name, s.Reopens)
	}
	for _, n := range s.Reads {
		if len(p.makersOf(n)) == 0 {
			bad("reads", "stage %s reads %q, which no stage makes", s.Name, n)
		}
	}
	allowed, err := scope.Compile(p.WritesOf(s, 1))
	switch {
	case err != nil:
		bad("write", "stage %s: %v", s.Name, err)
	case len(s.Write) == 0 && len(p.files(s.Makes, 1)) == 0:
		source.Bad([]any{"stages", i}, "stage %s makes no file and has no write: say what its pull request may change; [\"**\"] is every file", s.Name)
	}
	for _, n := range s.Makes {
		file := p.Artefact(n).PathFor(1)
		switch {
		case n == madePullRequest || len(p.Artefacts) == 0:
		case file == "":
			bad("makes", "stage %s makes %q, which is not among the artefacts", s.Name, n)
		case err == nil && allowed.Outside([]string{file}) != nil:
			bad("write", "stage %s may not write %s, the file of its artefact %s", s.Name, p.Artefact(n).Path, n)
		}
	}
}

func (p *Process) checkProfile(source *yamlfile.File, i int) {
	f, made, last := p.Profiles[i], map[string]bool{}, -1
	bad := func(format string, args ...any) { source.Bad([]any{"profiles", i}, format, args...) }
	if f.Name == "" || len(f.Stages) == 0 {
		bad("profile %q needs a name and stages", f.Name)
	}
	for _, name := range f.Stages {
		at := p.position(name)
		switch {
		case at < 0:
			bad("profile %s: stage %q does not exist", f.Name, name)
			continue
		case at <= last:
			bad("profile %s: stage %s is out of order, it comes before %s", f.Name, name, p.Stages[last].Name)
		}
		last = max(last, at)
		for _, n := range p.Stages[at].Needs {
			if makers := p.makersOf(n); !made[n] && len(makers) > 0 {
				bad("profile %s skips what its stage %s needs: %s, which %s makes", f.Name, name, n, makers[0])
			}
		}
		for _, m := range p.Stages[at].Makes {
			made[m] = true
		}
	}
}

// checkWays looks for stages that nothing leads to, and for those that lead to no end.
func (p *Process) checkWays(source *yamlfile.File) {
	begin, end := map[string]bool{}, map[string]bool{}
	for _, f := range p.Profiles {
		if n := len(f.Stages); n > 0 {
			begin[f.Stages[0]], end[f.Stages[n-1]] = true, true
		}
	}
	if len(begin) == 0 {
		return // there are no ways
	}
	for range p.Stages { // each round goes one step further at least, until there is none left
		for _, s := range p.Stages {
			along, beside := p.ways(s.Name, Profile{})
			for _, w := range append(along, beside...) {
				begin[w.stage] = begin[w.stage] || begin[s.Name]
				end[s.Name] = end[s.Name] || end[w.stage]
			}
		}
	}
	for i, s := range p.Stages {
		switch {
		case !begin[s.Name]:
			source.Bad([]any{"stages", i}, "stage %s is unreachable: it is in no profile, and next of no stage that is reached", s.Name)
		case !end[s.Name]:
			source.Bad([]any{"stages", i}, "stage %s is a dead end: what is next of it leads to the end of no profile", s.Name)
		}
	}
}
