package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
)

// An AgentRun is a run as its agent sees it: what to do, in the words that were asked for.
type AgentRun struct {
	ID           string `db:"id"` // UUID
	State        string
	Reason       string
	Namespace    string
	Project      string `db:"project_id"`
	Key          string `db:"repository"` // of the repository, see Repository
	Repository   string `db:"full_name"`  // "owner/name" as GitHub spells it now
	RepositoryID int64  `db:"github_id"`  // GitHub's number; 0 = not known
	Issue        int
	Title        string
	Body         string
	URL          string
	CloneURL     string
	BaseBranch   string
	PullRequest  int // 0 = none known
	Stage        string
	Revise       bool
	Role         string
	Engine       string
	Model        string
	Reasoning    string
	Deadline     time.Time // zero = none
	Review       []byte    // JSON of what a revise answers; nil = none
	// Instructions are the project's own rules for agents, from its settings.
	Instructions string
	// HostedTools are those that the project lets OpenAI run, by type.
	HostedTools []string
}

// Ref names the run in events.
func (r AgentRun) Ref() events.RunRef {
	return events.RunRef{RunID: r.ID, Project: r.Project, Repository: r.Repository, RepositoryID: r.RepositoryID, Issue: r.Issue}
}

// AgentRun reads a run for its agent; ErrNotFound when there is none, or id is no UUID.
func (db *DB) AgentRun(ctx context.Context, id string) (AgentRun, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT r.id::text AS id, r.state, r.reason, r.namespace, r.project_id, r.repository, r.issue,
		       coalesce(b.name, w.full_name) AS full_name, coalesce(b.github_id, 0) AS github_id, coalesce(b.clone_url, w.clone_url) AS clone_url,
		       coalesce(r.task ->> 'title', w.title) AS title, coalesce(r.task ->> 'body', w.body) AS body,
		       w.url, w.base_branch, w.pull_request,
		       r.stage, r.revise, r.role, r.engine, r.model, r.reasoning,
		       coalesce(r.deadline, '0001-01-01Z'::timestamptz) AS deadline, convert_to(r.review::text, 'UTF8') AS review,
		       coalesce(p.settings ->> 'instructions', '') AS instructions,
		       ARRAY(SELECT jsonb_array_elements_text(coalesce(p.settings -> 'hostedTools', '[]'))) AS hosted_tools
		FROM runs r
		JOIN work_items w USING (repository, issue)
		JOIN projects p ON p.id = r.project_id
		LEFT JOIN repositories b ON b.full_name = r.repository
		WHERE r.id::text = $1
	`, strings.ToLower(id))
	if err != nil {
		return AgentRun{}, fmt.Errorf("reading run %s: %w", id, err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[AgentRun])
	if errors.Is(err, pgx.ErrNoRows) {
		return AgentRun{}, fmt.Errorf("run %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return AgentRun{}, fmt.Errorf("reading run %s: %w", id, err)
	}
	r.Deadline = r.Deadline.UTC()
	return r, nil
}

// Heartbeat notes that the run's agent lives.
func (db *DB) Heartbeat(ctx context.Context, runID string) error {
	_, err := db.pool.Exec(ctx, `
		UPDATE runs
		SET heartbeat_at = $2
		WHERE id = $1
	`, runID, db.Now())
	if err != nil {
		return fmt.Errorf("noting the heartbeat of run %s: %w", runID, err)
	}
	return nil
}

// podSilence is how long a pod that has claimed its run must not have been heard of before another one may claim it:
// three heartbeats.
const podSilence = 45 * time.Second

// ClaimRun makes the pod with that secret's hash the run's own, or notes that it lives when it is. It reports false while
// the run is another pod's.
func (db *DB) ClaimRun(ctx context.Context, runID string, pod []byte) (bool, error) {
	now := db.Now()
	tag, err := db.pool.Exec(ctx, `
		UPDATE runs
		SET pod = $2, pod_seen_at = $3
		WHERE id = $1 AND (pod IS NULL OR pod = $2 OR pod_seen_at < $4)
	`, runID, pod, now, now.Add(-podSilence))
	if err != nil {
		return false, fmt.Errorf("claiming run %s for a pod: %w", runID, err)
	}
	return tag.RowsAffected() > 0, nil
}

// RunClaimed says whether a pod has ever claimed the run.
func (db *DB) RunClaimed(ctx context.Context, runID string) (claimed bool, err error) {
	err = db.pool.QueryRow(ctx, `
		SELECT pod IS NOT NULL
		FROM runs
		WHERE id = $1
	`, runID).Scan(&claimed)
	if err != nil {
		return false, fmt.Errorf("reading whose pod run %s is: %w", runID, err)
	}
	return claimed, nil
}

// SetProgress replaces the one line that people see while the run goes on.
func (db *DB) SetProgress(ctx context.Context, runID, text string) error {
	_, err := db.pool.Exec(ctx, `
		UPDATE runs
		SET progress = $2, heartbeat_at = $3
		WHERE id = $1
	`, runID, text, db.Now())
	if err != nil {
		return fmt.Errorf("noting the progress of run %s: %w", runID, err)
	}
	return nil
}

// A Session is the agent's conversation about one work item with one engine.
type Session struct {
	Version  int64 // 0 = there is none
	ThreadID string
	SHA256   []byte // of Data
	Data     []byte
	RunID    string // the run that saved it
}

// ErrConflict says that somebody else was faster: what was to be replaced is not what is stored.
var ErrConflict = errors.New("it was changed meanwhile")

// LoadSession reads the newest session of the run's work item and engine, of whichever run; a zero Session when there is none.
func (db *DB) LoadSession(ctx context.Context, run AgentRun) (Session, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT version, thread_id, sha256, data, run_id::text AS run_id
		FROM sessions
		WHERE repository = $1 AND issue = $2 AND engine = $3
	`, run.Key, run.Issue, run.Engine)
	if err != nil {
		return Session{}, fmt.Errorf("loading the session: %w", err)
	}
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Session])
	if errors.Is(err, pgx.ErrNoRows) {
		return Session{}, nil
	}
	if err != nil {
		return Session{}, fmt.Errorf("loading the session: %w", err)
	}
	return s, nil
}

