package agentpod

import (
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// Removable says whether a namespace may be deleted, given the Jobs in it: nil, or a *Refusal. All conditions must
// hold: our label, our name prefix, an expiry that has passed, and no Job of ours that still runs. If the expiry can't
// be read, the namespace is kept.
func Removable(ns *corev1.Namespace, jobs []batchv1.Job, now time.Time) error {
	if !strings.HasPrefix(ns.Name, NamespacePrefix) {
		return refuse("not_ours", "namespace %s does not begin with %s", ns.Name, NamespacePrefix)
	}
	if !madeByUs(ns) || ns.Labels[LabelRun] == "" {
		return refuse("not_ours", "namespace %s lacks the labels that the platform gives its namespaces", ns.Name)
	}
	expires, ok := Expiry(ns)
	if !ok {
		return refuse("no_expiry", "namespace %s has no readable expiry in %s: %q", ns.Name, AnnotationExpiresAt, ns.Annotations[AnnotationExpiresAt])
	}
	if now.Before(expires) {
		return refuse("not_expired", "namespace %s is kept until %s", ns.Name, rfc3339(expires))
	}
	for i := range jobs {
		if !Ended(&jobs[i]) && jobs[i].DeletionTimestamp == nil {
			return refuse("active_run", "Job %s in namespace %s still runs", jobs[i].Name, ns.Name)
		}
	}
	return nil
}

// Expiry is until when a namespace is to be kept; false if it doesn't say.
func Expiry(ns metav1.Object) (time.Time, bool) {
	expires, err := time.Parse(time.RFC3339, ns.GetAnnotations()[AnnotationExpiresAt])
	return expires, err == nil
}

// removalPatience is how long the removal of a namespace may take: agents have a minute to end, and volumes need some
// time to be detached.
const removalPatience = 3 * time.Minute

// leaveMargin is how long a pod may take to end beyond its grace period.
const leaveMargin = 10 * time.Second

// Departing says what to do about a namespace that is being removed and stands in a run's way: nil, it will be gone
// soon; a *Delay that names what is still in it; or a *Refusal that names what blocks the removal until a person helps.
// now is the time by the API server's clock.
// https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/namespace-v1/#NamespaceStatus
func Departing(ns *corev1.Namespace, now time.Time) error {
	since := ns.DeletionTimestamp
	if since == nil {
		return nil
	}
	late := now.Sub(since.Time) > removalPatience
	var held []string
	for _, c := range ns.Status.Conditions {
		if c.Status == corev1.ConditionTrue {
			held = append(held, strings.TrimSuffix(first(tail(c.Message), string(c.Type)), "."))
		}
	}
	if len(ns.Finalizers) > 0 {
		held = append(held, "finalizers of the namespace: "+strings.Join(ns.Finalizers, ", "))
	}
	switch {
	case late:
		return refuse(reason.NamespaceStuck, "Namespace %s is being removed since %s and is held up: %s. Take that away, or mend its controller; then set the label again.",
			ns.Name, rfc3339(since.Time), first(strings.Join(held, "; "), "Kubernetes does not say by what"))
	case len(held) > 0:
		return delay(reason.NamespaceStuck, "The issue's former namespace %s is being removed since %s. What is left of it: %s. The agent starts when it is gone.",
			ns.Name, rfc3339(since.Time), strings.Join(held, "; "))
	}
	return nil
}

// Lingering says whether a Job that was told to stop blocks the next one for longer than its pod may take to
// end: then a *Delay, else nil. now is the time by the API server's clock.
func Lingering(job *batchv1.Job, grace time.Duration, now time.Time) error {
	since := job.DeletionTimestamp
	if since == nil || now.Sub(since.Time) <= grace+leaveMargin {
		return nil
	}
	return delay(reason.NamespaceStuck, "The issue's former agent in namespace %s was told to stop at %s and is still there. Is the node of its pod at work, and what do the finalizers of its Job wait for (%s)? The next agent starts when it is gone.",
		job.Namespace, rfc3339(since.Time), first(strings.Join(job.Finalizers, ", "), "none"))
}

// Reusable says whether a namespace that exists may serve the run: nil, or a
// *Refusal. It must be ours and belong to the same issue.
func Reusable(ns metav1.Object, r events.AgentRequested) error {
	if !madeByUs(ns) {
		return refuse(reason.NamespaceTaken, "namespace %s exists and is not the platform's; remove it or its cause", ns.GetName())
	}
	if owner := ns.GetAnnotations()[AnnotationCorrelation]; owner != r.Correlation() {
		return refuse(reason.NamespaceTaken, "namespace %s belongs to %s, not to %s", ns.GetName(), owner, r.Correlation())
	}
	return nil
}

// Fate is what happens to an existing Job when the next one is requested.
type Fate int

// What to do about a Job that already exists.
const (
	Keep    Fate = iota // it is the requested Job
	Replace             // it has ended: it makes room
	Stop                // its run continued without it: stop it
	Leaving             // it is being deleted: its pod may still be at work
	Late                // it is a later Job of the run: the request is out of date
)

// FateOf compares the Job that has the name with the one requested, whose run is
// not over. A Job that is not ours is a *Refusal.
//
// An issue has one active run. So a Job of another run is obsolete even if its pod still works: it has reported and is
// about to exit, or was told to stop, or hangs. And of one run only the last Job counts. If that has ended and the run
// has not, its result is lost, for example by a restore of the database, and it is done again.
func FateOf(existing *batchv1.Job, r events.AgentRequested) (Fate, error) {
	if !madeByUs(existing) {
		return Keep, refuse(reason.JobTaken, "namespace %s has a Job %s that is not the platform's", existing.Namespace, existing.Name)
	}
	if BelongsTo(existing, r.RunID) {
		switch attempt := Attempt(existing); {
		case attempt == r.Attempt && !Ended(existing):
			return Keep, nil
		case attempt > r.Attempt:
			return Late, nil
		}
	}
	switch {
	case existing.DeletionTimestamp != nil:
		return Leaving, nil
	case !Ended(existing):
		return Stop, nil
	}
	return Replace, nil
}
