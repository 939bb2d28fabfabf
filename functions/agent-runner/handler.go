package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"codexk8s.dev/functions/agent-runner/internal/gateway"
	"codexk8s.dev/functions/agent-runner/internal/model"
	"codexk8s.dev/functions/agent-runner/internal/outcome"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/exitcode"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/redact"
)

// Phases, as heartbeats tell them.
const (
	phaseClone  = "clone"
	phaseEngine = "engine"
	phaseCheck  = "check"
	phasePush   = "push"
	phasePull   = "pull_request"
	phaseReport = "report"
)

// shown says a phase to people.
var shown = map[string]string{
	phaseClone: "checking the repository out", phaseEngine: "the agent is at work", phaseCheck: "checking what was changed",
	phasePush: "pushing the branch", phasePull: "opening the pull request", phaseReport: "reporting",
}

// errStop says that the platform asked this pod to end. The platform decides the run's next state.
var errStop = errors.New("the platform asked the agent to stop")

// errWaits says that the agent asked people: the run continues in another pod, with their answer.
var errWaits = fmt.Errorf("%w: %w", errStop, model.ErrWaits)

// runner is one run in one pod.
type runner struct {
	env     env
	secrets *redact.Secrets
	gateway agentapi.SessionServiceClient // tries again; its Git credential may write
	reader  agentapi.SessionServiceClient // as gateway, but its Git credential may only read
	pulse   agentapi.SessionServiceClient // does not: the next heartbeat comes anyway
	line    *model.Line                   // to the model and the platform's tools
	pull    *prompt.Pull                  // that is reviewed; nil in other runs
	log     *gateway.Log
	phase   atomic.Value // string
	base    atomic.Value // string: the commit at which the branch begins, once it is checked out
}

// run does everything and returns the exit code.
func run(ctx context.Context) int {
	e, err := settings()
	if err != nil {
		slog.Error("start", "error", err)
		return exitcode.Never
	}
	r := &runner{env: e, secrets: &redact.Secrets{}}
	r.secrets.Hide(e.RunToken)
	pod := rand.Text() + rand.Text() // this pod's secret
	r.secrets.Hide(pod)
	r.gateway = gateway.Dial(e.GatewayURL, e.RunToken, pod, e.RetryFor)
	r.reader = gateway.Dial(e.GatewayURL, e.RunToken, "", e.RetryFor)
	r.pulse = gateway.Dial(e.GatewayURL, e.RunToken, pod, 0)
	r.log = &gateway.Log{Gateway: r.gateway, Secrets: r.secrets}
	if r.line, err = model.NewLine(e.LLMURL, e.GatewayURL, e.RunToken, e.RetryFor); err != nil {
		slog.Error("start", "error", err)
		return exitcode.Never
	}
	err = r.work(ctx)
	code := exitCode(ctx, err)
	if err != nil {
		level := slog.LevelError
		if code == exitcode.Done || code == exitcode.Terminated {
			level = slog.LevelInfo
		}
		slog.Log(ctx, level, "this pod ends without a result", "run", e.RunID, "why", r.secrets.Clean(err.Error()), "exit", code)
	}
	return code
}

// exitCode is what the Job learns about err; nil means a reported result. ctx ends on SIGTERM.
func exitCode(ctx context.Context, err error) int {
	var f *outcome.Failure
	switch {
	case err == nil, errors.Is(err, errStop):
		return exitcode.Done
	case errors.As(err, &f), gateway.Refused(err):
		return exitcode.Never
	case ctx.Err() != nil:
		return exitcode.Terminated
	}
	return exitcode.Again
}

// work gets the assignment, carries it out while heartbeat and log run, and reports. A failure is returned as well as
// reported if the Job must not be tried again because of it.
func (r *runner) work(ctx context.Context) error {
	r.phase.Store(phaseClone)
	a, err := r.gateway.GetAssignment(ctx, &agentapi.GetAssignmentRequest{})
	if err != nil {
		return fmt.Errorf("getting the assignment: %w", err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go r.log.Run(ctx)
	beat, still := context.WithCancel(ctx)
	defer still()
	go r.heartbeat(beat, stop)
	go func() {
		select {
		case <-ctx.Done():
		case <-r.line.Paused():
			r.log.Say("The agent has asked people. This pod ends, and the run goes on with their answer.")
			stop(errWaits)
		}
	}()

	result, err := r.carryOut(ctx, stop, a)
	var f *outcome.Failure
	switch {
	case ctx.Err() != nil:
		r.flush(ctx)
		return fmt.Errorf("stopped while in phase %v: %w", r.phase.Load(), context.Cause(ctx))
	case errors.As(err, &f):
		result = &agentapi.ReportRequest{Outcome: "failed", Reason: f.Reason, Summary: r.secrets.Clean(f.Summary)}
		r.log.Say("The run failed (%s): %s", f.Reason, f.Summary)
	case err != nil:
		r.log.Say("Ending to be tried again: %v", err)
		r.flush(ctx)
		return err
	default:
		r.log.Say("The run succeeded: %s", result.GetPullRequestUrl())
	}
	r.enter(phaseReport)
	r.flush(ctx)
	// The report ends the run before it is answered, and a heartbeat would take that for an order to stop.
	still()
	if _, err := r.gateway.Report(ctx, result); err != nil {
		return fmt.Errorf("reporting the result: %w", errors.Join(err, context.Cause(ctx)))
	}
	if f != nil && f.Reason == reason.PullRequestMissing {
		return f
	}
	return nil
}

// enter begins a phase.
func (r *runner) enter(phase string) {
	r.phase.Store(phase)
	r.log.Show(shown[phase])
}

// flushTimeout bounds the last flush of a pod that is being ended, within the 30 s that Kubernetes gives.
const flushTimeout = 5 * time.Second

// flush sends the rest of the log, even if ctx has ended. What cannot be sent is in the pod's own log.
func (r *runner) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := r.log.Flush(ctx); err != nil {
		slog.Warn("send the rest of the log", "error", err)
	}
}

// heartbeat says that we are alive, and stops the run when it is told to or when the gateway no longer accepts us. An
// unreachable gateway is no reason to stop.
func (r *runner) heartbeat(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(r.env.HeartbeatInterval)
	defer tick.Stop()
	for {
		phase, _ := r.phase.Load().(string)
		base, _ := r.base.Load().(string)
		res, err := r.pulse.Heartbeat(ctx, &agentapi.HeartbeatRequest{Phase: phase, BaseCommit: base})
		switch {
		case err == nil && res.GetStop():
			stop(fmt.Errorf("%w: %s", errStop, res.GetReason()))
			return
		case err != nil && gateway.Refused(err):
			stop(err)
			return
		case err != nil && ctx.Err() == nil:
			slog.Warn("heartbeat", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