// SaveSession replaces the session if its version is still expected (0 = there is none yet), and returns the new version. It is
// ErrConflict otherwise, unless what is stored is exactly this save: then an earlier answer was lost.
func (db *DB) SaveSession(ctx context.Context, run AgentRun, expected int64, s Session) (int64, error) {
	var version int64
	err := db.pool.QueryRow(ctx, `
		INSERT INTO sessions AS s (repository, issue, engine, version, thread_id, sha256, data, run_id, saved_at)
		SELECT $1, $2, $3, $4::bigint + 1, $5, $6, $7, $8, $9
		WHERE $4::bigint = 0 OR EXISTS (SELECT 1 FROM sessions WHERE repository = $1 AND issue = $2 AND engine = $3)
		ON CONFLICT (repository, issue, engine) DO UPDATE
		SET version = s.version + 1, thread_id = excluded.thread_id, sha256 = excluded.sha256,
		    data = excluded.data, run_id = excluded.run_id, saved_at = excluded.saved_at
		WHERE s.version = $4
		RETURNING version
	`, run.Key, run.Issue, run.Engine, expected, s.ThreadID, s.SHA256, s.Data, run.ID, db.Now()).Scan(&version)
	if err == nil {
		return version, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("saving the session: %w", err)
	}
	stored, err := db.LoadSession(ctx, run)
	if err != nil {
		return 0, err
	}
	if stored.Version == expected+1 && stored.RunID == run.ID && bytes.Equal(stored.SHA256, s.SHA256) {
		return stored.Version, nil
	}
	return 0, fmt.Errorf("saving the session: version %d is stored, not %d: %w", stored.Version, expected, ErrConflict)
}

// SaveReport stores the agent's final word, unless it has spoken, and its event agent.reported in the same transaction. It returns the
// report that counts, which is the first one, and the events to send.
func (db *DB) SaveReport(ctx context.Context, report events.AgentReported) (events.AgentReported, []event.Event, error) {
	first := report
	cause := event.New(event.CloudEventsVersionV1)
	cause.SetSource(events.Source(db.function) + "/report")
	cause.SetID(report.RunID) // one report per run, so one event per run
	emitted, err := db.Emit(ctx, cause, report.Correlation(), func(ctx context.Context, tx *Tx) (events.Decision, error) {
		data, err := json.Marshal(report)
		if err != nil {
			return events.Decision{}, fmt.Errorf("encoding the report: %w", err)
		}
		inserted, err := tx.Exec(ctx, `
			INSERT INTO run_reports (run_id, report, reported_at)
			VALUES ($1, $2, $3)
			ON CONFLICT DO NOTHING
		`, report.RunID, data, tx.now)
		if err != nil {
			return events.Decision{}, fmt.Errorf("storing the report of run %s: %w", report.RunID, err)
		}
		if inserted.RowsAffected() == 0 {
			if first, err = storedReport(ctx, tx, report.RunID); err != nil {
				return events.Decision{}, err
			}
			return events.Decision{Emit: []events.Draft{events.Now(first)}}, nil
		}
		said := events.Record{Actor: "agent:" + report.RunID, Action: "agent.reported", Run: report.RunID, Reason: report.Reason, Detail: report.Outcome}
		return events.Decision{Emit: []events.Draft{events.Now(first)}, Audit: []events.Record{said}}, nil
	})
	return first, emitted, err
}

// Report reads the agent's final word; ErrNotFound when it has not spoken.
func (db *DB) Report(ctx context.Context, runID string) (events.AgentReported, error) {
	return storedReport(ctx, db.pool, runID)
}

// rowQuerier is what pool and transaction have in common here.
type rowQuerier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func storedReport(ctx context.Context, q rowQuerier, runID string) (events.AgentReported, error) {
	var r events.AgentReported
	err := q.QueryRow(ctx, `
		SELECT report
		FROM run_reports
		WHERE run_id = $1
	`, runID).Scan(&r)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("report of run %s: %w", runID, ErrNotFound)
	}
	if err != nil {
		return r, fmt.Errorf("reading the report of run %s: %w", runID, err)
	}
	return r, nil
}
