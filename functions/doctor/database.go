package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/migrations"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

const askPostgres = "look whether Postgres answers, and at the Secret codexk8s-database"

// Bounds beyond which something is a fault.
const (
	tickMissed  = 12 * time.Minute // it comes every five (eventing/timekeeper.yaml)
	receiptLate = 20 * time.Minute // the broker's retries take seconds, timekeeper's first two sends two ticks
	admitLate   = 2 * time.Minute  // admission takes one event
	silence     = 5 * time.Minute  // an agent sends a heartbeat every 15 seconds
	sealLate    = 20 * time.Minute // timekeeper seals on each tick the rows that no open transaction can precede
)

// checkDatabase asks Postgres. Without an answer to the first question there are no others.
func (h *handler) checkDatabase(ctx context.Context) []check {
	version, err := h.db.SchemaVersion(ctx)
	if err != nil {
		return []check{failed("database", askPostgres, err)}
	}
	schema := check{Name: "schema", Saw: fmt.Sprintf("version %d", version)}
	switch want := migrations.Latest(); {
	case version < want:
		schema.fault("kubectl -n codexk8s logs job/migrate says why; make deploy runs it again", "this release needs version %d", want)
		return []check{schema}
	case version > want:
		// Migrations work with the release before them.
		schema.Saw += fmt.Sprintf(", newer than this release's %d", want)
	}
	seen, err := h.db.Seen(ctx)
	if err != nil {
		return []check{schema, failed("database", askPostgres, err)}
	}
	return []check{
		schema, tick(seen), webhooks(seen),
		h.checkProjects(ctx), h.checkQueues(ctx, seen.Now), h.checkHeld(ctx, seen.Now), h.checkBudgets(ctx), h.checkStandstills(ctx, seen.Now), h.checkSilent(ctx, seen.Now), h.checkRequests(ctx, seen.Now), h.checkBacklogs(ctx, seen.Now), h.checkDeadLetters(ctx),
		h.checkGitHub(ctx, seen.Now), h.checkModels(ctx, seen.Now), checkPrices(seen.Now), h.checkAudit(ctx, seen.Now),
	}
}

func tick(s store.Seen) check {
	c := check{Name: "last tick", Saw: ago(s.Tick, s.Now), Data: s}
	if s.Now.Sub(s.Tick) > tickMissed {
		c.fault("look at the PingSource, the Broker and timekeeper above, and at timekeeper's log", "nothing that is due is sent, no loss is found")
	}
	return c
}

// webhooks is no fault: a quiet repository has none.
func webhooks(s store.Seen) check { return check{Name: "last webhook", Saw: ago(s.Delivery, s.Now)} }

func (h *handler) checkProjects(ctx context.Context) check {
	projects, repositories, err := h.db.Bound(ctx)
	if err != nil {
		return failed("projects", askPostgres, err)
	}
	c := check{Name: "projects", Saw: fmt.Sprintf("%d with %d %s", projects, repositories, map[bool]string{true: "repository", false: "repositories"}[repositories == 1])}
	if repositories == 0 {
		c.fault("write projects.yaml, kubectl -n codexk8s create configmap codexk8s-projects --from-file=projects.yaml, make deploy",
			"no repository belongs to a project, so no label starts anything")
	}
	return c
}

func (h *handler) checkQueues(ctx context.Context, now time.Time) check {
	queues, err := h.db.Queues(ctx)
	if err != nil {
		return failed("runs", askPostgres, err)
	}
	c := check{Name: "runs", Saw: "none active", Data: queues}
	var lines []string
	for _, q := range queues {
		var states []string
		for _, state := range slices.Sorted(maps.Keys(q.States)) {
			states = append(states, fmt.Sprintf("%d %s", q.States[state], state))
		}
		lines = append(lines, fmt.Sprintf("%s: %s, limit %d", q.Project, strings.Join(states, " "), q.Limit))
		waiting, busy := q.States[stage.Queued]+q.States[stage.Requested], q.States[stage.Starting]+q.States[stage.Running]
		if busy == 0 && waiting > 0 && now.Sub(q.Since) > admitLate {
			c.fault("look at stage-router's log, and at its overdue events below",
				"%s: %d %s for a place though none is taken, the oldest since %s", q.Project, waiting, plural(waiting, "run"), short(now.Sub(q.Since)))
		}
	}
	if len(lines) > 0 {
		c.Saw = strings.Join(lines, "; ")
	}
	return c
}

// checkHeld is no fault: people decide when to let it go.
func (h *handler) checkHeld(ctx context.Context, now time.Time) check {
	held, err := h.db.HeldBack(ctx)
	if err != nil {
		return failed("held back", askPostgres, err)
	}
	c := check{Name: "held back", Saw: "nothing", Data: held}
	var lines []string
	for _, r := range held {
		lines = append(lines, fmt.Sprintf("%s: %d %s since %s, the first is #%d", r.Repository, r.Issues, plural(r.Issues, "issue"), ago(r.Since, now), r.First))
	}
	if len(lines) > 0 {
		c.Saw = strings.Join(lines, "; ") + "; whoever may start runs lets it go by taking the process's labels.held off"
	}
	return c
}

