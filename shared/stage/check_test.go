package stage

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDefaultProcessIsValid(t *testing.T) {
	if _, err := Parse(defaultProcess); err != nil {
		t.Fatal(err)
	}
}

// spare is one more stage, as the last one.
func spare(stage string) []string {
	const behind = "    next: [intake, prd, plan]\n"
	return []string{behind, behind + "  - " + stage + "\n"}
}

// TestEachFaultHasItsLine: the default process with one fault at a time. The line is that of the text under at.
func TestEachFaultHasItsLine(t *testing.T) {
	const problem = `"docs/work/{issue}/problem.md"`
	for name, c := range map[string]struct {
		edit     []string // old, new, …
		at, want string
	}{
		// The form.
		"a newer release's": {[]string{"version: 1", "version: 2"}, "version: 2", "version is 2, this release reads 1"},

		// Labels.
		"no trigger's prefix":   {[]string{`trigger: "run:"`, `trigger: ""`}, "labels:", "labels.trigger and labels.revise must not be empty"},
		"stops nothing":         {[]string{`abort: "run:abort"`, `abort: "stop"`}, "  abort:", `labels.abort "stop" does not begin with "run:", so it would stop nothing`},
		"no label":              {[]string{`blocked: "state:blocked"`, `blocked: ""`}, "  blocked:", "blocked has no label"},
		"owned twice":           {[]string{"label: run:dev\n", "label: run:abort\n"}, "  abort:", `label "run:abort" belongs to both stage dev and abort`},
		"owned in another case": {[]string{`blocked: "state:blocked"`, `blocked: "STATE:Approved"`}, "  approved:", `label "state:approved" belongs to both blocked and approved`},
		"an agent may set it":   {[]string{"label: run:dev\n", "label: dev\n"}, "    label: dev\n", `stage dev: label "dev" does not begin with "run:", so an agent could set it`},
		"taken for a stage's":   {[]string{`discussion: "mode:discussion"`, `discussion: "run:talk"`}, "  discussion:", `label "run:talk" of discussion begins with "run:", so it would be taken for a stage's`},
		"too long for GitHub":   {[]string{`"need:km"`, `"need:` + strings.Repeat("k", 50) + `"`}, "  needs:", `label "need:` + strings.Repeat("k", 50) + `" of needs has 55 characters, and GitHub takes 50`},
		"no place for a value":  {[]string{`"[ai-model-*]"`, `"[ai-model]"`}, `  label: "[ai-model]"`, `models.label is "[ai-model]": it needs exactly one *, where the value stands`},
		"no place for profiles": {[]string{`"profile:*"`, `"profile"`}, "  profile:", `labels.profile is "profile": it needs exactly one *, where the profile's name stands`},
		"no label for profiles": {[]string{"  profile: \"profile:*\"\n", ""}, "profiles:\n", "there is no labels.profile, so nobody could choose one of the profiles"},
		"a fall-back":           {[]string{"default: gpt-5.4\n", "default: gpt-5.4\n  fallback: {gpt-5.4: gpt-0}\n"}, "  fallback: {gpt-5.4: gpt-0}", `models.fallback: "gpt-0" stands in for "gpt-5.4": want two of models.allowed`},
		"the default model":     {[]string{"default: gpt-5.4", "default: gpt-0"}, "  default: gpt-0", `models.default "gpt-0" is not among models.allowed`},
		"the default effort":    {[]string{"default: high", "default: higher"}, "  default: higher", `reasoning.default "higher" is not among reasoning.allowed`},

		// Roles.
		"no parallel":                 {[]string{"  - name: pm\n    parallel: 1", "  - name: pm\n    parallel: 0"}, "  - name: pm", "role pm: parallel is 0, at least 1 is needed"},
		"no quantity":                 {[]string{"  - name: pm\n    parallel: 1\n    cpu: 500m", "  - name: pm\n    parallel: 1\n    cpu: some"}, "  - name: pm", `role pm: cpu "some" is not a Kubernetes quantity`},
		"no mode":                     {[]string{"mode: code-only # full", "mode: full # full"}, "  - name: dev\n    parallel", `role dev: mode is "full", want code-only or full-env`},
		"rights of no kind":           {[]string{"kubernetes: none", "kubernetes: write"}, "  - name: pm", `role pm: kubernetes is "write", want none or read`},
		"nobody to review":            {[]string{"  - name: reviewer\n", "  - name: critic\n"}, "  reviewer:", `labels.reviewer is "need:reviewer", and there is no role reviewer to review`},
		"a tool twice":                {[]string{"tools: [ask, status_report, run_history, labels_list]", "tools: [ask, ask]"}, "  - name: reviewer", "role reviewer: tool ask stands twice"},
		"a role twice":                {[]string{"  - name: km\n", "  - name: pm\n"}, "  - name: pm\n    parallel: 2", "role pm stands twice"},
		"a discussion without an end": {[]string{"  timeout: 15m", "  timeout: 0m"}, "  discussion:", `labels.discussion is "mode:discussion", and discussion does not say how long a turn may take (timeout) and how many there may be (turns)`},

		// Storms.
		"no runs at all":    {[]string{"{runs: 30,", "{runs: 0,"}, "storm: {", "storm.runs is 0, at least 1 is needed; without storm: everything starts"},
		"no time":           {[]string{"within: 10m, ", ""}, "storm: {", "storm.within is 0s: want a time up to 24h0m0s"},
		"no policy":         {[]string{"policy: queue", "policy: wait"}, "storm: {", `storm.policy is "wait", want queue, replace or skip`},
		"nothing to let go": {[]string{"  held: \"state:held\"\n", ""}, "storm: {", "storm.policy queue needs labels.held, by which people see and let go what is held"},

		// Artefacts.
		"made by nobody":      {[]string{"[pull_request, doc_audit, ", "[pull_request, "}, "  - {name: doc_audit", "artefact doc_audit is made by no stage"},
		"made by two":         {[]string{"[pull_request, improvements]", "[pull_request, improvements, doc_audit]"}, "  - {name: doc_audit", "artefact doc_audit is made by both doc-audit and self-improve: whose is it?"},
		"not an artefact":     {[]string{"[pull_request, improvements]", "[pull_request, improvements, more]"}, "    makes: [pull_request, improvements", `stage self-improve makes "more", which is not among the artefacts`},
		"built in":            {[]string{"artefacts:\n", "artefacts:\n  - {name: pull_request, path: pull.md, about: a}\n"}, "  - {name: pull_request", `artefact "pull_request" needs a name of its own`},
		"no path":             {[]string{problem, `""`}, "  - {name: problem", `artefact problem: the path "" is empty`},
		"above the root":      {[]string{problem, "docs/../../problem.md"}, "  - {name: problem", `artefact problem: the path "docs/../../problem.md" leaves the repository's files`},
		"from the root":       {[]string{problem, "/problem.md"}, "  - {name: problem", `artefact problem: the path "/problem.md" leaves the repository's files`},
		"git's own":           {[]string{problem, "docs/.GIT/problem.md"}, "  - {name: problem", `artefact problem: the path "docs/.GIT/problem.md" leaves the repository's files`},
		"Windows'":            {[]string{problem, `'docs\problem.md'`}, "  - {name: problem", `artefact problem: the path "docs\\problem.md" leaves the repository's files`},
		"a pattern":           {[]string{problem, `"docs/{number}/*.md"`}, "  - {name: problem", `artefact problem: the path "docs/{number}/*.md" is a pattern: it names one file, with no placeholder but {issue}`},
		"no plain path":       {[]string{problem, "docs//problem.md"}, "  - {name: problem", `artefact problem: the path "docs//problem.md" is not the plain path of a file`},
		"one file for two":    {[]string{problem, `"docs/work/{issue}/brief.md"`}, "  - {name: brief", `artefact brief: the path "docs/work/{issue}/brief.md" is also that of problem`},
		"outside the scope":   {[]string{problem, "docs/problem.txt"}, "    write: [", "stage intake may not write docs/problem.txt, the file of its artefact problem"},
		"about nothing":       {[]string{`, about: "whose problem it is, how it shows, what it costs, and how we know"`, ""}, "  - {name: problem", "artefact problem needs an about: one line on what it contains"},
		"needed, never made":  {[]string{"needs: [definition_of_done]", "needs: [done]"}, "    needs: [done]", `stage qa needs "done", which no stage makes: it could never be entered`},
		"read, but not made":  {[]string{"reads: [migrations_policy, test_matrix]", "reads: [matrix]"}, "    reads: [matrix]", `stage release reads "matrix", which no stage makes`},
		"reopens by what":     {[]string{"    reopens: rethought\n", "    reopens: brief\n"}, "    reopens: brief", `stage rethink: reopens is to name a file that the stage makes, not "brief"`},
		"a stage makes none":  {[]string{"    makes: [pull_request]\n", "    makes: []\n"}, "    makes: []", "stage dev makes nothing: name its artefacts"},
		"a write scope empty": {[]string{`"**/agent-runner/**/Dockerfile"`, `""`}, `    write: ["**/*.md", "**/prompts`, "stage self-improve: write scope has an empty pattern"},
		"no write scope":      {[]string{"    write: [\"**\"]\n", ""}, "  - name: dev\n    label", `stage dev makes no file and has no write: say what its pull request may change; ["**"] is every file`},
		"an exception":        {[]string{`    write: ["**"]`, `    write: ["**", "!.github/**"]`}, `    write: ["**", "!`, `stage dev: write scope pattern "!.github/**": there are no exceptions; name what may be changed`},

		// Stages.
		"no time-out":     {[]string{"    timeout: 60m\n", ""}, "  - name: dev\n    label", "stage dev has no timeout"},
		"no such role":    {[]string{"    role: dev\n", "    role: devil\n"}, "  - name: dev\n    label", `stage dev: role "devil" does not exist`},
		"no such next":    {[]string{"next: [dev, rethink]", "next: [dev, rethink, merge]"}, "    next: [dev, rethink, merge]", `stage design: next stage "merge" does not exist`},
		"no such tool":    {[]string{"    timeout: 60m", "    timeout: 60m\n    tools: [vote]"}, "  - name: dev\n    label", `stage dev: tool "vote" does not exist: want of `},
		"a stage twice":   {spare("{name: rethink, label: run:spare, role: km, timeout: 1m, makes: [pull_request]}"), "  - {name: rethink", `stage "rethink" needs a name of its own`},
		"too much about":  {[]string{"about: Works on the issue", "about: " + strings.Repeat("Works ", 17)}, "  - name: dev\n    label", "stage dev: about is to be one line of at most 100 characters, as GitHub describes labels"},
		"unreachable":     {spare(`{name: spare, label: run:spare, role: km, timeout: 1m, write: ["**"], makes: [pull_request], next: [dev]}`), "  - {name: spare", "stage spare is unreachable: it is in no profile, and next of no stage that is reached"},
		"a dead end":      {[]string{"    next: [plan, dev, qa]\n", ""}, "  - name: doc-audit", "stage doc-audit is a dead end: what is next of it leads to the end of no profile"},
		"a longer circle": {[]string{"    next: [plan, dev, qa]\n", "    next: [self-improve]\n", "    next: [qa]\n", "    next: [doc-audit]\n"}, "  - name: doc-audit", "stage doc-audit is a dead end: what is next of it leads to the end of no profile"},

		// Profiles.
		"no such stage":      {[]string{"quick-fix, stages: [intake,", "quick-fix, stages: [intake, idea,"}, "  - {name: quick-fix", `profile quick-fix: stage "idea" does not exist`},
		"out of order":       {[]string{"[intake, prd, design, plan, dev,", "[intake, prd, design, dev, plan,"}, "  - {name: feature", "profile feature: stage plan is out of order, it comes before dev"},
		"a stage twice over": {[]string{"quick-fix, stages: [intake,", "quick-fix, stages: [intake, intake,"}, "  - {name: quick-fix", "profile quick-fix: stage intake is out of order, it comes before intake"},
		"skips what it needs": {[]string{"[intake, plan, dev, qa, release, postdeploy, ops]", "[intake, plan, dev, qa, release, ops]"}, "  - {name: quick-fix",
			"profile quick-fix skips what its stage ops needs: postdeploy_review, which postdeploy makes"},
		"needs what comes later": {[]string{"    needs: [delivery_plan, regression]", "    needs: [postdeploy_review]"}, "  - {name: quick-fix",
			"profile quick-fix skips what its stage release needs: postdeploy_review, which postdeploy makes"},
		"two of one name": {[]string{"{name: quick-fix", "{name: FEATURE"}, "  - {name: feature", `label "profile:feature" belongs to both profile FEATURE and profile feature`},
		"no stages":       {[]string{"profiles:\n", "profiles:\n  - {name: nothing, stages: []}\n"}, "  - {name: nothing", `profile "nothing" needs a name and stages`},

		// What agents ask.
		"a label for nothing": {[]string{`"tool:labels_*"`, `"label:*"`}, `    - actions: ["label:*"]`, `action "label:*" can't be free`},
		"free, yet asked":     {[]string{"      free: true", "      free: true\n      quorum: 2"}, `    - actions: ["tool:labels_*"]`, "the rule is free, so nobody is asked"},
	} {
		t.Run(name, func(t *testing.T) {
			text := string(defaultProcess)
			for i := 0; i < len(c.edit); i += 2 {
				if !strings.Contains(text, c.edit[i]) {
					t.Fatalf("%q is not in the process", c.edit[i])
				}
				text = strings.Replace(text, c.edit[i], c.edit[i+1], 1)
			}
			before, _, found := strings.Cut(text, c.at)
			if !found {
				t.Fatalf("%q is not in the changed process", c.at)
			}
			_, err := Parse([]byte(text))
			want := fmt.Sprintf("the process is invalid: line %d: %s", strings.Count(before, "\n")+1, c.want)
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("\ngot  %v\nwant %s", err, want)
			}
		})
	}
}

