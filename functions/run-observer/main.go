// Command run-observer says how the Jobs of runs go.
//
// It hears of every change of a Job of ours from an ApiServerSource. Most trouble shows there: a Job whose pod is
// refused has begun without one, and a Job whose agent has ended beside a sidecar is ready no more. But the source is
// rolled over whenever a namespace comes or goes, and tells of nothing that it missed, and a run's namespace comes just
// before its Job. So a Job is looked at when it starts, too (agent.started). And for a moment after a namespace came or
// went (environment.removed) the function watches the Jobs of all runs itself. A pod that can't pull its image changes
// no Job: a pod that starts is watched, after the answer, until something runs in it. What all of that misses, checks
// that are due find (run.check): no event of Kubernetes is in our log.
//
//	the Job is complete                    agent.finished
//	the Job has failed, or is stuck        agent.failed, with the reason a person can act on
//	the agent has ended, a sidecar has not one of these, and agent.stop.requested
//	the Job was deleted, and not by us     agent.failed, job_deleted, if it had not ended
//	the Job is at work                     nothing
//	the Job has ended, and its run is not  environment.expired: the database was restored, and
//	in the database                        nobody else would ask for the namespace to go
//
// A Sandbox of agent-sandbox, where it is set up, is looked at like the Job in whose place it stands. It is heard of by
// its pod: an ApiServerSource can't watch Sandboxes, as it guesses the name of their resource ("sandboxs").
//
// It goes by what the Job is in the cluster, not by which event told of it: several tell
// of the same, and anybody inside the cluster could send an event that only looks like
// Kubernetes'. The id of what it emits is derived from the Job and
// its outcome, so however often and by whatever way an outcome is seen, it is one event. The pods are read only when
// there is something to explain. Their ages are counted by the API server's clock, which stamped them.
package main

import (
	"context"

	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

type env struct {
	DatabaseURL string `envconfig:"DATABASE_URL" required:"true"` // Postgres, postgres://user:password@host/name
	Kubeconfig  string `envconfig:"KUBECONFIG"`                   // file that names another cluster than the one it runs in
	Sandbox     string `envconfig:"SANDBOX_VERSION"`              // as agent-launcher's
}

func main() { serve.Main("run-observer", run) }

func run(ctx context.Context, s *serve.Server, env env) error {
	cluster, err := kube.Open(env.Kubeconfig)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, "run-observer", env.DatabaseURL)
	if err != nil {
		return err
	}
	s.OnStop(db.Close)
	h := &handler{db: db, cluster: cluster, life: ctx, sandboxes: gvr.Sandboxes(env.Sandbox)}
	h.routes(s)
	s.Postpone(db.Postpone)
	return nil
}
