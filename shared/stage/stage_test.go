package stage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/tool"
)

func TestTrigger(t *testing.T) {
	type answer struct {
		Trigger   Trigger
		Known, OK bool
	}
	for label, want := range map[string]answer{
		"run:dev":               {Trigger{Stage: "dev", Kind: events.KindWork}, true, true},
		"run:dev:revise":        {Trigger{Stage: "dev", Kind: events.KindRevise}, true, true},
		"run:abort":             {Trigger{Abort: true}, true, true},
		"run:abort:revise":      {Trigger{}, false, true},
		"run:dev:revise:revise": {Trigger{}, false, true},
		"run:":                  {Trigger{}, false, true},
		"state:in-review":       {},
		"Run:Dev":               {Trigger{Stage: "dev", Kind: events.KindWork}, true, true},
		"RUN:DEV:Revise":        {Trigger{Stage: "dev", Kind: events.KindRevise}, true, true},
		"run:Abort":             {Trigger{Abort: true}, true, true},
		"":                      {},
	} {
		var got answer
		got.Trigger, got.Known, got.OK = Default().Trigger(label)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", label, diff)
		}
	}
}

func TestLabelsChoose(t *testing.T) {
	p := Default()
	for _, c := range []struct {
		labels   []string
		value    string
		conflict []string
	}{
		{nil, "", nil},
		{[]string{"bug", "[ai-model-gpt-5.2]"}, "gpt-5.2", nil},
		{[]string{"[ai-model-gpt-5.2]", "[ai-model-gpt-5.2]"}, "gpt-5.2", nil},
		{[]string{"[ai-model-b]", "[ai-model-a]"}, "a", []string{"[ai-model-a]", "[ai-model-b]"}},
		{[]string{"[AI-Model-GPT-5.2]"}, "gpt-5.2", nil},
		{[]string{"[ai-model-a]", "[AI-MODEL-A]"}, "a", nil},
		{[]string{"[ai-model-]", "ai-model-x"}, "", nil},
	} {
		value, conflict := choice(p.Models.Label, c.labels)
		if value != c.value || !cmp.Equal(conflict, c.conflict) {
			t.Errorf("%v: %q %v, want %q %v", c.labels, value, conflict, c.value, c.conflict)
		}
	}
}

func TestAdmitIsFairAndNobodyBlocks(t *testing.T) {
	p := Default()
	p.Roles = []Role{p.Role("dev"), {Name: "qa", Parallel: 1}}
	at := func(minute int) time.Time { return time.Date(2026, 11, 1, 12, minute, 0, 0, time.UTC) }
	place := func(id, role string, s State, minute int) Place {
		return Place{Run: Run{ID: id, Process: p, Role: role, State: s, CreatedAt: at(minute)}}
	}
	places := []Place{
		place("d1", "dev", Running, 0), place("d2", "dev", Starting, 1),
		place("d3", "dev", Queued, 2), place("q2", "qa", Requested, 5), place("q1", "qa", Queued, 3),
		place("w", "qa", Waiting, 0),
	}
	places[5].JobOver = true // else its place is taken until then
	said := func(s project.Settings) (out []string) {
		for _, a := range Admit(s, places, at(10)) {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s→%s %d %s", a.ID, a.Waited, a.Was, a.State, a.Position, a.Reason)))
			if told := a.Was != a.State; told != (len(a.Audit) == 1) {
				t.Errorf("%s changes: %t, the audit says %+v", a.ID, told, a.Audit)
			}
		}
		return out
	}
	want := []string{"q1 7m0s queued→starting 0", "q2 5m0s requested→queued 1 role_full", "d3 8m0s queued→queued 2 role_full"}
	if diff := cmp.Diff(want, said(project.Settings{})); diff != "" {
		t.Errorf("dev is full, qa has one place (-want +got):\n%s", diff)
	}
	places[5].JobOver = false
	want = []string{"q1 7m0s queued→queued 1 role_full", "d3 8m0s queued→queued 2 role_full", "q2 5m0s requested→queued 3 role_full"}
	if diff := cmp.Diff(want, said(project.Settings{})); diff != "" {
		t.Errorf("a Job of qa is ending (-want +got):\n%s", diff)
	}
	want = []string{"q1 7m0s queued→queued 1 project_full", "d3 8m0s queued→queued 2 project_full", "q2 5m0s requested→queued 3 project_full"}
	if diff := cmp.Diff(want, said(project.Settings{Parallel: 2})); diff != "" {
		t.Errorf("the project is full (-want +got):\n%s", diff)
	}
}

