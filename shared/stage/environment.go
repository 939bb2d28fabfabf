package stage

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"codexk8s.dev/shared/environment"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/reason"
)

// Modes of a role.
const (
	// CodeOnly: the agent has its checkout and nothing else. The default.
	CodeOnly = "code-only"
	// FullEnv: the project's services run next to the agent.
	FullEnv = "full-env"
)

// ModeOf is the mode of a role's runs of that kind in this project. Who only talks has no use for services.
func ModeOf(s project.Settings, r Role, kind events.Kind) string {
	if kind == events.KindDiscussion {
		return CodeOnly
	}
	return cmp.Or(s.Modes[r.Name], r.Mode, CodeOnly)
}

// begin requests an admitted run's agent or, before that, what must be known about the repository: for a full-env role
// the project's list of services, which is read from the base branch, never from the agent's own, which an agent could
// write; and whether the files that the run works from are there.
func begin(s project.Settings, q Place, deadline, now time.Time) []events.Draft {
	ask := events.GitHubLookupRequested{RunRef: q.ref(), Attempt: q.Attempt}
	if ModeOf(s, q.Process.Role(q.Role), q.Kind) == FullEnv {
		ask.Path, ask.Ref = cmp.Or(s.ServicesFile, environment.DefaultFile), q.BaseBranch
	}
	if q.Attempt == 0 { // a later Job goes on with what the first one began with
		ask.Files = q.needs(q.Issue)
		if q.Grant != nil && len(q.Grant.From) > 0 {
			ask.Files = q.reads(q.Issue)
		}
	}
	if len(ask.Files) > 0 {
		ask.In = append([]string{q.branch(q.Issue)}, q.Grant.From...)
		ask.In = append(ask.In, cmp.Or(q.BaseCommit, q.Base, q.BaseBranch))
	}
	if ask.Path == "" && len(ask.Files) == 0 {
		run := q.Run
		run.Deadline = deadline
		return agentRequest(s, ask.RunRef, run, nil, now)
	}
	return []events.Draft{events.Now(ask)}
}

// agentRequest asks for the run's agent and for the checks on it.
func agentRequest(s project.Settings, ref events.RunRef, r Run, services []events.Service, now time.Time) []events.Draft {
	role := r.Process.Role(r.Role)
	rights := ""
	if role.Kubernetes == events.KubernetesRead && r.Kind != events.KindDiscussion { // which only talks
		rights = role.Kubernetes
	}
	return []events.Draft{
		events.Now(events.AgentRequested{
			RunRef: ref, Namespace: r.Namespace, Stage: r.Stage, Role: r.Role, Engine: r.Engine,
			Deadline: r.Deadline, ExpiresAt: r.Deadline.Add(s.KeepFor(r.Process.StageOf(r.Stage, r.Kind).Keep)),
			CPU: role.CPU, Memory: role.Memory, Runtime: s.RuntimeClass, Sandbox: s.Sandbox, Attempt: r.Attempt, Services: services, Kubernetes: rights,
		}),
		events.At(now.Add(checkEvery), events.RunCheck{RunRef: ref, Namespace: r.Namespace, Attempt: r.Attempt}),
	}
}

// lookedUp continues a run that waits for what the repository holds. No list of services means no services; one that
// can't be read or is wrong ends the run, because tests against half an environment mislead the agent.
func (d *decision) lookedUp(in events.GitHubLookedUp) {
	if d.ofEarlierJob("github.looked_up", in.Attempt) {
		return
	}
	if in.Head != "" {
		d.inspected(in)
		return
	}
	run := d.item.Run
	if run.State != Starting || run.Delivered != "" {
		d.audit(platform, "github.looked_up.late", "run_"+string(run.State), "%s", in.Path)
		return
	}
	if cause, why := d.unfit(in); cause != "" {
		d.finish(Failed, cause, why)
		return
	}
	if slices.Contains(run.Grant.from(), in.From) {
		run.Base = d.item.baseNow(in.From)
		d.audit(platform, "run.begins", "", "at %s", run.Base)
	}
	var services []events.Service
	if in.Found {
		var err error
		if services, err = environment.Parse([]byte(in.Content)); err != nil {
			d.finish(Failed, reason.ServicesInvalid, fmt.Sprintf("`%s` on branch `%s` is invalid: %s. Correct it there.", in.Path, in.Ref, err))
			return
		}
	}
	if in.Path != "" {
		d.audit(platform, "services.known", "", "%d of %s", len(services), cmp.Or(in.SHA, "no "+in.Path))
	}
	d.out.Emit = append(d.out.Emit, agentRequest(d.settings(), d.item.Ref(), *run, services, d.now)...)
}

// Namespace is the Kubernetes namespace of a work item's runs: a revise finds it as the run before left it, unless it
// has expired.
func Namespace(workItem string) string {
	sum := sha256.Sum256([]byte(workItem))
	return "codexk8s-run-" + hex.EncodeToString(sum[:6])
}
