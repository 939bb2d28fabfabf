package stage

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
)

var gatesNow = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// atGate is an item whose run of the stage waits for what GitHub has.
func atGate(stage string, needs ...string) Item {
	p := Default()
	s := p.Stage(stage)
	return Item{
		Repository: "acme/shop", Issue: 12, BaseBranch: "main", Pulls: []Pull{{Number: 13, Stage: stage, Branch: "codexk8s/issue-12"}}, Process: p,
		Run: &Run{ID: "r-1", Project: "shop", Process: p, Stage: stage, Kind: events.KindWork, Role: s.Role, State: Starting, Grant: &Grant{Process: p.Hash, Write: s.Write, Needs: needs}},
	}
}

func TestWhatIsMissingIsNamedWithTheLabelThatMakesIt(t *testing.T) {
	item := atGate("arch", "prd", "nfr")
	in := events.GitHubLookedUp{RunRef: item.Ref(), Files: []events.FoundFile{
		{Path: "docs/work/12/prd.md", In: "main", SHA: "e69de29"}, {Path: "docs/work/12/nfr.md"}, {Path: "docs/work/12/scope_mvp.md", In: "main", Size: 7},
	}}
	next, d, err := Decide(item, LookedUp{in}, gatesNow)
	if err != nil {
		t.Fatal(err)
	}
	const want = "The stage works from files that are neither on branch `main` nor in an open pull request of the issue:\n\n" +
		"- `docs/work/12/prd.md` is empty, made by `run:prd`\n- `docs/work/12/nfr.md`, made by `run:prd`\n\n" +
		"Have the stage make them whose label is named, or put them there."
	if diff := cmp.Diff(want, next.Run.Message); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if next.Run.State != Failed || next.Run.Reason != "artefact_missing" || next.NeedInput {
		t.Errorf("run %s %s, need:input %t", next.Run.State, next.Run.Reason, next.NeedInput)
	}
	for _, e := range d.Emit {
		if a, ok := e.Payload.(events.AgentRequested); ok {
			t.Errorf("an agent all the same: %+v", a)
		}
	}
	if text := Comment(next.Process, next); !strings.Contains(text, "not started (artefact_missing)") {
		t.Errorf("the comment says\n%s", text)
	}
}

func TestWhatIsIncompleteIsNamedAndAskedAbout(t *testing.T) {
	item := atGate("prd")
	item, d, err := Decide(item, Reported{events.AgentReported{RunRef: item.Ref(), Outcome: "succeeded", HeadSHA: "c0ffee1234", PullRequest: 13}}, gatesNow)
	if err != nil {
		t.Fatal(err)
	}
	asked := events.GitHubLookupRequested{
		RunRef: item.Ref(), Files: []string{"docs/work/12/prd.md", "docs/work/12/nfr.md", "docs/work/12/user_stories.md"},
		Head: "c0ffee1234", PullRequest: 13, Branch: "codexk8s/issue-12", Write: []string{"**/*.md"},
	}
	if diff := cmp.Diff(events.Now(asked), d.Emit[0]); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	in := events.GitHubLookedUp{RunRef: item.Ref(), Head: "c0ffee1234", Outside: []string{"main.go"}, Files: []events.FoundFile{
		{Path: asked.Files[0], In: "c0ffee1234", Size: 9, Faults: []string{"line 3: TODO", `line 9: the heading "Risks" has no text`}},
		{Path: asked.Files[1]}, {Path: asked.Files[2], In: "c0ffee1234", Size: 7},
	}}
	item, _, err = Decide(item, LookedUp{in}, gatesNow)
	if err != nil {
		t.Fatal(err)
	}
	back := &Returned{Commit: "c0ffee1234", Faults: []string{
		"`docs/work/12/prd.md`: line 3: TODO; line 9: the heading \"Risks\" has no text", "`docs/work/12/nfr.md` is missing", "`main.go` is changed, which the stage may not do",
	}}
	if diff := cmp.Diff(back, item.Run.Exit.Returned); diff != "" || item.Run.State != Waiting || item.NeedInput {
		t.Fatalf("at first it goes back to the agent: run %s, need:input %t (-want +got):\n%s", item.Run.State, item.NeedInput, diff)
	}
	item.Run.State, item.Run.Attempt, item.Run.Delivered, in.Attempt = Running, 1, in.Head, 1
	next, _, err := Decide(item, LookedUp{in}, gatesNow)
	if err != nil {
		t.Fatal(err)
	}
	const want = "The stage's work is not complete at `c0ffee1`:\n\n" +
		"- `docs/work/12/prd.md`: line 3: TODO; line 9: the heading \"Risks\" has no text\n- `docs/work/12/nfr.md` is missing\n" +
		"- `main.go` is changed, which the stage may not do"
	if diff := cmp.Diff(want, next.Run.Message); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if next.Run.State != Failed || !next.NeedInput || next.Current().Delivered {
		t.Errorf("run %s, need:input %t, delivered %t", next.Run.State, next.NeedInput, next.Current().Delivered)
	}
}

