package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// A manner is how a command is given.
type manner struct {
	key     string // makes it one, however often it is sent
	dry     bool   // nothing is done
	ifMatch string // only if this comes of it; "" = whatever does
	wait    time.Duration
}

// How long a caller waits for the outcome of a command.
const (
	usualWait = 2 * time.Second
	mostWait  = 10 * time.Second
)

func mannerOf(key string, dry bool, ifMatch, prefer string) manner {
	m := manner{key: key, dry: dry, ifMatch: strings.Trim(strings.TrimSpace(ifMatch), `"`), wait: usualWait}
	for part := range strings.SplitSeq(prefer, ",") { // https://www.rfc-editor.org/rfc/rfc7240#section-4.3
		if n, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(part), "wait=")); err == nil && n >= 0 {
			m.wait = min(time.Duration(n)*time.Second, mostWait)
		}
	}
	return m
}

// command gives a command about an issue, by the name of its repository and its number or its pull request's: stored
// once for a person and key, then decided by stage-router. What would do nothing is refused.
func (h *handler) command(ctx context.Context, who store.Visitor, o access.Operation, c events.CommandRequested, m manner) (api.Command, error) {
	if m.key == "" || len(m.key) > 64 {
		return api.Command{}, problem{slug: "bad-request", detail: "Idempotency-Key has 1 to 64 characters", at: "Idempotency-Key"}
	}
	home, err := h.db.Find(ctx, plain.Text(c.Repository), c.Issue)
	if err != nil {
		return api.Command{}, err
	}
	c.Repository, c.RepositoryID, c.Issue = home.Repository.Name, home.Repository.ID, home.Issue
	c.Text, c.By, c.At = plain.Text(strings.TrimSpace(c.Text)), events.GitHubAccount{Login: who.Account.Login, ID: who.Account.ID}, h.db.Now()
	cause := store.Cause{Source: events.Source(function), ID: fmt.Sprintf("%d:%s", who.Account.ID, m.key)}
	id, err := store.CommandID(function, cause)
	if err != nil {
		return api.Command{}, err
	}
	var is api.Command
	foresee := func(ctx context.Context, tx *store.Tx) (err error) {
		is, err = h.foresee(ctx, tx, who, o, home, stage.Commanded{CommandRequested: c, ID: id})
		return err
	}
	if m.dry {
		err := h.db.Look(ctx, foresee)
		return is, err
	}
	known, err := h.db.Command(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return h.give(ctx, cause, &c, m, id, func(ctx context.Context, tx *store.Tx) error {
			if err := foresee(ctx, tx); err != nil {
				return err
			}
			c.Seen = is.Etag[:strings.Index(is.Etag, "-")]
			switch {
			case m.ifMatch != "" && m.ifMatch != is.Etag:
				return problem{slug: "stale", at: "If-Match"}
			case is.Does == "nothing":
				return problem{slug: "command-refused", detail: is.Detail, reason: is.Reason}
			}
			return nil
		})
	}
	if err != nil {
		return api.Command{}, err
	}
	return h.same(ctx, c, known, m)
}

// give stores a command unless may says no, has it sent and waits for its outcome.
func (h *handler) give(ctx context.Context, cause store.Cause, c *events.CommandRequested, m manner, id string, may func(context.Context, *store.Tx) error) (api.Command, error) {
	stored, err := h.db.Emit(ctx, cause, c.Correlation(), func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		err := may(ctx, tx)
		return events.Decision{Emit: []events.Draft{events.Now(c)}}, err
	})
	if err != nil {
		return api.Command{}, err
	}
	if err := h.send(ctx, stored...); err != nil {
		slog.WarnContext(ctx, "a command was stored but not sent; timekeeper will send it", "command", id, "error", err)
	}
	known, err := h.db.Command(ctx, id)
	if err != nil {
		return api.Command{}, err
	}
	return h.same(ctx, *c, known, m)
}

// same is what has become of a command, unless something else was stored under its key before.
func (h *handler) same(ctx context.Context, c events.CommandRequested, known store.Command, m manner) (api.Command, error) {
	was := known.CommandRequested
	if was.Command != c.Command || was.Repository != c.Repository || was.Issue != c.Issue || was.RunID != c.RunID || was.Label != c.Label || was.Text != c.Text {
		return api.Command{}, problem{slug: "idempotency-mismatch", at: "Idempotency-Key"}
	}
	until := h.db.Now().Add(m.wait)
	for pause := 10 * time.Millisecond; !known.Decided && h.db.Now().Before(until); pause = min(2*pause, 200*time.Millisecond) {
		select {
		case <-ctx.Done():
			return api.Command{}, ctx.Err()
		case <-time.After(pause):
		}
		var err error
		if known, err = h.db.Command(ctx, known.ID); err != nil {
			return api.Command{}, err
		}
	}
	return outcome(known), nil
}

