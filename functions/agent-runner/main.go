// Command agent-runner is the program in an agent's pod. It turns the run's assignment into a pull request:
//
//	assignment → checkout → session → engine → write scope → commit → push → pull request → report
//
// It talks to the platform only through agent-gateway (the Session API of shared/agentapi) and to models only through
// LLM_URL, both with the run token, which is the only secret it is given. Credentials for Git hosting are fetched
// from the gateway when they are needed.
//
// The agent and its commands have the same user as this program, and are not trusted. They get a key that opens only
// the model, through this process (model); they cannot read the token (process); and all their processes are gone
// before their work is checked and before a credential that may write exists (process).
//
// When the agent asks people, by a tool of the gateway, the engine is ended, the session saved, and nothing reported.
// The run's next pod continues the same conversation, with their decision as the message.
//
// It may be killed at any point and started again elsewhere. Three things outside the pod say how far it got: the
// session snapshot (conversation, uncommitted changes, whether the engine had finished), the pushed commit (it
// carries the run id as a trailer) and the pull request (found by its head branch). Each step checks before it acts.
//
// Its parts are the packages below internal/. An arrow is an import; none runs back, and main wires the rest:
//
//	session  ──▶ engine, checkout, gateway                 the snapshot outside of the pod, saved while the engine works
//	engine   ──▶ gateway, model, process, outcome          the Codex CLI and our own, and what drives them over failures
//	pull     ──▶ outcome                                   the pull request, its checks and its reviews
//	gateway                                                the Session API and the run's log
//	checkout                                               git: the clone, the agent's work, the push
//	model                                                  the line to LLM_URL, and to the platform's tools
//	process                                                what the agent started, and what it must not see of us
//	outcome, probe                                         how a pod ends, the pod's isolation
//
// Called as "agent-runner probe" it is the pod's first container instead, and finds out whether the pod is isolated.
//
// The exit code tells the Job what to do: 0 the run's result is reported, the run waits, or the platform asked to stop;
// 42 it can never work (no retry); 143 terminated by SIGTERM with the session saved; any other code: try again.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	_ "golang.org/x/crypto/x509roots/fallback" // an image without CA certificates can still call GitHub

	"codexk8s.dev/functions/agent-runner/internal/checkout"
)

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("function", "agent-runner"))
	if len(os.Args) > 1 && os.Args[1] == checkout.HelperCommand {
		os.Exit(checkout.Help(context.Background(), os.Args[2:], os.Stdin, os.Stdout))
	}
	if len(os.Args) > 1 && os.Args[1] == probeCommand {
		os.Exit(runProbe(context.Background()))
	}
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt) // until the process ends
	os.Exit(run(ctx))
}
