// Command agent-launcher creates a run's namespace and Job on Kubernetes, stops the Job, and removes what has expired.
// It decides nothing: shared/agentpod says what a run looks like, and when a namespace may be removed.
//
//	agent.requested       namespace, new or found → all else at once → agent.started, or agent.failed
//	                      the project's services, if any → Job       agent.delayed, while the former Job is being removed
//	agent.stop.requested  mark the Job as stopped by us → delete it
//	environment.expired   guards → delete namespace and database       environment.removed
//	tool.approved         the namespace, if it is gone → the Secret,   tool.executed
//	                      or a database and its Secret
//
// It acts first and then records (store.Act), so an act may be repeated: names come from the run, "already exists" and
// "not found" are success when the object is the run's. What Kubernetes will never accept becomes agent.failed with
// what it said; what it can't do now is an error, and the event comes again.
//
// The Job comes last, when the network policies are there, and its first container proves that they hold: no agent ever
// runs in an open namespace. That is three round trips from the event to the Job. Where the project wants it, a Sandbox
// of agent-sandbox stands in the Job's place, under the same name and rules.
package main

import (
	"context"

	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/runtoken"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

type env struct {
	DatabaseURL  string `envconfig:"DATABASE_URL" required:"true"`      // Postgres, postgres://user:password@host/name
	Kubeconfig   string `envconfig:"KUBECONFIG"`                        // file that names another cluster than the one it runs in
	RunTokenKey  string `envconfig:"RUN_TOKEN_KEY" required:"true"`     // signs run tokens; the same in agent-gateway and llm-caller
	Image        string `envconfig:"AGENT_IMAGE" required:"true"`       // of agent-runner
	GatewayURL   string `envconfig:"AGENT_GATEWAY_URL" required:"true"` // of agent-gateway, as agents see it
	LLMURL       string `envconfig:"LLM_URL" required:"true"`           // of llm-caller, as agents see it; ends in /v1
	GatewayPeers string `envconfig:"GATEWAY_PEERS"`                     // pods behind those two URLs, namespace/label=value,…; empty = Kourier's and Istio's
	GatewayPorts string `envconfig:"GATEWAY_PORTS"`                     // their ports; empty = 8081
	DNSPeers     string `envconfig:"DNS_PEERS"`                         // where names are resolved, also address ranges; empty = kube-dns
	GitCIDRs     string `envconfig:"GIT_CIDRS"`                         // address ranges of Git hosting; empty = the internet
	GitPorts     string `envconfig:"GIT_PORTS"`                         // its ports; empty = 443,22

	Probe     string   `envconfig:"ISOLATION_PROBE" default:"required"` // required: an agent starts only where its pod proves to be isolated; off: it is taken on trust
	Forbidden []string `envconfig:"ISOLATION_FORBIDDEN"`                // host:port that an agent must not reach, beside the database, the Broker, the API server and the metadata service
	Sandbox   string   `envconfig:"SANDBOX_VERSION"`                    // version of agent-sandbox's API, v1beta1 or v1alpha1; empty = no project may have Sandboxes. The same in run-observer
	Sink      string   `envconfig:"K_SINK"`                             // the Broker, injected by a SinkBinding; agents must not reach it
}

func main() { serve.Main("agent-launcher", run) }

func run(ctx context.Context, s *serve.Server, env env) error {
	key, err := runtoken.Key(env.RunTokenKey)
	if err != nil {
		return err
	}
	platform, err := platformFrom(env)
	if err != nil {
		return err
	}
	cluster, err := kube.Open(env.Kubeconfig)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, "agent-launcher", env.DatabaseURL)
	if err != nil {
		return err
	}
	s.OnStop(db.Close)
	h := &handler{db: db, cluster: cluster, platform: platform, key: key}
	h.routes(s)
	s.Postpone(db.Postpone)
	return nil
}