// foresee says what would come of a command, if the person may give it.
func (h *handler) foresee(ctx context.Context, tx *store.Tx, who store.Visitor, o access.Operation, home store.Home, in stage.Commanded) (api.Command, error) {
	item, err := tx.Known(ctx, home, in.Needs(home.Repository.Key, home.Issue))
	switch {
	case err != nil:
		return api.Command{}, err
	case item.Project == nil || !who.Standing.May(access.ReadRuns, item.Project.ID):
		return api.Command{}, store.ErrNotFound
	case !who.Standing.May(o, item.Project.ID):
		return api.Command{}, problem{slug: "forbidden", detail: string(o.Least())}
	}
	after, _, change, err := stage.Foresee(item, in, tx.Now())
	if err != nil {
		return api.Command{}, err
	}
	is := shown(in.CommandRequested)
	is.State, is.Does, is.Reason, is.Detail, is.LabelsOn, is.LabelsOff = "foreseen", change.Does(), change.Reason, change.Why, change.LabelsOn, change.LabelsOff
	switch {
	case change.Started != nil:
		settings, places, err := tx.Places(ctx, after.Run.Project)
		if err != nil {
			return api.Command{}, err
		}
		is.Position = after.Position(settings, places, tx.Now())
	case change.Ended != nil:
		is.Run = change.Ended.ID
	case change.Reason == reason.Storm && after.Held != nil && after.Held != item.Held && !after.Held.Skipped:
		is.Does = "holds"
	case change.Reason != "":
		if advice := reason.Advice(reason.Ignored, change.Reason); is.Detail == "" {
			is.Detail = advice
		}
	}
	is.Etag, err = etag(item, is)
	return is, err
}

// etag tells one outcome from another, and begins with the digest of the issue's text, for which the person answers.
// Where a run would queue is not part of it: that changes by the minute.
func etag(item stage.Item, is api.Command) (string, error) {
	is.Position = 0
	data, err := json.Marshal(is)
	sum := sha256.Sum256(data)
	text := stage.Task{Title: item.Title, Body: item.Body}
	return text.Digest() + "-" + hex.EncodeToString(sum[:8]), err
}

func shown(c events.CommandRequested) api.Command {
	return api.Command{Command: api.CommandCommand(c.Command), Repository: c.Repository, Issue: c.Issue, Label: c.Label, Run: c.RunID}
}

// outcome is what the audit says of a command.
func outcome(c store.Command) api.Command {
	is := shown(c.CommandRequested)
	is.Id, is.State = c.ID, "pending"
	if !c.Decided {
		return is
	}
	is.State = "done"
	for _, r := range c.Audit {
		switch {
		case r.Action == "command.ignored":
			is.State, is.Reason, is.Detail = "refused", r.Reason, r.Detail
		case r.Action == "label.held":
			is.State, is.Reason, is.Detail = "held", r.Reason, r.Detail
		case r.Action == "run.requested":
			is.Run = r.Run
		}
	}
	return is
}

// cancel ends a run.
func (h *handler) cancel(ctx context.Context, who store.Visitor, run string, m manner) (api.Command, error) {
	v, err := h.visible(ctx, who, run, access.CancelRuns)
	if err != nil {
		return api.Command{}, err
	}
	return h.command(ctx, who, access.CancelRuns, events.CommandRequested{Repository: v.Repository, Issue: v.Issue, RunID: v.ID, Command: events.CommandCancel}, m)
}

// startAgain starts the stage of a run once more: its work, or its revise with what is to change.
func (h *handler) startAgain(ctx context.Context, who store.Visitor, run string, kind events.Kind, text string, m manner) (api.Command, error) {
	v, err := h.visible(ctx, who, run, access.StartRuns)
	if err != nil {
		return api.Command{}, err
	}
	home, err := h.db.Find(ctx, v.Repository, v.Issue)
	if err != nil {
		return api.Command{}, err
	}
	label := home.Repository.Process.LabelOf(v.Stage, kind)
	return h.command(ctx, who, access.StartRuns, events.CommandRequested{Repository: v.Repository, Issue: v.Issue, Command: events.CommandStart, Label: label, Text: text}, m)
}