// TestWhatIsNoProcess: the form itself.
func TestWhatIsNoProcess(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"a key":               {"version: 1", "version: 1\ncolour: red", "reading the process: line 3: the key colour is not known here"},
		"a newer one's key":   {"version: 1", "version: 2\ncolour: red", "reading the process, whose version is 2 (this release reads 1): line 3: the key colour is not known here"},
		"a list for a number": {"version: 1", "version: [1]", "reading the process: line 2: want a whole number, not a list"},
	} {
		_, err := Parse([]byte(strings.Replace(string(defaultProcess), c.old, c.new, 1)))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, c.want)
		}
	}
}

// TestAProcessOfBefore: one stage, without artefacts and profiles, as projects have stored it and runs refer to it. It
// means what it meant.
func TestAProcessOfBefore(t *testing.T) {
	text, err := os.ReadFile("testdata/one_stage.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if steps := p.Following("dev", "", true); steps != nil {
		t.Errorf("after its only stage comes %+v", steps)
	}
	if _, known, ok := p.Trigger("run:qa"); known || !ok {
		t.Error("run:qa is one of its labels")
	}
	var names []string
	for _, l := range p.Catalogue() {
		names = append(names, l.Name)
	}
	if diff := cmp.Diff([]string{"run:dev", "run:dev:revise", "run:abort", "state:blocked", "state:in-review", "state:approved", "need:input"}, names[:7]); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}
