package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// startingRounds is how many checks a run's Job may take to appear: while Kubernetes is away, agent-launcher tries
// again and again.
const startingRounds = 3

const (
	// startingPause is how soon a Job whose start or pods are not known yet is looked at again.
	startingPause = 3 * time.Second
	// refusedPatience is how old a Job without a pod may be to be looked at again soon.
	refusedPatience = 30 * time.Second
)

type handler struct {
	db      *store.DB
	cluster *kube.Client

	life      context.Context // ends when the process is told to go
	server    *serve.Server
	starting  sync.Map // UIDs of the Jobs whose pods are watched
	relief    relief
	sandboxes schema.GroupVersionResource // zero where agent-sandbox is not set up
}

func (h *handler) routes(s *serve.Server) {
	h.server = s
	for _, t := range []string{events.TypeResourceAdded, events.TypeResourceUpdated, events.TypeResourceDeleted} {
		s.OnType(t, h.jobChanged)
	}
	serve.On(s, h.agentStarted)
	serve.On(s, h.environmentRemoved)
	serve.On(s, h.runCheck)
}

// jobChanged hears about a Job, or a Sandbox's pod; the data is the object as it is now, or last was. That is only a
// hint, because it is not in our log and an agent's pod could forge it: what is emitted comes from the cluster, or from
// the database if the cluster has nothing to show.
func (h *handler) jobChanged(ctx context.Context, e event.Event) ([]event.Event, error) {
	told, quiet, err := newsIn(e.Data())
	if err != nil {
		return nil, events.Malformed(fmt.Errorf("event %s: data is neither a Job nor a pod: %w", e.ID(), err))
	}
	run, ok := agentpod.RunOf(told)
	if _, err := uuid.Parse(run.RunID); !ok || err != nil {
		return nil, events.Reject("not_ours", fmt.Errorf("a Job or pod %s/%s has our label and names no run: who made it?", told.Namespace, told.Name))
	}
	if e.Type() != events.TypeResourceDeleted && quiet {
		return nil, nil // at work
	}
	emitted, err := h.look(ctx, run, told)
	return emitted, kube.Classify(err, h.db.Now())
}

// lookAt reports how an existing Job ended, unless it is fine.
func (h *handler) lookAt(ctx context.Context, job agent) ([]event.Event, error) {
	run, ours := agentpod.RunOf(job)
	if !ours || job.DeletionTimestamp != nil && !agentpod.Ended(job.Job) {
		return nil, nil
	}
	found, err := h.judge(ctx, job)
	if err != nil {
		return nil, err
	}
	if found.State == agentpod.Running {
		if found.starts {
			h.watch(ctx, job)
		}
		return nil, nil
	}
	known, err := h.db.RunStatus(ctx, run.RunID)
	if err != nil {
		return nil, err
	}
	if known.State == "" {
		return h.forgotten(ctx, run, job.Job)
	}
	return h.tell(ctx, run, job.Namespace, agentpod.Attempt(job), string(job.UID), found)
}

// look reports how a Job ended that is said to have trouble, to have ended, or to be gone.
func (h *handler) look(ctx context.Context, run events.RunRef, told *batchv1.Job) ([]event.Event, error) {
	agents, err := h.agents(ctx, told.Namespace)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(agents, func(a agent) bool { return a.UID == told.UID }); i >= 0 {
		return h.lookAt(ctx, agents[i])
	}
	// A deletion is no news if agent-launcher was asked for it, or if the run has its next Job.
	_, stopped := told.Annotations[agentpod.AnnotationStopped]
	if stopped || slices.ContainsFunc(agents, ofRun(run.RunID)) {
		return nil, nil
	}
	known, err := h.db.RunStatus(ctx, run.RunID)
	switch {
	case err != nil:
		return nil, err
	case known.Namespace != told.Namespace || known.Attempt != agentpod.Attempt(told):
		return nil, nil
	case known.State == stage.Starting:
		return nil, events.RetryAt(h.db.Now().Add(startingPause), fmt.Errorf("the Job of run %s is gone, and the news of its start is still under way", run.RunID))
	case known.State != stage.Running:
		return nil, nil
	}
	found := gone(told.Namespace)
	if agentpod.Ended(told) {
		// The ended Job was removed before we heard about its end.
		found = agentpod.Judge(told, nil, nil, h.cluster.Now())
	}
	return h.tell(ctx, run, told.Namespace, known.Attempt, string(told.UID), verdict{Outcome: found})
}