// What the project's settings, the role and the run before say reaches agent-launcher.
func TestStart(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	q := Place{
		Run:        Run{ID: "r", Project: "shop", Process: Default(), Stage: "dev", Role: "dev", Engine: "codex", Namespace: "codexk8s-run-0dc61a635cfd", Attempt: 1},
		Repository: "acme/demo", Issue: 1,
	}
	want := events.AgentRequested{
		RunRef:    events.RunRef{RunID: "r", Project: "shop", Repository: "acme/demo", Issue: 1},
		Namespace: "codexk8s-run-0dc61a635cfd", Stage: "dev", Role: "dev", Engine: "codex",
		Deadline: now.Add(time.Hour), ExpiresAt: now.Add(3 * time.Hour), CPU: "1", Memory: "2Gi", Runtime: "gvisor", Attempt: 1, Kubernetes: events.KubernetesRead,
	}
	deadline, d := Start(project.Settings{Keep: "2h", RuntimeClass: "gvisor"}, q, now)
	if diff := cmp.Diff(want, d.Emit[0].Payload); diff != "" || !deadline.Equal(want.Deadline) {
		t.Errorf("deadline %s, request (-want +got):\n%s", deadline, diff)
	}
}

// A check ends a silent run only after the cluster had its say: the Job may be over, and only the news of it lost.
func TestASilentAgentIsGivenUpAtTheSecondCheck(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	ref := events.RunRef{RunID: "r", Project: "shop", Repository: "acme/demo", Issue: 1}
	for name, c := range map[string]struct {
		state          State
		started, heard time.Duration // ago
		check          events.RunCheck
		want           []events.Draft
	}{
		"heard of": {Running, time.Hour, time.Minute, events.RunCheck{Round: 1, Silent: true},
			[]events.Draft{events.At(now.Add(8*time.Minute), events.RunCheck{RunRef: ref, Round: 2})}},
		"silent for the first time": {Running, time.Hour, 20 * time.Minute, events.RunCheck{Round: 5},
			[]events.Draft{events.At(now.Add(2*time.Minute), events.RunCheck{RunRef: ref, Round: 6, Silent: true})}},
		"its next Job has just started": {Running, time.Minute, 20 * time.Minute, events.RunCheck{Round: 1, Silent: true},
			[]events.Draft{events.At(now.Add(8*time.Minute), events.RunCheck{RunRef: ref, Round: 2})}},
		"its next Job has not started": {Starting, time.Hour, 20 * time.Minute, events.RunCheck{Round: 1, Silent: true},
			[]events.Draft{events.At(now.Add(8*time.Minute), events.RunCheck{RunRef: ref, Round: 2})}},
	} {
		t.Run(name, func(t *testing.T) {
			item := Item{Repository: "acme/demo", Issue: 1, Process: Default(), Run: &Run{
				ID: "r", Project: "shop", Stage: "dev", State: c.state, StartedAt: now.Add(-c.started), HeartbeatAt: now.Add(-c.heard),
			}}
			next, d, err := Decide(item, CheckDue{events.RunCheck{RunRef: ref, Round: c.check.Round, Silent: c.check.Silent}}, now)
			if err != nil || next.Run.State != c.state {
				t.Errorf("the run is %s, %v", next.Run.State, err)
			}
			if diff := cmp.Diff(c.want, d.Emit); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	silent := Item{Repository: "acme/demo", Issue: 1, Process: Default(), Run: &Run{
		ID: "r", Project: "shop", Stage: "dev", State: Running, StartedAt: now.Add(-time.Hour), HeartbeatAt: now.Add(-17 * time.Minute),
	}}
	next, _, err := Decide(silent, CheckDue{events.RunCheck{RunRef: ref, Silent: true}}, now)
	if err != nil || next.Run.State != Failed || next.Run.Reason != "agent_silent" {
		t.Errorf("silent for the second time: the run is %s %s, %v", next.Run.State, next.Run.Reason, err)
	}
}

// The run that made it may have ended without a word: out of time, or in a database that was lost.
func TestAReviewMakesAPullRequestKnown(t *testing.T) {
	item := Item{
		Repository: "acme/demo", Issue: 1, Project: &Project{ID: "shop", SenderRole: "maintainer"}, Process: Default(),
		Run: &Run{ID: "r", Project: "shop", Stage: "dev", Role: "dev", State: TimedOut},
	}
	review := Reviewed{State: "changes_requested", Pull: PullRequest{Number: 7, Branch: "codexk8s/issue-1", HeadSHA: "abc"}, Sender: Person{Login: "alice"}}
	next, _, err := Decide(item, review, time.Now())
	if err != nil || next.Current().Number != 7 || next.Current().HeadSHA != "abc" || next.Run.ID == "r" || next.Run.Kind != events.KindRevise {
		t.Errorf("pull request %d at %s, run %+v, %v", next.Current().Number, next.Current().HeadSHA, next.Run, err)
	}
	item.Pulls = []Pull{{Number: 6, Stage: "dev", Branch: "codexk8s/issue-1"}}
	if next, _, err = Decide(item, review, time.Now()); err != nil || next.Current().Number != 6 || next.Run.ID != "r" {
		t.Errorf("another pull request than ours: %d, run %+v, %v", next.Current().Number, next.Run, err)
	}
}

func FuzzTrigger(f *testing.F) {
	for _, l := range []string{"run:dev", "run:dev:revise", "run:abort", "state:blocked", "run:\x00"} {
		f.Add(l)
	}
	p := Default()
	f.Fuzz(func(t *testing.T, label string) {
		trigger, known, ok := p.Trigger(label)
		if known && !ok || ok != strings.HasPrefix(strings.ToLower(label), "run:") {
			t.Errorf("%q: known %t, ok %t", label, known, ok)
		}
		if known && !trigger.Abort && !strings.EqualFold(p.LabelOf(trigger.Stage, trigger.Kind), label) {
			t.Errorf("%q reads as %+v, whose label is %q", label, trigger, p.LabelOf(trigger.Stage, trigger.Kind))
		}
	})
}

// TestARunIsBasedOnACommit: that which is looked up when it is asked for. A revise goes on from its own branch.
func TestARunIsBasedOnACommit(t *testing.T) {
	p, now := Default(), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for label, want := range map[string]string{"run:dev": "release/v1", "run:dev:revise": ""} {
		item := Item{Repository: "acme/demo", Issue: 1, Pulls: []Pull{{Number: 2, Stage: "dev", Branch: "codexk8s/issue-1"}}, Project: &Project{ID: "demo", SenderRole: access.Maintainer}, Process: p}
		item, d, err := Decide(item, Labeled{
			Issue: Issue{Title: "T", BaseBranch: "release/v1", Labels: []string{label}}, Label: label, Sender: Person{Login: "alice"}, Delivery: label,
		}, now)
		if err != nil || item.Run == nil {
			t.Fatalf("%s: %+v %v", label, item.Run, err)
		}
		got := ""
		for _, e := range d.Emit {
			if c, ok := e.Payload.(events.GitHubChangeRequested); ok {
				got = c.Base
			}
		}
		if got != want {
			t.Errorf("%s: the branch that is looked up is %q, want %q", label, got, want)
		}
		item.Run.BaseCommit = "0123456789abcdef"
		if line := "| Based on | `0123456` of `release/v1` |"; !strings.Contains(Comment(p, item), line) {
			t.Errorf("the comment lacks %q:\n%s", line, Comment(p, item))
		}
	}
}

// TestLabelsAreComparedAlikeEverywhere: github-caller and timekeeper compare with strings.EqualFold what is decided
// here.
func TestLabelsAreComparedAlikeEverywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letter := rapid.SampledFrom([]rune("aAkKsSiIéÉßẞσΣςﬁ:-\u212a\u017f\u0130\u0131\u00a0"))
		a, b := string(rapid.SliceOfN(letter, 0, 3).Draw(t, "a")), string(rapid.SliceOfN(letter, 0, 3).Draw(t, "b"))
		if equal := strings.EqualFold(a, b); (fold(a) == fold(b)) != equal || same(a, b) != equal {
			t.Errorf("%q and %q: fold %q and %q, EqualFold %t", a, b, fold(a), fold(b), equal)
		}
	})
}

