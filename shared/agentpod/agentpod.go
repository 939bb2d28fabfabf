// Package agentpod is what a run looks like on Kubernetes: the objects of a run, the outcome of its Job, and the
// conditions under which its namespace may be removed. It decides; agent-launcher and run-observer talk to the cluster.
//
// The runs of an issue live one after the other in the issue's own namespace, whose
// name stage.Namespace gives, and their pods are not trusted:
//
//	Namespace        Pod Security "restricted" (enforce, audit, warn); expiry as an annotation
//	ServiceAccount   agent: no token is mounted
//	Role, Binding    agent: reads pods, logs, events and services of its own namespace; never secrets
//	ResourceQuota    run: what the whole namespace may use
//	LimitRange       run: defaults for containers that name no resources
//	NetworkPolicy    default-deny both ways; egress-dns; egress-gateways; egress-git;
//	                 egress-database, for services only, where the run has a database
//	Secret           run: the run token; beside it those that tools have made for the agent
//	Job              agent: one pod at a time, retried twice, ends at the run's deadline;
//	                 its first container, probe, ends it at once where the policies don't hold
//	Sandbox          agent: in place of the Job, with the same pod, where the project wants it
//	Knative Service  one for each of the project's services, if the role is full-env;
//	                 with a NetworkPolicy ingress-services, and room in the quota
//
// Every object carries the labels in [LabelManagedBy] and below, which tell it from objects that somebody else made.
// For the issue's next run (a revise, or the next Job of a run that had been waiting) the names stay, labels say whose
// the objects are now, and the lease is renewed: the previous run's expiry finds a namespace that has not expired. As
// there is only one Job of that name, two agents never work on an issue's branch at the same time.
//
// Fixed names make agent-launcher idempotent: launching the same run twice meets "already exists".
package agentpod

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/events"
)

// Labels, on every object and on the agent's pods. ApiServerSource selects on the first one.
const (
	LabelManagedBy = "app.kubernetes.io/managed-by"
	labelName      = "app.kubernetes.io/name"
	LabelRun       = "codexk8s.dev/run"
	labelProject   = "codexk8s.dev/project"
	labelRole      = "codexk8s.dev/role"
	labelStage     = "codexk8s.dev/stage"
	LabelSandbox   = "codexk8s.dev/sandbox" // on pods only: what makes them in place of a Job
)

// Annotations: what an event about the run needs, so that it can be made from the object alone. Label values allow
// neither "/" nor "#".
const (
	annotationProject     = "codexk8s.dev/project"
	annotationRepository  = "codexk8s.dev/repository"
	annotationIssue       = "codexk8s.dev/issue"
	AnnotationCorrelation = "codexk8s.dev/correlation-id"
	// annotationAttempt counts the Jobs of one run: a run that waits for a person
	// holds no pod, and the answer starts its next Job.
	annotationAttempt = "codexk8s.dev/attempt"
	// AnnotationExpiresAt is when the namespace may be removed, RFC 3339 in UTC.
	AnnotationExpiresAt = "codexk8s.dev/expires-at"
	// AnnotationStopped is set on a Job before we delete it, with the reason, so
	// that its deletion isn't taken for somebody else's.
	AnnotationStopped = "codexk8s.dev/stopped"
)

// Fixed names.
const (
	ManagedBy       = "codexk8s"
	NamespacePrefix = "codexk8s-run-"
	JobName         = "agent" // also of the container, ServiceAccount, Role and RoleBinding
	SecretName      = "run"   // also of the ResourceQuota and LimitRange
	TokenKey        = "RUN_TOKEN"
)

// A Refusal says that something can't or must not be done, and that trying again won't help. Reason is
// machine-readable, Message is for a person.
type Refusal struct{ Reason, Message string }

func (r *Refusal) Error() string { return r.Reason + ": " + r.Message }

// A Delay tells a person, who may be able to help, why something can't be done yet.
type Delay struct{ Reason, Message string }

func (d *Delay) Error() string { return d.Reason + ": " + d.Message }

func delay(reason, format string, args ...any) *Delay {
	return &Delay{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func refuse(reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// labelValue makes a valid label value from s: letters, digits, "-", "_" and ".", at most 63 characters, alphanumeric
// at both ends. A value that had to change ends in eight digits of a hash, so that two different values stay different.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
func labelValue(s string) string {
	const limit, suffix = 63, 9
	valid := strings.Map(func(r rune) rune {
		if isAlphanumeric(r) || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, s)
	trim := func(v string) string {
		return strings.TrimFunc(v, func(r rune) bool { return !isAlphanumeric(r) })
	}
	if trim(valid) == s && len(s) <= limit {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	valid = trim(valid[:min(len(valid), limit-suffix)])
	return strings.TrimPrefix(valid+"-"+hex.EncodeToString(sum[:4]), "-")
}

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// madeByUs reports whether the platform made the object.
func madeByUs(o metav1.Object) bool { return o.GetLabels()[LabelManagedBy] == ManagedBy }

// BelongsTo reports whether the platform made the object for that run.
func BelongsTo(o metav1.Object, runID string) bool {
	return madeByUs(o) && runID != "" && o.GetLabels()[LabelRun] == labelValue(runID)
}

// Attempt is the object's attempt: 0 for the run's first Job and for an object that doesn't say.
func Attempt(o metav1.Object) int {
	n, err := strconv.Atoi(o.GetAnnotations()[annotationAttempt])
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// RunOf returns the run that an object belongs to, by its labels and annotations; false if the object isn't ours or
// names no run and work item.
func RunOf(o metav1.Object) (events.RunRef, bool) {
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	issue, err := strconv.Atoi(annotations[annotationIssue])
	ref := events.RunRef{
		RunID:      labels[LabelRun],
		Project:    annotations[annotationProject],
		Repository: annotations[annotationRepository],
		Issue:      issue,
	}
	return ref, madeByUs(o) && err == nil && ref.RunID != "" && ref.Repository != ""
}

func labelsOf(r events.AgentRequested) map[string]string {
	labels := map[string]string{LabelManagedBy: ManagedBy, LabelRun: labelValue(r.RunID)}
	for key, value := range map[string]string{labelProject: r.Project, labelRole: r.Role, labelStage: r.Stage} {
		if value != "" {
			labels[key] = labelValue(value)
		}
	}
	return labels
}

func annotationsOf(r events.AgentRequested) map[string]string {
	return map[string]string{
		annotationProject:     r.Project,
		annotationRepository:  r.Repository,
		annotationIssue:       strconv.Itoa(r.Issue),
		AnnotationCorrelation: r.Correlation(),
		annotationAttempt:     strconv.Itoa(r.Attempt),
	}
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
