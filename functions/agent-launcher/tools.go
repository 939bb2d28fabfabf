package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/cloudevents/sdk-go/v2/event"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/tool"
)

// toolApproved does what an agent's tool does beside it on Kubernetes. What can't work is told the agent, once; an
// outage is an error, and the event comes again. Other tools are other functions'.
func (h *handler) toolApproved(ctx context.Context, e event.Event, t events.ToolApproved) ([]event.Event, error) {
	return h.once(ctx, e, t.RunRef, func(ctx context.Context) (events.Decision, error) {
		do := map[string]func(context.Context, events.ToolApproved) (string, error){
			tool.SecretSync: h.syncSecret, tool.DatabaseLifecycle: h.keepDatabase,
		}[t.Tool]
		if do == nil {
			return events.Decision{}, nil
		}
		known, err := h.db.RunStatus(ctx, t.RunID)
		if err != nil {
			return events.Decision{}, err
		}
		if known.State == "" || !known.Finished.IsZero() {
			return t.Executed(actor, "run_is_over", "The run was over before it was done."), nil
		}
		result, err := do(ctx, t)
		var refusal *agentpod.Refusal
		var delay *agentpod.Delay
		switch {
		case errors.As(err, &delay):
			return events.Decision{}, h.soon("%s", delay.Message)
		case errors.As(err, &refusal):
			return t.Executed(actor, refusal.Reason, refusal.Message), nil
		case err != nil && kube.Refused(err):
			return t.Executed(actor, reason.KubernetesRefused, kube.Message(err)), nil
		case err != nil:
			return events.Decision{}, err
		}
		return t.Executed(actor, "", result), nil
	})
}

// syncSecret puts a random value into a Secret. The value is known to nobody: it is written, and never read or told.
func (h *handler) syncSecret(ctx context.Context, t events.ToolApproved) (string, error) {
	var s tool.SecretRequest
	if err := tool.Read(t.Arguments, &s); err != nil {
		return "", &agentpod.Refusal{Reason: reason.InvalidRequest, Message: err.Error()}
	}
	r := agentpod.Home(t)
	if err := h.home(ctx, r); err != nil {
		return "", err
	}
	secret := agentpod.Secret(r, s.Name, map[string]string{tool.SecretKey: random()})
	if s.Rotate {
		return fmt.Sprintf("The Secret %s has a new random value under the key %s.", s.Name, tool.SecretKey), h.put(ctx, secret)
	}
	err := h.cluster.Create(ctx, secret.Resource, secret.Value)
	if apierrors.IsAlreadyExists(err) {
		return fmt.Sprintf("The Secret %s is there already, with a value under the key %s; it is left as it is.", s.Name, tool.SecretKey), nil
	}
	return fmt.Sprintf("The Secret %s is made, with a random value under the key %s.", s.Name, tool.SecretKey), err
}

// remakeSecrets makes the Secrets again that tools have made for the run, for its next Job: its namespace may be a new
// one. What is there stays as it is.
func (h *handler) remakeSecrets(ctx context.Context, r events.AgentRequested) error {
	if r.Attempt == 0 {
		return nil
	}
	made, err := h.db.Made(ctx, r.RunID)
	if err != nil {
		return err
	}
	for _, c := range made {
		if c.Tool != tool.SecretSync {
			continue
		}
		var s tool.SecretRequest
		if err := tool.Read(c.Arguments, &s); err != nil {
			return fmt.Errorf("call %s of run %s: %w", c.ID, r.RunID, err)
		}
		secret := agentpod.Secret(r, s.Name, map[string]string{tool.SecretKey: random()})
		if err := h.cluster.Create(ctx, secret.Resource, secret.Value); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// random is a value that nobody guesses: 32 bytes, base64url.
func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// home makes the run's namespace, if it is gone since the run waits.
func (h *handler) home(ctx context.Context, r events.AgentRequested) error {
	o, err := agentpod.Namespace(r)
	if err != nil {
		return err
	}
	if err = h.cluster.Create(ctx, o.Resource, o.Value); !apierrors.IsAlreadyExists(err) {
		return err
	}
	ns, err := kube.Get[corev1.Namespace](ctx, h.cluster, gvr.Namespaces, "", r.Namespace)
	switch {
	case err != nil:
		return err
	case ns == nil:
		return h.soon("namespace %s is gone again", r.Namespace)
	case ns.DeletionTimestamp != nil:
		if err := agentpod.Departing(ns, h.cluster.Now()); err != nil {
			return err
		}
		return h.soon("namespace %s is being removed", r.Namespace)
	}
	return agentpod.Reusable(ns, r)
}
