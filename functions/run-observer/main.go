// Command run-observer reports how the Jobs of runs end.
//
// An ApiServerSource reports every change of our Jobs. Most trouble shows there: a Job whose pod is refused has begun
// without one, and a Job whose agent has ended next to a sidecar is no longer ready. But the source rolls over whenever
// a namespace is created or removed, and does not repeat what it missed, and a run's namespace is created just before
// its Job. So a Job is also looked at when it starts (agent.started), and for a moment after a namespace was created or
// removed (environment.removed) the function watches the Jobs of all runs itself. A pod that can't pull its image
// changes no Job: so a starting pod is watched, after the answer, until something runs in it. What all of that misses
// is found by checks (run.check), because Kubernetes' events are not in our log.
//
//	the Job is complete                    agent.finished
//	the Job has failed, or is stuck        agent.failed, with the reason a person can act on
//	the agent has ended, a sidecar not     one of these, and agent.stop.requested
//	the Job was deleted, and not by us     agent.failed, job_deleted, if it had not ended
//	the Job is at work                     nothing
//	the Job has ended, and its run is not  environment.expired: the database was restored, and
//	in the database                        nobody else would ask for the namespace to go
//
// A Sandbox of agent-sandbox, where that is set up, is treated like the Job that it replaces. Its pod is what the
// source reports: an ApiServerSource can't watch Sandboxes, because it guesses the name of their resource ("sandboxs").
//
// It relies on the Job as it is in the cluster, not on the event that reported it: several events report the same, and
// anybody inside the cluster could forge one. The id of what it emits is derived from the Job and its outcome, so an
// outcome is one event, however often and in whatever way it is seen. The pods are read only if there is something to
// explain. Their ages are measured by the API server's clock, which stamped them.
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