func gone(namespace string) agentpod.Outcome {
	return agentpod.Outcome{State: agentpod.Failed, Reason: reason.JobDeleted,
		Message: fmt.Sprintf("The agent's Job in namespace %s was deleted while it was at work. Set the label again to run anew.", namespace)}
}

// agentStarted looks at a Job as it starts, because events about these seconds may never come here: a run's new
// namespace makes the ApiServerSource roll over, and what happens meanwhile, or was on its way, is not repeated.
func (h *handler) agentStarted(ctx context.Context, e event.Event, a events.AgentStarted) ([]event.Event, error) {
	return h.recorded(ctx, e, a.RunRef, func(ctx context.Context) ([]event.Event, error) {
		h.standIn()
		agents, err := h.agents(ctx, a.Namespace)
		if err != nil {
			return nil, err
		}
		own := slices.IndexFunc(agents, ofRun(a.RunID))
		if own < 0 {
			return nil, nil // a check finds out why
		}
		job := agents[own]
		if job.sandbox == nil && job.Status.StartTime == nil && h.cluster.Now().Sub(job.CreationTimestamp.Time) < refusedPatience {
			return nil, events.RetryAt(h.db.Now().Add(startingPause), fmt.Errorf("the controller of the Job of run %s has not begun", a.RunID))
		}
		return h.lookAt(ctx, job)
	})
}

// runCheck asks the cluster for the truth about a run that should be at work.
func (h *handler) runCheck(ctx context.Context, e event.Event, c events.RunCheck) ([]event.Event, error) {
	return h.recorded(ctx, e, c.RunRef, func(ctx context.Context) ([]event.Event, error) {
		known, err := h.db.RunStatus(ctx, c.RunID)
		if err != nil {
			return nil, err
		}
		if known.State != "" && !known.State.HoldsPod() {
			return nil, nil // it waits and holds no pod, or it is over
		}
		agents, err := h.agents(ctx, c.Namespace)
		if err != nil {
			return nil, err
		}
		own := slices.IndexFunc(agents, ofRun(c.RunID))
		if own < 0 {
			if known.State == stage.Starting && c.Round < startingRounds {
				return nil, nil
			}
			said, err := kube.List[corev1.Event](ctx, h.cluster, gvr.Events, c.Namespace, "")
			if err != nil {
				return nil, err
			}
			found, ended := agentpod.JudgeRemoved(said, known.Started)
			if !ended {
				found = gone(c.Namespace)
			}
			// There is no UID to tell this Job from the run's others, so each check has an id of its own.
			return h.tell(ctx, c.RunRef, c.Namespace, known.Attempt, e.ID(), verdict{Outcome: found})
		}
		job := agents[own]
		if job.DeletionTimestamp != nil {
			return nil, nil // its deletion will be reported
		}
		found, err := h.judge(ctx, job)
		if err != nil {
			return nil, err
		}
		return h.tell(ctx, c.RunRef, c.Namespace, agentpod.Attempt(job), string(job.UID), found)
	})
}

// recorded looks at the cluster because of an event in our log, and leaves its receipt.
func (h *handler) recorded(ctx context.Context, e event.Event, run events.RunRef, look func(context.Context) ([]event.Event, error)) ([]event.Event, error) {
	if _, err := uuid.Parse(run.RunID); err != nil {
		return nil, events.Malformed(fmt.Errorf("event %s: run id %q is not a UUID", e.ID(), run.RunID))
	}
	// This is not db.Act, which would derive the ids of what is emitted from this event. An outcome may be found in
	// other ways too, and its id is derived from the Job, so that it is emitted once. It is stored before the receipt,
	// so looking twice does no harm. But the event must be ours.
	if _, err := h.db.Handled(ctx, e); err != nil {
		return nil, err
	}
	emitted, err := look(ctx)
	if err != nil {
		return nil, kube.Classify(err, h.db.Now())
	}
	_, err = h.db.Receipt(ctx, e)
	return emitted, err
}

