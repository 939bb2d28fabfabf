package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"codexk8s.dev/test/local/kube"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// maxRetryDelay caps the pause between retries, as in Kubernetes.
const maxRetryDelay = 6 * time.Minute

// poll is how often something that a Job waits for is looked for.
const poll = 50 * time.Millisecond

// errDeadline is the cause of a context that ended at activeDeadlineSeconds.
var errDeadline = errors.New("the job's active deadline is over")

// run runs pods until the Job is finished, deleted (which ends jobCtx), or the controller stops (which ends ctx). The
// deletion of a Job does not end its pod: that is for the deletion of the pod, which may have been orphaned.
func (c *Controller) run(ctx, jobCtx context.Context, job *batchv1.Job) {
	if job.Status.StartTime == nil {
		now := metav1.Now()
		job.Status.StartTime = &now // told together with the first pod, as Kubernetes does
	}
	pods, cancelPods := withDeadline(ctx, job)
	defer cancelPods()
	deadline, cancel := withDeadline(jobCtx, job)
	defer cancel()
	delay := c.options.RetryDelay
	for {
		if !c.awaitAccount(deadline, job) {
			break
		}
		end := c.runPod(pods, job)
		if deadline.Err() != nil {
			break
		}
		if c.judge(job, end) {
			return
		}
		select {
		case <-deadline.Done():
		case <-time.After(min(delay, maxRetryDelay)):
		}
		delay *= 2
	}
	if errors.Is(context.Cause(deadline), errDeadline) {
		c.fail(job, batchv1.JobReasonDeadlineExceeded, "Job was active longer than specified deadline", 1)
	}
}

func withDeadline(ctx context.Context, job *batchv1.Job) (context.Context, context.CancelFunc) {
	if job.Spec.ActiveDeadlineSeconds == nil || job.Status.StartTime == nil {
		return context.WithCancel(ctx)
	}
	at := job.Status.StartTime.Add(time.Duration(*job.Spec.ActiveDeadlineSeconds) * time.Second)
	return context.WithDeadlineCause(ctx, at, errDeadline)
}

// awaitAccount waits for the pod's service account, without which Kubernetes makes no pod.
func (c *Controller) awaitAccount(ctx context.Context, job *batchv1.Job) bool {
	account := job.Spec.Template.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	for {
		if ctx.Err() != nil {
			return false
		}
		if _, err := c.options.Store.Get(kube.Accounts, job.Namespace, account); err == nil {
			return true
		}
		select {
		case <-ctx.Done():
		case <-time.After(poll):
		}
	}
}

// ending is how a pod ended.
type ending struct {
	pod       string
	container string // the one whose code decides
	code      int
	deleted   bool // ended because somebody deleted the pod
}

// judge writes the end of a pod into the Job's status and reports whether that finished the Job.
func (c *Controller) judge(job *batchv1.Job, end ending) bool {
	if end.code == 0 && !end.deleted {
		c.complete(job)
		return true
	}
	counts := int32(1)
	if !end.deleted {
		switch action, rule := policy(job.Spec.PodFailurePolicy, end); action {
		case batchv1.PodFailurePolicyActionFailJob:
			c.fail(job, batchv1.JobReasonPodFailurePolicy, fmt.Sprintf("Container %s for pod %s/%s failed with exit code %d matching FailJob rule at index %d",
				end.container, job.Namespace, end.pod, end.code, rule), 1)
			return true
		case batchv1.PodFailurePolicyActionIgnore:
			counts = 0
		}
	}
	limit := int32(6)
	if job.Spec.BackoffLimit != nil {
		limit = *job.Spec.BackoffLimit
	}
	if job.Status.Failed+counts > limit {
		c.fail(job, batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit", counts)
		return true
	}
	c.status(job, func(s *batchv1.JobStatus) {
		s.Failed += counts
		s.Active = 0
		s.Ready = new(int32)
	})
	return false
}

// policy returns the action of the first rule that matches the exit code, Count when none does.
func policy(p *batchv1.PodFailurePolicy, end ending) (batchv1.PodFailurePolicyAction, int) {
	if p == nil {
		return batchv1.PodFailurePolicyActionCount, -1
	}
	for i, rule := range p.Rules {
		on := rule.OnExitCodes
		if on == nil || on.ContainerName != nil && *on.ContainerName != end.container {
			continue
		}
		in := slices.Contains(on.Values, int32(end.code))
		if in == (on.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
			return rule.Action, i
		}
	}
	return batchv1.PodFailurePolicyActionCount, -1
}

func (c *Controller) complete(job *batchv1.Job) {
	now := metav1.Now()
	c.status(job, func(s *batchv1.JobStatus) {
		s.Succeeded, s.Active, s.Ready = 1, 0, new(int32)
		s.CompletionTime = &now
		for _, t := range []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete} {
			s.Conditions = append(s.Conditions, condition(t, batchv1.JobReasonCompletionsReached, "Reached expected number of succeeded pods"))
		}
	})
}

func (c *Controller) fail(job *batchv1.Job, reason, message string, counts int32) {
	c.status(job, func(s *batchv1.JobStatus) {
		s.Failed += counts
		s.Active, s.Ready = 0, new(int32)
		for _, t := range []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed} {
			s.Conditions = append(s.Conditions, condition(t, reason, message))
		}
	})
}

func condition(t batchv1.JobConditionType, reason, message string) batchv1.JobCondition {
	now := metav1.Now()
	return batchv1.JobCondition{Type: t, Status: corev1.ConditionTrue, LastProbeTime: now, LastTransitionTime: now, Reason: reason, Message: message}
}

// status changes the Job's status in the store and in job. A Job that has been deleted is left alone.
func (c *Controller) status(job *batchv1.Job, change func(*batchv1.JobStatus)) {
	change(&job.Status)
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(job)
	if err != nil {
		slog.Error("job: status not written", "namespace", job.Namespace, "name", job.Name, "error", err)
		return
	}
	o := &unstructured.Unstructured{Object: content}
	o.SetAPIVersion("batch/v1")
	o.SetKind("Job")
	o.SetResourceVersion("") // nobody else writes this half
	if _, err := c.options.Store.Update(kube.Jobs, o, true); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		slog.Error("job: status not written", "namespace", job.Namespace, "name", job.Name, "error", err)
	}
}
