package manifests_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gh "github.com/google/go-github/v66/github"
	rbacv1 "k8s.io/api/rbac/v1"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/scope"
	"codexk8s.dev/shared/stage"
)

// TestWhatEachRoleMayDo takes a run of every stage, and the review of what each makes, from its label to the objects on
// Kubernetes and the credential for GitHub. config/README.md has the same as a table.
func TestWhatEachRoleMayDo(t *testing.T) {
	type row struct{ role, rest string }
	var rows []row
	stages := map[row][]string{}
	note := func(s stage.Stage, kind events.Kind) {
		role, rest := mayDo(t, s, kind)
		r := row{role, rest}
		if stages[r] == nil {
			rows = append(rows, r)
		}
		stages[r] = append(stages[r], "`"+s.Name+"`")
	}
	process := stage.Default()
	for _, s := range process.Stages {
		note(s, events.KindWork)
	}
	for _, s := range process.Stages {
		note(s, events.KindReview)
	}
	table := "| role | stages | at a time | beside it | Kubernetes | GitHub | may change | tools |\n|---|---|---|---|---|---|---|---|\n"
	for _, r := range rows {
		names := strings.Join(stages[r], ", ")
		if len(stages[r]) == len(process.Stages) {
			names = "reviews of any"
		}
		table += fmt.Sprintf("| `%s` | %s | %s |\n", r.role, names, r.rest)
	}
	readme, err := os.ReadFile("../../config/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "\n\n"+table+"\n") {
		t.Errorf("config/README.md lacks this table:\n\n%s", table)
	}
}

// mayDo is what the run of a stage may do, as cells of the table.
func mayDo(t *testing.T, s stage.Stage, kind events.Kind) (role, rest string) {
	t.Helper()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	p := stage.Default()
	item := stage.Item{
		Repository: "acme/shop", RepositoryKey: "acme/shop", Issue: 1, Process: p, BaseBranch: "main",
		Project: &stage.Project{ID: "shop", Settings: project.Settings{Database: "shop"}, SenderRole: access.Maintainer},
	}
	in := stage.Labeled{Issue: stage.Issue{Title: "T", Labels: []string{s.Label}}, Label: s.Label, At: now, Sender: stage.Person{Login: "alice", ID: 1}}
	decide := func(in stage.Input) (out []events.Draft) {
		t.Helper()
		next, d, err := stage.Decide(item, in, now)
		if err != nil {
			t.Fatal(err)
		}
		item = next
		return d.Emit
	}
	decide(in)
	if kind == events.KindReview {
		decide(stage.Reported{AgentReported: events.AgentReported{RunRef: item.Ref(), Outcome: "failed", Reason: "engine", PullRequest: 2, HeadSHA: "c0ffee"}})
		now = now.Add(time.Minute)
		pull := stage.PullRequest{Number: 2, State: "open", HeadSHA: "c0ffee", UpdatedAt: now}
		decide(stage.Labeled{Pull: &pull, Label: p.Labels.Reviewer, At: now, Sender: in.Sender})
	}
	run := item.Run
	if run == nil || run.Kind != kind || run.Stage != s.Name {
		t.Fatalf("%s of %s: the run is %+v: %s", kind, s.Name, run, item.Note)
	}
	admitted := stage.Admit(item.Project.Settings, []stage.Place{{Run: *run, Repository: item.Repository, Issue: 1, BaseBranch: "main"}}, now)[0]
	item.Run = &admitted.Run
	asked := requested(admitted.Emit)
	if asked == nil { // GitHub is asked for files first
		answer := events.GitHubLookedUp{RunRef: item.Ref()}
		for _, e := range admitted.Emit {
			if l, ok := e.Payload.(events.GitHubLookupRequested); ok {
				for _, f := range l.Files {
					answer.Files = append(answer.Files, events.FoundFile{Path: f, In: "main", Size: 1})
				}
			}
		}
		asked = requested(decide(stage.LookedUp{GitHubLookedUp: answer}))
	}
	return run.Role, strings.Join([]string{
		fmt.Sprint(p.Role(run.Role).Parallel), stage.ModeOf(item.Project.Settings, p.Role(run.Role), run.Kind), onKubernetes(t, *asked, now), onGitHub(github.RunPermissions(run.Kind)),
		changes(run.Grant.Write), tools(run.Grant),
	}, " | ")
}

func requested(all []events.Draft) *events.AgentRequested {
	for _, e := range all {
		if a, ok := e.Payload.(events.AgentRequested); ok {
			return &a
		}
	}
	return nil
}

// onKubernetes are the rights of the run's account.
func onKubernetes(t *testing.T, r events.AgentRequested, now time.Time) string {
	t.Helper()
	o, err := agentpod.Build(r, agentpod.DefaultPlatform(), "token", now)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range o.Support {
		if object.Resource != gvr.Roles {
			continue
		}
		rights := []string{}
		for _, rule := range object.Value.(*rbacv1.Role).Rules {
			verbs := strings.Join(rule.Verbs, ", ")
			if verbs == "get, list, watch" {
				verbs = "read"
			}
			rights = append(rights, verbs+" "+strings.Join(rule.Resources, ", "))
		}
		if len(rights) == 0 {
			return "nothing"
		}
		return strings.Join(rights, "; ")
	}
	t.Fatal("the account has no Role")
	return ""
}

// onGitHub are the permissions of the run's credential.
func onGitHub(p *gh.InstallationPermissions) string {
	var write, read []string
	for _, permission := range []struct {
		name string
		is   *string
	}{{"contents", p.Contents}, {"pull requests", p.PullRequests}, {"issues", p.Issues}, {"statuses", p.Statuses}, {"checks", p.Checks}} {
		switch {
		case permission.is == nil:
		case *permission.is == "write":
			write = append(write, permission.name)
		default:
			read = append(read, permission.name)
		}
	}
	said := "read " + strings.Join(read, ", ")
	if len(write) > 0 {
		said = "write " + strings.Join(write, ", ") + "; " + said
	}
	return said
}

func changes(globs []string) string {
	if slices.Equal(globs, []string{scope.Nothing}) {
		return "nothing"
	}
	return "`" + strings.Join(globs, "`, `") + "`"
}

// tools are those that the run has; a star is on those that need nobody's yes though they change something.
func tools(g *stage.Grant) string {
	var all []string
	for _, name := range g.Tools {
		if slices.Contains(g.Free, name) {
			name += "\\*"
		}
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}
