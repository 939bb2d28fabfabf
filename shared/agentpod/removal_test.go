package agentpod_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
)

// reasonOf is the reason of a refusal, "" when there is none.
func reasonOf(t *testing.T, err error) string {
	t.Helper()
	var refusal *agentpod.Refusal
	if err != nil && !errors.As(err, &refusal) {
		t.Fatalf("%v is no refusal", err)
	}
	if refusal == nil {
		return ""
	}
	return refusal.Reason
}

func TestRemovable(t *testing.T) {
	past := now.Add(25 * time.Hour) // the namespace expires after 24
	for name, test := range map[string]struct {
		change func(*corev1.Namespace)
		jobs   []batchv1.Job
		now    time.Time
		want   string
	}{
		"expired":           {now: past},
		"expired this tick": {now: now.Add(24 * time.Hour)},
		"job has ended":     {now: past, jobs: []batchv1.Job{*job(time.Hour, complete), *job(time.Hour, backoff)}},
		"not yet":           {now: now, want: "not_expired"},
		"job runs":          {now: past, jobs: []batchv1.Job{*job(time.Hour, complete), *job(time.Hour)}, want: "active_run"},
		"other name":        {now: past, change: func(ns *corev1.Namespace) { ns.Name = "default" }, want: "not_ours"},
		"other manager":     {now: past, change: func(ns *corev1.Namespace) { ns.Labels[agentpod.LabelManagedBy] = "helm" }, want: "not_ours"},
		"no run":            {now: past, change: func(ns *corev1.Namespace) { delete(ns.Labels, agentpod.LabelRun) }, want: "not_ours"},
		"no expiry":         {now: past, change: func(ns *corev1.Namespace) { ns.Annotations = nil }, want: "no_expiry"},
		"no readable expiry": {now: past, want: "no_expiry",
			change: func(ns *corev1.Namespace) { ns.Annotations[agentpod.AnnotationExpiresAt] = "tomorrow" }},
	} {
		t.Run(name, func(t *testing.T) {
			ns := build(t, request()).Namespace.Value.(*corev1.Namespace)
			if test.change != nil {
				test.change(ns)
			}
			if got := reasonOf(t, agentpod.Removable(ns, test.jobs, test.now)); got != test.want {
				t.Errorf("refused for %q, want %q", got, test.want)
			}
		})
	}
}

func TestReusable(t *testing.T) {
	ns := build(t, request()).Namespace.Value
	revise := request()
	revise.RunID = "00000000-0000-4000-8000-000000000000"
	elsewhere := request()
	elsewhere.Issue = 13
	for name, test := range map[string]struct {
		request events.AgentRequested
		foreign bool
		want    string
	}{
		"same run":              {request: request()},
		"revise of that issue":  {request: revise},
		"another issue":         {request: elsewhere, want: "namespace_taken"},
		"somebody's, same name": {request: request(), foreign: true, want: "namespace_taken"},
	} {
		t.Run(name, func(t *testing.T) {
			there := ns.(*corev1.Namespace).DeepCopy()
			if test.foreign {
				delete(there.Labels, agentpod.LabelManagedBy)
			}
			if got := reasonOf(t, agentpod.Reusable(there, test.request)); got != test.want {
				t.Errorf("refused for %q, want %q", got, test.want)
			}
		})
	}
}

