package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
)

// ErrChanged says that somebody else changed a run, or whom a name means, between load and save; the transaction rolls
// back and the event is delivered again.
var ErrChanged = errors.New("it was changed meanwhile by somebody else")

// A Home is where a work item is kept.
type Home struct {
	Repository Repository
	Issue      int      // 0 = a pull request that belongs to none
	seen       Sighting // what the event said of the repository
}

// Key names the work item, and so its lock.
func (h Home) Key() string { return events.WorkItem(h.Repository.Key, h.Issue) }

// Names are those under which events of the item's issue and its pull requests came.
func (h Home) Names(item stage.Item) (all []string) {
	numbers := []int{item.Issue}
	for _, p := range item.Pulls {
		numbers = append(numbers, p.Number)
	}
	for _, repository := range []string{h.Repository.Key, h.Repository.Name} {
		for _, number := range numbers {
			if name := events.WorkItem(repository, number); number > 0 && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// Home finds the work item that an event is about: its run's, whatever the event calls the repository; else by the
// repository's number or name, and for a pull request by its number if its branch does not say. A run that does not
// exist has the home that it names.
func (db *DB) Home(ctx context.Context, about stage.Subject) (Home, error) {
	if about.Run != "" {
		r, err := db.RepositoryOfRun(ctx, about.Run)
		if errors.Is(err, ErrNotFound) {
			r, err = Repository{Key: strings.ToLower(about.Repository), Name: about.Repository, Process: db.processes.own()}, nil
		}
		return Home{Repository: r, Issue: about.Issue}, err
	}
	r, err := db.Repository(ctx, about.RepositoryID, about.Repository)
	h := Home{Repository: r, Issue: about.Issue, seen: Sighting{ID: about.RepositoryID, Name: about.Repository, CloneURL: about.CloneURL, At: about.At}}
	if err != nil || h.Issue != 0 {
		return h, err
	}
	h.Issue, err = db.issueOfPull(ctx, r.Key, about.Pull)
	return h, err
}

// Item loads a work item with what a decision needs, after storing the names and numbers that the event gives; what is
// new about those is for the audit. Missing rows leave zero values: the item of a first event has only its key. The
// caller's Step has locked it.
func (tx *Tx) Item(ctx context.Context, h Home, needs stage.Needs) (item stage.Item, learnt []events.Record, err error) {
	if h.Repository, learnt, err = tx.SeeRepository(ctx, h.Repository, h.seen); err != nil {
		return item, nil, err
	}
	known, err := tx.SeeAccount(ctx, Account{ID: needs.Sender.ID, Login: needs.Sender.Login})
	if err != nil {
		return item, nil, err
	}
	learnt = append(learnt, known...)
	for _, r := range learnt {
		slog.InfoContext(ctx, r.Detail, "action", r.Action)
	}
	item, err = tx.known(ctx, h, needs, true)
	return item, learnt, err
}

// Known loads a work item as it is known, for whoever only looks.
func (tx *Tx) Known(ctx context.Context, h Home, needs stage.Needs) (stage.Item, error) {
	return tx.known(ctx, h, needs, false)
}

// known loads a work item; decides says that a decision on it follows.
func (tx *Tx) known(ctx context.Context, h Home, needs stage.Needs, decides bool) (stage.Item, error) {
	item := stage.Item{
		RepositoryKey: h.Repository.Key, RepositoryID: h.Repository.ID, Issue: h.Issue, Repository: h.Repository.Name, NameTaken: h.Repository.Taken,
		Process: h.Repository.Process,
	}
	var b pgx.Batch
	b.Queue(`
		SELECT title, body, url, base_branch, clone_url, labels, closed, github_updated_at,
		       person_at, acted_at, answered, note, version, approved, next, profile, need_input, talk, held
		FROM work_items
		WHERE repository = $1 AND issue = $2
	`, h.Repository.Key, h.Issue).QueryRow(func(row pgx.Row) error {
		return optional(row.Scan(&item.Title, &item.Body, &item.URL, &item.BaseBranch, &item.CloneURL,
			&item.Labels, &item.Closed, zero(&item.UpdatedAt),
			zero(&item.PersonAt), zero(&item.ActedAt), &item.Answered, &item.Note, &item.Version, &item.Approved, &item.Next, &item.Profile, &item.NeedInput, &item.Talk, &item.Held))
	})
	queuePulls(&b, &item)
	queueProject(&b, needs.Sender, &item)
	if needs.Intent != "" {
		b.Queue(`SELECT EXISTS (SELECT 1 FROM runs WHERE intent = $1)`, needs.Intent).QueryRow(func(row pgx.Row) error {
			return row.Scan(&item.IntentKnown)
		})
	}
	tx.queueRun(&b, needs.Run, &item)
	if needs.Report {
		b.Queue(`SELECT report FROM run_reports WHERE run_id = $1`, needs.Run).QueryRow(func(row pgx.Row) error {
			return optional(row.Scan(&item.Report))
		})
	}
	if needs.Artefacts {
		queueArtefacts(&b, &item)
	}
	if needs.Said {
		queueSaid(&b, &item)
	}
	if needs.Lately {
		tx.queueLately(&b, &item, decides)
	}
	if needs.Held {
		queueHeld(&b, &item)
	}
	if needs.Asked {
		queueAsked(&b, needs.Run, &item.Asked)
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return item, fmt.Errorf("loading %s: %w", item.Key(), err)
	}
	err := tx.worked(ctx, &item)
	item.Rest(needs)
	return item, err
}

// queueProject reads the repository's project with the sender's role in it: the account's, found by login only if
// neither side has GitHub's number.
func queueProject(b *pgx.Batch, sender stage.Person, item *stage.Item) {
	b.Queue(`
		SELECT p.id, p.settings,
		       coalesce((SELECT m.role
		                 FROM members m
		                 WHERE (m.github_id = $2 OR $2 = 0 AND m.login = $3 AND m.github_id IS NULL)
		                   AND m.project_id IN (p.id, '*')
		                 ORDER BY array_position($4, m.role)
		                 LIMIT 1), ''),
		       coalesce((SELECT m.github_id
		                 FROM members m
		                 WHERE m.login = $3 AND m.github_id <> $2 AND m.project_id IN (p.id, '*')
		                 LIMIT 1), 0)
		FROM repositories r
		JOIN projects p ON p.id = r.project_id
		WHERE r.full_name = $1
	`, item.RepositoryKey, sender.ID, strings.ToLower(sender.Login), access.Roles).QueryRow(func(row pgx.Row) error {
		var p stage.Project
		if err := row.Scan(&p.ID, &p.Settings, &p.SenderRole, &p.LoginTaken); err != nil {
			return optional(err)
		}
		item.Project = &p
		return nil
	})
}

// SaveItem writes back the work item that was loaded as before, with its run, the one that the decision has ended
// before it, and what its runs made. ErrChanged says that the run's state has changed meanwhile.
func (tx *Tx) SaveItem(ctx context.Context, i, before stage.Item) error {
	var b pgx.Batch
	was := before.Run
	repository, pull := i.RepositoryKey, pullOf(i, stage.Branch(i.Issue))
	b.Queue(`
		INSERT INTO work_items (repository, issue, full_name, title, body, url, base_branch, clone_url, labels, closed,
		                        pull_request, pull_request_url, head_sha, version, github_updated_at, pull, acted_at, answered, note, approved, person_at, next, profile, need_input, talk, held, held_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)
		ON CONFLICT (repository, issue) DO UPDATE
		SET full_name = excluded.full_name, title = excluded.title, body = excluded.body, url = excluded.url,
		    base_branch = excluded.base_branch, clone_url = excluded.clone_url,
		    labels = excluded.labels, closed = excluded.closed,
		    pull_request = excluded.pull_request, pull_request_url = excluded.pull_request_url,
		    head_sha = excluded.head_sha, version = excluded.version, github_updated_at = excluded.github_updated_at,
		    pull = excluded.pull, acted_at = excluded.acted_at, answered = excluded.answered, note = excluded.note,
		    approved = excluded.approved, person_at = excluded.person_at, next = excluded.next, profile = excluded.profile, need_input = excluded.need_input, talk = excluded.talk,
		    held = excluded.held, held_at = excluded.held_at
	`, repository, i.Issue, i.Repository, i.Title, i.Body, i.URL, i.BaseBranch, i.CloneURL, noNil(i.Labels), i.Closed,
		pull.Number, pull.URL, pull.HeadSHA, i.Version, orNull(i.UpdatedAt), pull, orNull(i.ActedAt), noNil(i.Answered), i.Note, i.Approved, orNull(i.PersonAt), i.Next, i.Profile, i.NeedInput, i.Talk, i.Held, orNull(heldAt(i.Held)))
	if r := i.Run; r != nil && (was == nil || was.ID != r.ID) {
		if i.Ended != nil { // before another one of the issue can be active
			queueRunUpdate(&b, i.Ended, was.State)
		}
		tx.queueProcess(&b, r.Process)
		b.Queue(`
			INSERT INTO runs (id, repository, issue, project_id, stage, kind, revise, role, state, engine, model, reasoning,
			                  requested_by, requested_by_id, intent, namespace, granted, task, review, talk, created_at, base, exit)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, nullif($14, 0), $15, $16, $17, $18, $19, $20, $21, $22, $23)
		`, r.ID, repository, i.Issue, r.Project, r.Stage, r.Kind, r.Kind == events.KindRevise, r.Role, r.State, r.Engine, r.Model, r.Reasoning,
			r.RequestedBy, r.RequesterID, r.Intent, r.Namespace, r.Grant, r.Task, r.Review, r.Talk, r.CreatedAt, r.Base, r.Exit)
	} else if r != nil {
		queueRunUpdate(&b, r, was.State)
	}
	if project := i.Project; project != nil && merged(i) > merged(before) {
		queueMerged(&b, project.ID, i.Key())
	}
	queueSeen(&b, i, before)
	queueMade(&b, i, before.Artefacts)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("saving %s: %w", i.Key(), err)
	}
	return nil
}

// queueRunUpdate writes back a run that was loaded in a state.
func queueRunUpdate(b *pgx.Batch, r *stage.Run, was stage.State) {
	b.Queue(`
		UPDATE runs
		SET state = $3, reason = $4, message = $5, namespace = $6, thread_id = $7, summary = $8,
		    started_at = $9, finished_at = $10, task = $12, waiting_for = $13, deadline = $14,
		    asks = $15, paused_at = $16, job_over = $17, resumed_at = $18, calls = $19, delivered = $20, base = $21, reopens = $22, work_ms = $23, not_before = $24, warned = $25, exit = $26,
		    attempt = $11, pod_seen_at = CASE WHEN attempt = $11 THEN pod_seen_at ELSE to_timestamp(0) END -- the next Job's pod may claim the run
		WHERE id = $1 AND state = $2
	`, r.ID, was, r.State, r.Reason, r.Message, r.Namespace, r.ThreadID, r.Summary, orNull(r.StartedAt), orNull(r.FinishedAt), r.Attempt, r.Task, r.WaitingFor, orNull(r.Deadline),
		noNil(r.Asks), orNull(r.PausedAt), r.JobOver, orNull(r.ResumedAt), noNil(r.Calls), r.Delivered, r.Base, r.Reopens, r.WorkMS, orNull(r.NotBefore), noNil(r.Warned), r.Exit).
		Exec(mustChange(r.ID))
}

// merged is how many of the item's pull requests are merged.
func merged(i stage.Item) (n int) {
	for _, p := range i.Pulls {
		if p.Merged {
			n++
		}
	}
	return n
}

func heldAt(h *stage.Held) (at time.Time) {
	if h != nil {
		at = h.At
	}
	return at
}
