package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

var (
	pods     = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	warnings = schema.GroupVersionResource{Version: "v1", Resource: "events"}
)

// startingRounds is how many checks agent-launcher has to make a run's Job appear:
// while Kubernetes is away, its request comes again and again.
const startingRounds = 3

type handler struct {
	db      *store.DB
	cluster *kube.Client
	now     func() time.Time
}

func (h *handler) routes(s *serve.Server) {
	for _, t := range []string{events.TypeResourceAdded, events.TypeResourceUpdated, events.TypeResourceDeleted} {
		s.OnType(t, h.jobChanged)
	}
	serve.On(s, h.runCheck)
}

// jobChanged hears of a Job; the data is the Job as it is now, or last was.
func (h *handler) jobChanged(ctx context.Context, e event.Event) ([]event.Event, error) {
	var job batchv1.Job
	if err := json.Unmarshal(e.Data(), &job); err != nil {
		return nil, events.Malformed(fmt.Errorf("event %s: data is no Job: %w", e.ID(), err))
	}
	run, ok := agentpod.RunOf(&job)
	if !ok {
		return nil, events.Reject("not_ours", fmt.Errorf("Job %s/%s has our label and names no run: who made it?", job.Namespace, job.Name))
	}
	switch {
	case e.Type() == events.TypeResourceDeleted:
		return h.jobDeleted(ctx, run, &job)
	case agentpod.JobSucceeded(&job):
		return h.tell(ctx, run, job.Namespace, string(job.UID), agentpod.Outcome{State: agentpod.Succeeded})
	case agentpod.Ended(&job):
		outcome, err := h.judge(ctx, &job)
		if err != nil {
			return nil, err
		}
		return h.tell(ctx, run, job.Namespace, string(job.UID), outcome)
	}
	return nil, nil // at work
}

// jobDeleted hears that a Job is gone. That is no news when it had ended, or when
// agent-launcher deleted it because it was told to.
func (h *handler) jobDeleted(ctx context.Context, run events.RunRef, job *batchv1.Job) ([]event.Event, error) {
	if _, ours := job.Annotations[agentpod.AnnotationStopped]; ours || agentpod.Ended(job) {
		return nil, nil
	}
	return h.tell(ctx, run, job.Namespace, string(job.UID), gone(job.Namespace))
}

func gone(namespace string) agentpod.Outcome {
	return agentpod.Outcome{State: agentpod.Failed, Reason: agentpod.ReasonJobDeleted,
		Message: fmt.Sprintf("The agent's Job in namespace %s was deleted while it was at work. Set the label again to run anew.", namespace)}
}

// runCheck asks the cluster for the truth about a run that should be at work.
func (h *handler) runCheck(ctx context.Context, e event.Event, c events.RunCheck) ([]event.Event, error) {
	if _, err := uuid.Parse(c.RunID); err != nil {
		return nil, events.Malformed(fmt.Errorf("event %s: run id %q is no UUID", e.ID(), c.RunID))
	}
	emitted, err := h.check(ctx, e, c)
	if err != nil {
		if kube.Refused(err) {
			return nil, events.Reject("kubernetes_refused", err)
		}
		return nil, kube.Later(err, h.now())
	}
	// The receipt. What the check has found is stored by then, under an id of its own.
	_, err = h.db.Step(ctx, e, c.Correlation(), func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{}, nil
	})
	return emitted, err
}

func (h *handler) check(ctx context.Context, e event.Event, c events.RunCheck) ([]event.Event, error) {
	state, err := h.runState(ctx, c.RunID)
	if err != nil {
		return nil, err
	}
	if state != "" && state != "starting" && state != "running" {
		return nil, nil // it waits and holds no pod, or it is over
	}
	job, err := kube.Get[batchv1.Job](ctx, h.cluster, agentpod.Jobs, c.Namespace, agentpod.JobName)
	if err != nil {
		return nil, err
	}
	if job == nil || !agentpod.BelongsTo(job, c.RunID) {
		if state == "starting" && c.Round < startingRounds {
			return nil, nil
		}
		// No UID tells this Job from the run's others, so each check speaks for itself.
		return h.tell(ctx, c.RunRef, c.Namespace, e.ID(), gone(c.Namespace))
	}
	if job.DeletionTimestamp != nil {
		return nil, nil // its deletion will tell
	}
	outcome, err := h.judge(ctx, job)
	if err != nil {
		return nil, err
	}
	return h.tell(ctx, c.RunRef, c.Namespace, string(job.UID), outcome)
}

// judge reads the Job's own pods, and the warnings where there are none.
func (h *handler) judge(ctx context.Context, job *batchv1.Job) (agentpod.Outcome, error) {
	if agentpod.JobSucceeded(job) {
		return agentpod.Judge(job, nil, nil, h.now()), nil
	}
	all, err := kube.List[corev1.Pod](ctx, h.cluster, pods, job.Namespace, agentpod.LabelRun+"="+job.Labels[agentpod.LabelRun])
	if err != nil {
		return agentpod.Outcome{}, err
	}
	// A run may have had Jobs before this one.
	own := slices.DeleteFunc(all, func(p corev1.Pod) bool {
		return !slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == job.UID })
	})
	var told []corev1.Event
	if len(own) == 0 && !agentpod.Ended(job) {
		if told, err = kube.List[corev1.Event](ctx, h.cluster, warnings, job.Namespace, ""); err != nil {
			return agentpod.Outcome{}, err
		}
	}
	return agentpod.Judge(job, own, told, h.now()), nil
}

// tell emits an outcome, once for what it is about: a Job's UID, or a check's id.
func (h *handler) tell(ctx context.Context, run events.RunRef, namespace, about string, o agentpod.Outcome) ([]event.Event, error) {
	var p events.Payload
	switch o.State {
	case agentpod.Running:
		return nil, nil
	case agentpod.Succeeded:
		p = events.AgentFinished{RunRef: run, Namespace: namespace}
	default:
		p = events.AgentFailed{RunRef: run, Namespace: namespace, Reason: o.Reason, Message: o.Message}
	}
	seen := event.New()
	seen.SetSource(events.Source("run-observer"))
	// Without the message: it may be worded by what was still to be seen of the pods.
	seen.SetID(events.DeriveID(run.RunID, about, string(o.State), o.Reason))
	return h.db.Emit(ctx, seen, run.Correlation(), func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{Emit: []events.Draft{events.Now(p)}}, nil
	})
}

// runState is the run's state, "" for a run that the database doesn't know.
func (h *handler) runState(ctx context.Context, runID string) (string, error) {
	var state string
	err := h.db.Pool().QueryRow(ctx, `
		SELECT state
		FROM runs
		WHERE id = $1
	`, runID).Scan(&state)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("reading the state of run %s: %w", runID, err)
	}
	return state, nil
}