func TestSucceed(t *testing.T) {
	first := request()
	second := request()
	second.Attempt = 1
	other := request()
	other.RunID = "00000000-0000-4000-8000-000000000000"
	ended := func(j *batchv1.Job) { j.Status.Conditions = []batchv1.JobCondition{complete} }
	for name, test := range map[string]struct {
		there   events.AgentRequested
		change  func(*batchv1.Job)
		request events.AgentRequested
		want    agentpod.Fate
		refused string
	}{
		"the same":                {there: first, request: first, want: agentpod.Keep},
		"the same, and done":      {there: first, request: first, change: ended, want: agentpod.Replace},
		"next attempt":            {there: first, request: second, change: ended, want: agentpod.Replace},
		"next attempt, too early": {there: first, request: second, want: agentpod.Stop},
		"stopped, not gone yet": {there: first, request: second, want: agentpod.Leaving,
			change: func(j *batchv1.Job) { d := ago(time.Second); j.DeletionTimestamp = &d }},
		"old request":       {there: second, request: first, want: agentpod.Late},
		"revise":            {there: first, request: other, change: ended, want: agentpod.Replace},
		"revise, too early": {there: first, request: other, want: agentpod.Stop},
		"somebody's Job": {there: first, request: first, refused: "job_taken",
			change: func(j *batchv1.Job) { j.Labels = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			there := build(t, test.there).Job.Value.(*batchv1.Job)
			if test.change != nil {
				test.change(there)
			}
			got, err := agentpod.FateOf(there, test.request)
			if reason := reasonOf(t, err); reason != test.refused || (err == nil && got != test.want) {
				t.Errorf("Succeed = %v, refused for %q; want %v, %q", got, reason, test.want, test.refused)
			}
		})
	}
}

func TestDeparting(t *testing.T) {
	condition := func(kind corev1.NamespaceConditionType, status corev1.ConditionStatus, message string) corev1.NamespaceCondition {
		return corev1.NamespaceCondition{Type: kind, Status: status, Message: message}
	}
	content := condition(corev1.NamespaceContentRemaining, corev1.ConditionTrue, "Some resources are remaining: widgets.example.com has 1 resource instances")
	finalizers := condition(corev1.NamespaceFinalizersRemaining, corev1.ConditionTrue, "Some content in the namespace has finalizers remaining: example.com/guard in 1 resource instances.")
	none := condition(corev1.NamespaceDeletionDiscoveryFailure, corev1.ConditionFalse, "All resources successfully discovered")
	for name, test := range map[string]struct {
		since      time.Duration // 0: it stays
		conditions []corev1.NamespaceCondition
		finalizers []string
		delay      bool
		want       string
	}{
		"it stays":             {},
		"it goes":              {since: time.Second, conditions: []corev1.NamespaceCondition{none}},
		"what is left of it":   {since: time.Second, conditions: []corev1.NamespaceCondition{content}, delay: true, want: "widgets.example.com has 1 resource instances. The agent starts when it is gone."},
		"content is held":      {4 * time.Minute, []corev1.NamespaceCondition{none, content, finalizers}, nil, false, "widgets.example.com has 1 resource instances; Some content in the namespace has finalizers remaining: example.com/guard in 1 resource instances."},
		"it is held itself":    {time.Hour, nil, []string{"example.com/own"}, false, "held up: finalizers of the namespace: example.com/own."},
		"an API is away":       {time.Hour, []corev1.NamespaceCondition{condition(corev1.NamespaceDeletionDiscoveryFailure, corev1.ConditionTrue, "unable to retrieve metrics.k8s.io/v1beta1")}, nil, false, "metrics.k8s.io"},
		"nobody says anything": {time.Hour, nil, nil, false, "does not say by what"},
	} {
		t.Run(name, func(t *testing.T) {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "codexk8s-run-1", Finalizers: test.finalizers}, Status: corev1.NamespaceStatus{Conditions: test.conditions}}
			if test.since > 0 {
				at := ago(test.since)
				ns.DeletionTimestamp = &at
			}
			err := agentpod.Departing(ns, now)
			var refusal *agentpod.Refusal
			var delay *agentpod.Delay
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v, want to wait", err)
			case test.delay:
				if !errors.As(err, &delay) || delay.Reason != "namespace_stuck" || !strings.Contains(delay.Message, test.want) {
					t.Errorf("got %v, want to wait and to say %q", err, test.want)
				}
			case test.want != "" && (!errors.As(err, &refusal) || refusal.Reason != "namespace_stuck" || !strings.Contains(refusal.Message, test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