// TestWhatARunMayDoIsFixed: as process and project have it when the run is requested.
func TestWhatARunMayDoIsFixed(t *testing.T) {
	p := Default()
	item := Item{Repository: "acme/demo", Issue: 1, Process: p, Project: &Project{
		ID: "demo", SenderRole: access.Maintainer, Settings: project.Settings{HostedTools: []string{"web_search"}},
	}}
	label := Labeled{Issue: Issue{Labels: []string{"run:dev"}}, Label: "run:dev", Sender: Person{Login: "alice"}, Delivery: "1"}
	item, _, err := Decide(item, label, time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC))
	if err != nil || item.Run == nil {
		t.Fatalf("%+v, %v", item.Run, err)
	}
	if diff := cmp.Diff(&Grant{Process: p.Hash, Write: []string{"**"}, HostedTools: []string{"web_search"},
		Tools:  []string{"ask", "request_approval", "status_report", "run_history", "labels_list", "labels_add", "labels_remove", "labels_transition", "secret_sync"},
		Branch: "codexk8s/issue-1",
		Free:   []string{"labels_add", "labels_remove", "labels_transition"}}, item.Run.Grant); diff != "" || len(p.Hash) != 64 {
		t.Errorf("process %q (-want +got):\n%s", p.Hash, diff)
	}
	// Databases are for projects that name a server.
	names, free := p.tools(p.Stage("dev"), project.Settings{Database: "shop"})
	if !slices.Contains(names, tool.DatabaseLifecycle) || slices.Contains(free, tool.DatabaseLifecycle) {
		t.Errorf("with a server for databases: %v, free %v", names, free)
	}
}
