package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/cloudevents/sdk-go/v2/event"
	gh "github.com/google/go-github/v66/github"
	"google.golang.org/protobuf/types/known/timestamppb"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/runauth"
	"codexk8s.dev/shared/scope"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/tool"
)

// Bounds of what an agent may send.
const (
	maxMessage  = 20 << 20 // a snapshot and its frame
	maxSnapshot = 16 << 20
	maxLarge    = 3        // messages of that size at a time, each of another run
	maxLines    = 1000     // in one call
	maxLine     = 16 << 10 // bytes; longer ones are cut
	maxSummary  = 64 << 10 // bytes
	maxFiles    = 3000     // changed files kept of a report
)

// handler is the Session API. Every method runs after authenticate.
type handler struct {
	db        *store.DB
	gate      *runauth.Gate
	process   *stage.Process
	githubURL string
	token     func(ctx context.Context, repository string, id int64, permissions *gh.InstallationPermissions) (github.Token, error)
	send      func(context.Context, ...event.Event) error
	patience  time.Duration // for what comes of a tool call
	house     house
}

func (h *handler) routes(s *serve.Server) {
	path, session := agentapi.NewSessionServiceHandler(h,
		connect.WithInterceptors(connect.UnaryInterceptorFunc(h.authenticate)), connect.WithReadMaxBytes(maxMessage),
		connect.WithCompression("gzip", nil, nil)) // a few bytes may become maxMessage of them
	s.Handle(path, h.admit(session, serve.NewBodies(maxLarge)))
	s.Handle("/mcp", h.tools())
}

// GetAssignment puts the run into the agent's terms.
func (h *handler) GetAssignment(ctx context.Context, _ *agentapi.GetAssignmentRequest) (*agentapi.Assignment, error) {
	run := runOf(ctx)
	if err := needActive(run); err != nil {
		return nil, err
	}
	if err := h.claim(ctx, run); err != nil {
		return nil, err
	}
	a := &agentapi.Assignment{
		RunId: run.ID, Project: run.Project, Repository: run.Repository, CloneUrl: run.CloneURL, GithubApiUrl: h.githubURL,
		BaseBranch: run.BaseBranch, BaseCommit: run.BaseCommit, Branch: run.Branch,
		IssueNumber: int32(run.Issue), IssueTitle: run.Title, IssueBody: run.Body, IssueUrl: run.URL,
		Stage: run.Stage, Kind: string(run.Kind), Revise: run.Kind == events.KindRevise, Role: run.Role, Engine: run.Engine, Model: run.Model, Reasoning: run.Reasoning,
		WriteScope: h.writeScope(run), PullRequest: int32(run.PullRequest), Review: reviewOf(run.Review), Instructions: run.Instructions, HostedTools: run.HostedTools, HiddenText: run.HiddenText,
	}
	for _, asked := range run.Asks {
		if asked.Answer != nil && !budget.IsAsk(asked.Action) { // money is none of the agent's business
			outcome, said := asked.Outcome()
			a.Decided = append(a.Decided, &agentapi.Decided{
				RequestId: asked.ID, Kind: string(asked.Kind), Asked: asked.Title, Arguments: string(asked.Arguments),
				Outcome: outcome, By: asked.Answer.By, Answer: said,
			})
		}
	}
	if err := h.brief(ctx, run, a); err != nil {
		return nil, err
	}
	if !run.Deadline.IsZero() {
		a.Deadline = timestamppb.New(run.Deadline)
	}
	return a, nil
}

// writeScope is what the run's pull request may change: as of its request, and for a run of the release before what its
// stage may change now. If the process no longer knows that stage it may change nothing, since nobody can say what it
// was.
func (h *handler) writeScope(run store.AgentRun) []string {
	if run.Grant != nil {
		return run.Grant.Write
	}
	for _, s := range h.process.Stages {
		if s.Name == run.Stage {
			return h.process.WritesOf(s, run.Issue)
		}
	}
	return []string{scope.Nothing}
}

// reviewOf is what a revise answers. The remarks on lines of the diff are for the agent to read: a review may have
// many.
func reviewOf(r *stage.Review) *agentapi.Review {
	if r == nil {
		return nil
	}
	review := &agentapi.Review{Id: r.ID, Author: r.Author, Body: r.Body}
	if !r.Before.IsZero() {
		review.Before = timestamppb.New(r.Before)
	}
	return review
}

