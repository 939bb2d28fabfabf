// Package runauth finds out whose agent calls, and whether it may. Every function that agents reach asks it first.
//
//	Authorization: Bearer → a token of ours? (runtoken) → its run, in the database → what may a run in its state?
//
// A token carries no right of its own. The run is looked up with every call, so one that was cancelled or has timed out
// loses the platform at once. If we signed a token for a run that isn't there, or hasn't begun, the database was
// restored from a backup and GitHub's deliveries will bring the run back. Until then its agent waits.
//
// Each function writes a refusal in its clients' protocol.
package runauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"codexk8s.dev/shared/runtoken"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// Refusal is why an agent's call is not served.
type Refusal struct {
	Kind    Kind
	Message string // for the agent and for people
}

func (r *Refusal) Error() string { return r.Message }

// Kind is what the agent can do about a refusal.
type Kind int

// Kinds of refusals.
const (
	BadToken   Kind = iota // missing, not ours, expired, or of another namespace: nothing
	RunMissing             // not in the database, yet: try again
	RunEarly               // the run has not begun, yet: try again
	RunOver                // the run's state does not allow it: end
)

// Gate recognises agents by the key that run tokens are signed with.
type Gate struct {
	key []byte
	db  *store.DB
}

// NewGate checks the key, the value of RUN_TOKEN_KEY.
func NewGate(key string, db *store.DB) (*Gate, error) {
	checked, err := runtoken.Key(key)
	if err != nil {
		return nil, err
	}
	return &Gate{checked, db}, nil
}

// Holder is the id of the run whose token is in that Authorization header, whatever the run's state. The error is a
// *Refusal.
func (g *Gate) Holder(authorization string) (run string, err error) {
	claims, err := g.claims(authorization)
	return claims.RunID, err
}

func (g *Gate) claims(authorization string) (runtoken.Claims, error) {
	kind, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(kind, "Bearer") || token == "" {
		return runtoken.Claims{}, &Refusal{BadToken, "send the run token as Authorization: Bearer $RUN_TOKEN"}
	}
	claims, err := runtoken.Verify(g.key, strings.TrimSpace(token), g.db.Now())
	if errors.Is(err, runtoken.ErrInvalid) || errors.Is(err, runtoken.ErrExpired) {
		return runtoken.Claims{}, &Refusal{BadToken, err.Error()}
	}
	return claims, err
}

// Caller is the run whose agent sends that Authorization header. An error that is no *Refusal is the database's.
func (g *Gate) Caller(ctx context.Context, authorization string) (store.AgentRun, error) {
	claims, err := g.claims(authorization)
	if err != nil {
		return store.AgentRun{}, err
	}
	run, err := g.db.AgentRun(ctx, claims.RunID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.AgentRun{}, &Refusal{RunMissing, fmt.Sprintf("run %s is not in the database, try again", claims.RunID)}
	case err != nil:
		return store.AgentRun{}, err
	case run.Namespace != claims.Namespace:
		return store.AgentRun{}, &Refusal{BadToken, "the run token belongs to another namespace"}
	case run.State == string(stage.Requested) || run.State == string(stage.Queued):
		return store.AgentRun{}, &Refusal{RunEarly, fmt.Sprintf("run %s is %s, try again", run.ID, run.State)}
	}
	return run, nil
}

// Active refuses a run that has ended.
func Active(run store.AgentRun) error {
	return in(run, stage.Starting, stage.Running, stage.Waiting)
}

// AtWork refuses a run that has ended or waits: a waiting run holds no pod and spends nothing.
func AtWork(run store.AgentRun) error { return in(run, stage.Starting, stage.Running) }

func in(run store.AgentRun, states ...stage.State) error {
	if slices.Contains(states, stage.State(run.State)) {
		return nil
	}
	return &Refusal{RunOver, fmt.Sprintf("run %s is %s: its agent may not do this", run.ID, run.State)}
}