func TestWhatWasMadeIsKept(t *testing.T) {
	item := atGate("prd")
	item.Run.State, item.Run.Delivered = Running, "c0ffee"
	next, _, err := Decide(item, LookedUp{events.GitHubLookedUp{RunRef: item.Ref(), Head: "c0ffee", Files: []events.FoundFile{{Path: "docs/work/12/prd.md", In: "c0ffee", Size: 7}}}}, gatesNow)
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	for _, a := range next.Artefacts {
		made = append(made, a.Name+" "+a.Value)
	}
	if diff := cmp.Diff([]string{"prd docs/work/12/prd.md", "nfr docs/work/12/nfr.md", "user_stories docs/work/12/user_stories.md"}, made); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if next.Run.State != Succeeded || !next.Current().Delivered {
		t.Errorf("run %s, delivered %t", next.Run.State, next.Current().Delivered)
	}
}

// A report that names no commit, or no pull request, could be of anything.
func TestAReportOfNothingIsNoResult(t *testing.T) {
	for _, report := range []events.AgentReported{{PullRequest: 13}, {HeadSHA: "c0ffee"}} {
		item := atGate("prd")
		report.RunRef, report.Outcome = item.Ref(), "succeeded"
		next, _, err := Decide(item, Reported{report}, gatesNow)
		if err != nil || next.Run.State != Failed || next.Run.Reason != "artefacts_incomplete" {
			t.Errorf("run %s %s, %v", next.Run.State, next.Run.Reason, err)
		}
	}
}

// What a run needs is fixed when it is requested. A revise, a later Job and a run of the release before have no gate.
func TestWhoseFilesAreLookedFor(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*Run)
		want []string
	}{
		{"work", func(*Run) {}, []string{"docs/work/12/brief.md"}},
		{"a revise", func(r *Run) { r.Kind = events.KindRevise }, nil},
		{"its next Job", func(r *Run) { r.Attempt = 1 }, nil},
		{"of the release before", func(r *Run) { r.Grant.Needs = nil }, nil},
		{"without a grant", func(r *Run) { r.Grant = nil }, nil},
		{"of a process that no longer knows the artefact", func(r *Run) { r.Grant.Needs = []string{"gone"} }, nil},
	} {
		item := atGate("prd", "brief")
		item.Run.BaseCommit = "beef"
		c.edit(item.Run)
		_, d := Start(project.Settings{}, Place{Run: *item.Run, Repository: item.Repository, Issue: item.Issue, BaseBranch: item.BaseBranch}, gatesNow)
		asked, _ := d.Emit[0].Payload.(events.GitHubLookupRequested)
		if !slices.Equal(asked.Files, c.want) || c.want != nil && !slices.Equal(asked.In, []string{"codexk8s/issue-12", "beef"}) {
			t.Errorf("%s: %v in %v", c.name, asked.Files, asked.In)
		}
	}
}