// commit is the name of one.
var commit = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// Heartbeat notes that the agent lives and what it began upon, and tells it to stop when its run is over or waits for
// somebody: a waiting run holds no pod.
func (h *handler) Heartbeat(ctx context.Context, req *agentapi.HeartbeatRequest) (*agentapi.HeartbeatResponse, error) {
	run := runOf(ctx)
	if runauth.AtWork(run) == nil {
		if err := errors.Join(h.db.Heartbeat(ctx, run.ID), h.claim(ctx, run), h.keepPrompt(ctx, run, req.GetPrompt())); err != nil {
			return nil, err
		}
		if run.BaseCommit == "" && commit.MatchString(req.GetBaseCommit()) {
			if _, err := h.db.KeepBase(ctx, run.ID, req.GetBaseCommit(), true); err != nil {
				return nil, err
			}
		}
		return &agentapi.HeartbeatResponse{}, nil
	}
	return &agentapi.HeartbeatResponse{Stop: true, Reason: strings.TrimSuffix(run.State+": "+run.Reason, ": ")}, nil
}

// AppendLogs stores numbered lines.
func (h *handler) AppendLogs(ctx context.Context, req *agentapi.AppendLogsRequest) (*agentapi.AppendLogsResponse, error) {
	run := runOf(ctx)
	if len(req.GetLines()) > maxLines {
		return nil, invalid("%d lines in one call, send at most %d", len(req.GetLines()), maxLines)
	}
	if len(req.GetLines()) > 0 && (req.GetFirstSeq() < 1 || req.GetFirstSeq() > math.MaxInt64-maxLines) {
		return nil, invalid("first_seq is %d, lines count from 1", req.GetFirstSeq())
	}
	lines := make([]store.LogLine, 0, len(req.GetLines()))
	for i, l := range req.GetLines() {
		if l.GetStream() != "agent" && l.GetStream() != "runner" {
			return nil, invalid("stream %q is neither agent nor runner", l.GetStream())
		}
		at := h.db.Now()
		if l.GetAt().IsValid() {
			at = l.GetAt().AsTime()
		}
		lines = append(lines, store.LogLine{Seq: req.GetFirstSeq() + int64(i), At: at, Stream: l.GetStream(), Text: plain.Cut(l.GetText(), maxLine)})
	}
	next, err := h.db.AppendLogs(ctx, run.ID, lines)
	if err != nil {
		return nil, err
	}
	return &agentapi.AppendLogsResponse{NextSeq: next}, nil
}

// ReportProgress replaces the run's one line of progress.
func (h *handler) ReportProgress(ctx context.Context, req *agentapi.ReportProgressRequest) (*agentapi.ReportProgressResponse, error) {
	run := runOf(ctx)
	if err := needActive(run); err != nil {
		return nil, err
	}
	if n := utf8.RuneCountInString(req.GetText()); n > tool.MaxProgress {
		return nil, invalid("progress has %d characters, at most %d are shown", n, tool.MaxProgress)
	}
	return &agentapi.ReportProgressResponse{}, h.db.SetProgress(ctx, run.ID, plain.Cut(req.GetText(), maxLine))
}

// LoadSnapshot gives the newest session of the work item and engine.
func (h *handler) LoadSnapshot(ctx context.Context, _ *agentapi.LoadSnapshotRequest) (*agentapi.LoadSnapshotResponse, error) {
	run := runOf(ctx)
	if err := needActive(run); err != nil {
		return nil, err
	}
	s, err := h.db.LoadSession(ctx, run)
	if err != nil {
		return nil, err
	}
	return &agentapi.LoadSnapshotResponse{Version: s.Version, ThreadId: s.ThreadID, Sha256: s.SHA256, Data: s.Data, RunId: s.RunID}, nil
}

// SaveSnapshot replaces the session if the agent has seen the newest one.
func (h *handler) SaveSnapshot(ctx context.Context, req *agentapi.SaveSnapshotRequest) (*agentapi.SaveSnapshotResponse, error) {
	run := runOf(ctx)
	if len(req.GetData()) > maxSnapshot {
		return nil, invalid("the snapshot has %d bytes, at most %d are kept", len(req.GetData()), maxSnapshot)
	}
	if sum := sha256.Sum256(req.GetData()); !bytes.Equal(sum[:], req.GetSha256()) {
		return nil, invalid("sha256 is not that of data; the snapshot was damaged on its way")
	}
	version, err := h.db.SaveSession(ctx, run, req.GetExpectedVersion(), store.Session{
		ThreadID: plain.Cut(req.GetThreadId(), 200), SHA256: req.GetSha256(), Data: req.GetData(),
	})
	if errors.Is(err, store.ErrConflict) {
		return nil, connect.NewError(connect.CodeAborted, err)
	}
	if err != nil {
		return nil, err
	}
	return &agentapi.SaveSnapshotResponse{Version: version}, nil
}

// tokenLife is what we say of a plain token, which GitHub does not limit: ask again within the hour, as with an App's.
const tokenLife = time.Hour

