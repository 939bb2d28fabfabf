package store

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/stage"
)

// UseProcess hands in the installation's process, by which the projects go that have none of their own. Without it that
// is the built-in one.
func (db *DB) UseProcess(p *stage.Process) { db.processes.own = func() *stage.Process { return p } }

// processes are those that this instance has read, by hash. A process comes with the row that refers to it, its text
// only the first time.
type processes struct {
	own func() *stage.Process // the installation's

	mu   sync.Mutex
	read map[string]*stage.Process
}

// maxProcesses bounds how many are kept: more are read each time.
const maxProcesses = 100

func newProcesses() *processes {
	return &processes{own: sync.OnceValue(stage.Default), read: map[string]*stage.Process{}}
}

// known are the hashes of those whose text need not come.
func (ps *processes) known() []string {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return append(slices.Collect(maps.Keys(ps.read)), ps.own().Hash)
}

// get returns the process with the hash. text is "" where it is known, or nobody knows it: then there is none.
func (ps *processes) get(hash, text string) (*stage.Process, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if own := ps.own(); hash == own.Hash {
		return own, nil
	}
	if p, ok := ps.read[hash]; ok || text == "" {
		return p, nil
	}
	p, err := stage.Parse([]byte(text))
	if err == nil && len(ps.read) < maxProcesses {
		ps.read[hash] = p
	}
	return p, err
}

// ofProject is the process of a project whose own has that hash, "" = it has none. One that another release has
// checked, and this one does not understand, is told as the fault of the installation's.
func (ps *processes) ofProject(hash, text string) *stage.Process {
	if hash == "" {
		return ps.own()
	}
	p, err := ps.get(hash, text)
	if err != nil {
		faulty := *ps.own()
		faulty.Fault = err.Error()
		return &faulty
	}
	return p
}

// ofRun is the process by which a run was requested; nil where that is not known.
func (ps *processes) ofRun(grant *stage.Grant, text string) *stage.Process {
	if grant == nil {
		return nil
	}
	p, err := ps.get(grant.Process, text)
	if err != nil {
		slog.Warn("a run goes on by its project's present process, because its own can't be read", "process", grant.Process, "error", err)
		return nil
	}
	return p
}

// inForce is the process of its own that the project of r has, NULL where it has none. What it selects from is joined
// as p, and its text is left out if its hash is among $2, which are processes.known.
const inForce = `
	LEFT JOIN LATERAL (
		SELECT v.hash, CASE WHEN v.hash = ANY ($2) THEN NULL ELSE t.text END AS text
		FROM project_processes v
		LEFT JOIN processes t USING (hash)
		WHERE v.project_id = r.project_id
		ORDER BY v.version DESC
		LIMIT 1
	) p ON true`

// queueProcess keeps the text of a process, for whoever meets its hash.
func (tx *Tx) queueProcess(b *pgx.Batch, p *stage.Process) {
	b.Queue(`
		INSERT INTO processes (hash, text, known_at)
		VALUES ($1, $2, $3)
		ON CONFLICT DO NOTHING
	`, p.Hash, p.Text, tx.now)
}

// process makes the text of the projects file the project's process, "" the installation's, if it is another one than
// now.
func (s *saving) process(ctx context.Context, id string, text project.Block) error {
	var hash string
	if text.Text != "" {
		p, err := stage.ParseAt([]byte(text.Text), text.Line)
		if err != nil {
			s.wrong = append(s.wrong, fmt.Sprintf("project %s: %s", id, err))
			return nil
		}
		hash = p.Hash
		var b pgx.Batch
		s.tx.queueProcess(&b, p)
		if err := s.tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("storing the process of %s: %w", id, err)
		}
	}
	set, err := s.tx.Exec(ctx, `
		INSERT INTO project_processes (project_id, version, hash, set_by, set_at)
		SELECT $1::text, coalesce(max(version), 0) + 1, nullif($2, ''), $3::text, $4::timestamptz
		FROM project_processes
		WHERE project_id = $1
		HAVING coalesce((array_agg(hash ORDER BY version DESC))[1], '') <> $2
	`, id, hash, "function:"+s.tx.function, s.tx.now)
	switch {
	case err != nil:
		return fmt.Errorf("storing the process of %s: %w", id, err)
	case set.RowsAffected() == 0:
	case hash == "":
		s.say("project.process_set", "project %s goes by the installation's process", id)
	default:
		s.say("project.process_set", "project %s goes by the process %s, line %d of the projects file", id, hash, text.Line)
	}
	return nil
}
