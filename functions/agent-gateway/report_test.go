package main

import (
	"errors"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/events"
)

func TestTheFirstReportCountsAndIsAnEvent(t *testing.T) {
	f := setup(t)
	a := f.agent()
	first := &agentapi.ReportRequest{
		Outcome: "succeeded", Summary: "Done.", Branch: "codexk8s/issue-12", HeadSha: "abc", PullRequest: 34,
		PullRequestUrl: "https://github.com/Acme/Shop/pull/34", ThreadId: "t1", ChangedFiles: []string{"a.go"},
	}
	f.sendErr = errors.New("no broker")
	for i, req := range []*agentapi.ReportRequest{first, first, {Outcome: "failed", Reason: "late"}} {
		if i == 1 {
			f.sendErr = nil
		}
		if i == 2 {
			f.exec(`UPDATE runs SET state = 'succeeded', finished_at = now()`)
		}
		res, err := a.Report(t.Context(), req)
		if err != nil || res.GetOutcome() != "succeeded" || res.GetReason() != "" {
			t.Errorf("report %d: %v %v", i, res, err)
		}
	}
	want := events.AgentReported{
		RunRef: events.RunRef{RunID: runID, Project: "shop", Repository: "Acme/Shop", Issue: 12}, Outcome: "succeeded", Summary: "Done.",
		Branch: "codexk8s/issue-12", HeadSHA: "abc", PullRequest: 34, PullRequestURL: "https://github.com/Acme/Shop/pull/34", ThreadID: "t1", ChangedFiles: []string{"a.go"},
	}
	if len(f.sent) != 1 {
		t.Fatalf("%d events were sent, want the one that failed to be sent at first", len(f.sent))
	}
	got, err := events.Decode[events.AgentReported](f.sent[0])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	var stored, owed, audited int
	if err := f.sql.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM pending WHERE function = 'stage-router'), (SELECT count(*) FROM audit)
	`).Scan(&stored, &owed, &audited); err != nil {
		t.Fatal(err)
	}
	if stored != 1 || owed != 1 || audited != 1 {
		t.Errorf("%d events, %d receipts owed, %d audit rows; want one each", stored, owed, audited)
	}
	if _, err := a.Report(t.Context(), &agentapi.ReportRequest{Outcome: "maybe"}); err != nil {
		t.Errorf("a later report is answered with the first: %v", err)
	}
}

func TestABadOutcomeIsRefused(t *testing.T) {
	f := setup(t)
	_, err := f.agent(connect.WithProtoJSON()).Report(t.Context(), &agentapi.ReportRequest{Outcome: "maybe"})
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("%v", err)
	}
}
