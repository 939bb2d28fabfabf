package main

import (
	"context"

	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/stage"
)

// measure counts what a decision did to a run. before and after are the run as it
// was loaded and as it was saved; either may be nil.
func measure(ctx context.Context, before, after *stage.Run) {
	if after == nil || before == nil || before.ID != after.ID || before.State == after.State {
		return
	}
	if after.State == stage.Running && before.StartedAt.IsZero() {
		metrics.RunStartDuration.Record(ctx, after.StartedAt.Sub(after.CreatedAt).Seconds(), after.Stage)
	}
	if after.FinishedAt.IsZero() {
		return
	}
	metrics.RunsFinished.Add(ctx, 1, after.Stage, string(after.State), reasonLabel(after.Reason))
	if !after.StartedAt.IsZero() {
		metrics.RunDuration.Record(ctx, after.FinishedAt.Sub(after.StartedAt).Seconds(), after.Stage, string(after.State))
	}
}

// measureAdmitted records how long an admitted run has waited for its place.
func measureAdmitted(ctx context.Context, admitted []admission) {
	for _, a := range admitted {
		metrics.RunQueueDuration.Record(ctx, a.waited.Seconds(), a.stage)
	}
}

// reasons are those that a run may end with. An agent says its own in its report,
// and an agent is not trusted: any other one is counted as "other".
var reasons = map[string]bool{
	"": true, "write_scope": true, "no_changes": true, "pull_request_missing": true, "base_branch_missing": true, "repository_access": true,
	"push_conflict": true, "push_rejected": true, "no_report": true, "agent_silent": true, "agent_error": true,
	"image_pull": true, "config_error": true, "oom_killed": true, "deadline_exceeded": true, "deadline": true,
	"evicted": true, "preempted": true, "node_lost": true, "unschedulable": true, "quota_exceeded": true,
	"node_shutdown": true, "node_rejected": true, "not_started": true, "sidecar_failed": true, "namespace_stuck": true,
	"services_invalid": true, "services_unreadable": true, "service_taken": true, "isolation_broken": true, "gateway_unreachable": true,
	"precondition": true, "job_deleted": true, "kubernetes_refused": true, "engine": true, "pull_request": true, "assignment": true,
	"aborted": true, "issue_closed": true, "issue_deleted": true, "issue_transferred": true, "pull_request_closed": true, "pull_request_merged": true,
}

func reasonLabel(reason string) string {
	if reasons[reason] {
		return reason
	}
	return "other"
}