func (h *handler) checkSilent(ctx context.Context, now time.Time) check {
	silent, err := h.db.SilentRuns(ctx, silence)
	if err != nil {
		return failed("heartbeats", askPostgres, err)
	}
	c := check{Name: "heartbeats", Saw: fmt.Sprintf("%d silent %s", len(silent), plural(len(silent), "run"))}
	for _, s := range silent {
		c.fault("kubectl get pods -A -l codexk8s.dev/run=RUN shows its pod; run:abort on the issue stops it. The platform ends it by itself if it stays silent",
			"run %s of %s#%d was heard of %s", s.ID, s.Repository, s.Issue, ago(s.Heard, now))
	}
	return c
}

// checkRequests looks at what people are asked. That they take their time is no fault.
func (h *handler) checkRequests(ctx context.Context, now time.Time) check {
	n, since, err := h.db.Waiting(ctx)
	if err != nil {
		return failed("requests", askPostgres, err)
	}
	unshown, err := h.db.Unshown(ctx)
	if err != nil {
		return failed("requests", askPostgres, err)
	}
	c := check{Name: "requests", Saw: "none open", Data: unshown}
	if n > 0 {
		c.Saw = fmt.Sprintf("%d open, the oldest since %s", n, short(now.Sub(since)))
	}
	for _, r := range unshown {
		c.fault("the reason's row under Troubleshooting in config/observability/README.md; until then people can answer on the issue",
			"request %s of %s is shown nowhere (%s)", r.ID, r.WorkItem, r.Why)
	}
	return c
}

func (h *handler) checkBacklogs(ctx context.Context, now time.Time) check {
	backlogs, err := h.db.Backlogs(ctx)
	if err != nil {
		return failed("receipts", askPostgres, err)
	}
	c := check{Name: "receipts", Data: backlogs}
	planned, overdue := 0, 0
	for _, b := range backlogs {
		planned, overdue = planned+b.Planned, overdue+b.Overdue
		if b.Unsent > 0 {
			c.fault("nobody sends what is due: look at the last tick, and at timekeeper's log", "%s: %d %s due and not sent", b.Function, b.Unsent, plural(b.Unsent, "event"))
		}
		if b.Overdue > 0 && now.Sub(b.Since) > receiptLate {
			c.fault("look at that function's log and at its Trigger; the events are sent again by themselves, for half a day",
				"%s: %d %s without receipt, the oldest since %s", b.Function, b.Overdue, plural(b.Overdue, "event"), short(now.Sub(b.Since)))
		}
	}
	c.Saw = fmt.Sprintf("%d overdue, %d planned or under way", overdue, planned)
	return c
}

func (h *handler) checkDeadLetters(ctx context.Context) check {
	open, err := h.db.OpenDeadLetters(ctx)
	if err != nil {
		return failed("dead letters", askPostgres, err)
	}
	c := check{Name: "dead letters", Data: open}
	total := 0
	for _, function := range slices.Sorted(maps.Keys(open)) {
		total += open[function]
		c.fault("make dead-letters says why each was refused; when the cause is gone, make replay", "%s: %d", function, open[function])
	}
	c.Saw = fmt.Sprintf("%d", total)
	return c
}

// checkGitHub is no fault: a pause ends by itself.
func (h *handler) checkGitHub(ctx context.Context, now time.Time) check {
	pauses, err := h.db.Pauses(ctx)
	if err != nil {
		return failed("GitHub's limit", askPostgres, err)
	}
	c := check{Name: "GitHub's limit", Saw: "not met"}
	for i, p := range pauses {
		if i == 0 {
			c.Saw, c.Data = "", pauses
		}
		c.Saw = strings.TrimPrefix(c.Saw+fmt.Sprintf("; %s pauses for %s", p.Credential, short(p.Until.Sub(now))), "; ")
	}
	return c
}

func (h *handler) checkAudit(ctx context.Context, now time.Time) check {
	const restore = "somebody changed the audit past its guard: compare with a backup, and find out who has the database's password"
	last, err := h.db.VerifyAudit(ctx)
	c := check{Name: "audit", Saw: fmt.Sprintf("%d rows sealed and verified", last.Rows)}
	if last.Batch > 0 {
		c.Saw += fmt.Sprintf(" up to seal %d (%x)", last.Batch, last.Hash)
	}
	if errors.Is(err, store.ErrAuditChanged) {
		c.fault(restore, "%v", err)
	} else if err != nil {
		return failed("audit", askPostgres, err)
	}
	open, err := h.db.UnsealedAudit(ctx)
	if err != nil {
		return failed("audit", askPostgres, err)
	}
	c.Data = open
	c.Saw += fmt.Sprintf(", %d not sealed yet", open.Rows)
	if open.Rows > 0 && now.Sub(open.Since) > sealLate {
		c.fault("timekeeper seals on each tick: look at the last tick and at timekeeper's log; a transaction that stays open holds it up (pg_stat_activity)",
			"the oldest row that is not sealed is of %s", ago(open.Since, now))
	}
	return c
}
