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

// UseProcess sets the installation's process, which applies to projects without their own. The default is the built-in
// one.
func (db *DB) UseProcess(p *stage.Process) { db.processes.own = func() *stage.Process { return p } }

// processes are those that this instance has read, by hash. A process is read with the row that refers to it, its text
// only the first time.
type processes struct {
	own func() *stage.Process // the installation's

	mu   sync.Mutex
	read map[string]*stage.Process
}

// maxProcesses is how many are kept in memory; any more are read each time.
const maxProcesses = 100

func newProcesses() *processes {
	return &processes{own: sync.OnceValue(stage.Default), read: map[string]*stage.Process{}}
}

// known are the hashes whose text need not be read again.
func (ps *processes) known() []string {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return append(slices.Collect(maps.Keys(ps.read)), ps.own().Hash)
}

// get returns the process with the hash. text is "" if the process was read before, or if there is none.
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

// ofProject is a project's process by its hash, "" = it has none of its own. One that another release accepted and this
// one can't read becomes the Fault of the installation's.
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

// ofRun is the process that a run was requested under; nil if it is not known.
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

// inForce selects the own process of r's project, NULL if it has none. The project is joined as p; the text is left out
// if its hash is among $2, processes.known.
const inForce = `
	LEFT JOIN LATERAL (
		SELECT v.hash, CASE WHEN v.hash = ANY ($2) THEN NULL ELSE t.text END AS text
		FROM project_processes v
		LEFT JOIN processes t USING (hash)
		WHERE v.project_id = r.project_id
		ORDER BY v.version DESC
		LIMIT 1
	) p ON true`

// queueProcess stores the text of a process under its hash.
func (tx *Tx) queueProcess(b *pgx.Batch, p *stage.Process) {
	b.Queue(`
		INSERT INTO processes (hash, text, known_at)
		VALUES ($1, $2, $3)
		ON CONFLICT DO NOTHING
	`, p.Hash, p.Text, tx.now)
}

// process sets the project's process to the text from the projects file, "" = the installation's, if it has changed.
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