// A verdict is an outcome, with more about the Job.
type verdict struct {
	agentpod.Outcome
	starts  bool // it has a pod in which nothing runs yet
	lingers bool // it goes on without its agent
}

// judge reads the Job's own pods and, unless it has ended, what Kubernetes says about them.
func (h *handler) judge(ctx context.Context, job agent) (v verdict, err error) {
	if agentpod.JobSucceeded(job.Job) {
		return verdict{Outcome: agentpod.Outcome{State: agentpod.Succeeded}}, nil
	}
	all, err := kube.List[corev1.Pod](ctx, h.cluster, gvr.Pods, job.Namespace, agentpod.LabelRun+"="+job.Labels[agentpod.LabelRun])
	if err != nil {
		return verdict{}, err
	}
	// A run may have had Jobs before this one.
	own := slices.DeleteFunc(all, func(p corev1.Pod) bool {
		return !slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == job.UID })
	})
	v.lingers, v.starts = agentpod.Lingers(own), slices.ContainsFunc(own, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodPending })
	if job.sandbox != nil {
		v.Outcome = agentpod.JudgeSandbox(job.sandbox, own, h.cluster.Now())
		return v, nil
	}
	var told []corev1.Event
	if !agentpod.Ended(job.Job) {
		if told, err = kube.List[corev1.Event](ctx, h.cluster, gvr.Events, job.Namespace, ""); err != nil {
			return verdict{}, err
		}
	}
	v.Outcome = agentpod.Judge(job.Job, own, told, h.cluster.Now())
	if v.State == agentpod.Running && len(own) == 0 && job.Status.StartTime != nil && h.cluster.Now().Sub(job.CreationTimestamp.Time) < refusedPatience {
		// Its controller has begun and made no pod yet. It will say why.
		return verdict{}, events.RetryAt(h.db.Now().Add(startingPause), fmt.Errorf("the Job of run %s has no pod yet", job.Labels[agentpod.LabelRun]))
	}
	return v, nil
}

// tell emits an outcome, once for what it is about: a Job's UID, or a check's id.
func (h *handler) tell(ctx context.Context, run events.RunRef, namespace string, attempt int, about string, o verdict) ([]event.Event, error) {
	var p events.Payload
	switch o.State {
	case agentpod.Running:
		return nil, nil
	case agentpod.Succeeded:
		p = events.AgentFinished{RunRef: run, Namespace: namespace, Attempt: attempt}
	default:
		p = events.AgentFailed{RunRef: run, Namespace: namespace, Attempt: attempt, Reason: o.Reason, Message: o.Message}
	}
	emit := []events.Draft{events.Now(p)}
	if o.lingers {
		emit = append(emit, events.Now(events.AgentStopRequested{RunRef: run, Namespace: namespace, Attempt: attempt, Reason: "agent_ended"}))
	}
	// Without the message, whose wording may depend on what was left of the pods.
	seen := events.DeriveID(run.RunID, about, string(o.State), o.Reason)
	return h.db.Emit(ctx, store.Cause{Source: events.Source("run-observer"), ID: seen}, run.Correlation(), func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{Emit: emit}, nil
	})
}

// forgotten has the namespace of a run removed that the database doesn't know: it was restored from a backup, which
// lost the namespace's timer. If GitHub's list of deliveries brings the run back, it uses the namespace again.
func (h *handler) forgotten(ctx context.Context, run events.RunRef, job *batchv1.Job) ([]event.Event, error) {
	seen := store.Cause{Source: events.Source("run-observer"), ID: events.DeriveID(run.RunID, string(job.UID), "forgotten")}
	return h.db.Emit(ctx, seen, run.Correlation(), func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{
			Emit: []events.Draft{events.Now(events.EnvironmentExpired{RunRef: run, Namespace: job.Namespace})},
			Audit: []events.Record{{
				Actor: "function:run-observer", Action: "run.unknown", Run: run.RunID, Reason: "not_in_database", Detail: "Job in namespace " + job.Namespace,
			}},
		}, nil
	})
}
