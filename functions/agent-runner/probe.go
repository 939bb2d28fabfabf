package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"codexk8s.dev/functions/agent-runner/internal/probe"
	"codexk8s.dev/shared/exitcode"
	"codexk8s.dev/shared/variables"
)

// probeCommand makes this program the Job's first container, see shared/agentpod.
const probeCommand = "probe"

// probeEnv is what the probe's container gives, see shared/agentpod.
type probeEnv struct {
	Places
	Forbidden     []string `envconfig:"PROBE_FORBIDDEN" required:"true"` // host:port that must not be reached
	APIServerHost string   `envconfig:"KUBERNETES_SERVICE_HOST"`         // Kubernetes sets it in every container; must not be reached
	APIServerPort string   `envconfig:"KUBERNETES_SERVICE_PORT"`         // its port
}

// runProbe is the container's whole life. The last line that it writes becomes what a person reads.
func runProbe(ctx context.Context) int {
	var e probeEnv
	err := variables.Read(&e)
	if err == nil && len(e.Forbidden) == 0 {
		err = errors.New("PROBE_FORBIDDEN is empty")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the probe was not told what to try:", err)
		return exitcode.Never
	}
	reached, missing := e.isolation().Examine(ctx)
	switch {
	case len(reached) > 0:
		fmt.Fprintln(os.Stderr, "reachable from it:", strings.Join(reached, ", "))
		return exitcode.Never
	case len(missing) > 0:
		fmt.Fprintln(os.Stderr, "no answer from", strings.Join(missing, ", nor from "))
		return exitcode.Again
	}
	return exitcode.Done
}

func (e probeEnv) isolation() probe.Isolation {
	i := probe.Isolation{Forbidden: append(e.Forbidden, "kubernetes.default.svc:443"), Needed: []string{e.GatewayURL, e.LLMURL}, Settle: probe.Settle, Patience: probe.Patience}
	if e.APIServerHost != "" {
		i.Forbidden = append(i.Forbidden, net.JoinHostPort(e.APIServerHost, e.APIServerPort))
	}
	return i
}