// claim makes the run the calling pod's, if it is nobody's. That it is another's matters when the pod wants to write.
func (h *handler) claim(ctx context.Context, run store.AgentRun) error {
	if podOf(ctx) == nil {
		return nil
	}
	_, err := h.db.ClaimRun(ctx, run.ID, podOf(ctx))
	return err
}

// permissions are to read, for who has no more than the run token, and for a run that changes nothing; and to write,
// for the pod that has claimed the run. Runs that nobody has claimed have a runner of an earlier release, which knows
// of no claim.
func (h *handler) permissions(ctx context.Context, run store.AgentRun) (*gh.InstallationPermissions, error) {
	if !run.Kind.Writes() {
		return github.RunPermissions(run.Kind), nil
	}
	if podOf(ctx) == nil {
		claimed, err := h.db.RunClaimed(ctx, run.ID)
		if err != nil || !claimed {
			return github.AgentPermissions(), err
		}
		return github.ReadPermissions(), nil
	}
	mine, err := h.db.ClaimRun(ctx, run.ID, podOf(ctx))
	if err == nil && !mine {
		err = connect.NewError(connect.CodeUnavailable, fmt.Errorf("another pod of run %s was heard of a moment ago; try again", run.ID))
	}
	return github.AgentPermissions(), err
}

// GetGitCredential fetches a token for the run's one repository. "x-access-token" is the user name that GitHub
// documents for installation tokens; with other tokens any name will do.
func (h *handler) GetGitCredential(ctx context.Context, _ *agentapi.GetGitCredentialRequest) (*agentapi.GetGitCredentialResponse, error) {
	run := runOf(ctx)
	if err := needActive(run); err != nil {
		return nil, err
	}
	permissions, err := h.permissions(ctx, run)
	if err != nil {
		return nil, err
	}
	token, err := h.token(ctx, run.Repository, run.RepositoryID, permissions)
	var refused *github.Refused
	if run.Kind == events.KindReview && errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity {
		// GitHub gives no token at all for more than the App has, and it needs no checks for anything else.
		token, err = h.token(ctx, run.Repository, run.RepositoryID, github.ReadPermissions())
	}
	switch {
	case errors.As(err, &refused):
		return nil, connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("GitHub gives no token for %s: %w; install the platform's App on it", run.Repository, refused))
	case err != nil:
		return nil, err
	}
	expires := token.Expires
	if expires.IsZero() {
		expires = h.db.Now().Add(tokenLife)
	}
	return &agentapi.GetGitCredentialResponse{Username: "x-access-token", Password: token.Value, ExpiresAt: timestamppb.New(expires)}, nil
}

// Report stores the run's result and tells the platform. Who reports again, for whatever the run's state is by then,
// hears the first result.
func (h *handler) Report(ctx context.Context, req *agentapi.ReportRequest) (*agentapi.ReportResponse, error) {
	run := runOf(ctx)
	if err := needActive(run); err != nil {
		first, reportErr := h.db.Report(ctx, run.ID)
		switch {
		case errors.Is(reportErr, store.ErrNotFound):
			return nil, err
		case reportErr != nil:
			return nil, reportErr
		}
		return &agentapi.ReportResponse{Outcome: first.Outcome, Reason: first.Reason}, nil
	}
	if req.GetOutcome() != "succeeded" && req.GetOutcome() != "failed" {
		return nil, invalid("outcome %q is neither succeeded nor failed", req.GetOutcome())
	}
	files := make([]string, 0, min(len(req.GetChangedFiles()), maxFiles))
	for _, f := range req.GetChangedFiles()[:cap(files)] {
		files = append(files, plain.Cut(f, 4096))
	}
	first, emitted, err := h.db.SaveReport(ctx, events.AgentReported{
		RunRef: run.Ref(), Attempt: run.Attempt, Outcome: req.GetOutcome(), Reason: plain.Cut(req.GetReason(), 100), Summary: plain.Cut(req.GetSummary(), maxSummary),
		Branch: plain.Cut(req.GetBranch(), 250), HeadSHA: plain.Cut(req.GetHeadSha(), 64), PullRequest: int(req.GetPullRequest()),
		PullRequestURL: plain.Cut(req.GetPullRequestUrl(), 500), ThreadID: plain.Cut(req.GetThreadId(), 200), ChangedFiles: files, Incomplete: req.GetIncomplete(),
	})
	if err != nil {
		return nil, err
	}
	if err := h.send(ctx, emitted...); err != nil {
		slog.WarnContext(ctx, "the report is stored but not sent; timekeeper sends it", "run", run.ID, "error", err)
	}
	return &agentapi.ReportResponse{Outcome: first.Outcome, Reason: first.Reason}, nil
}

func invalid(format string, args ...any) error {
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf(format, args...))
}
