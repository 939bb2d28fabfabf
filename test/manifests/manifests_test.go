// Package manifests_test holds config/ and eventing/ against Knative's own
// validation, against the Catalog, and against the functions themselves:
//
//	events.Catalog  =  Triggers in eventing/  =  Services in config/  =  directories in functions/
//
// and what a manifest gives to a function is what the function's env struct asks for.
package manifests_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
)

const root = "../.."

// Programs in functions/ that are no Knative Service: one runs in agents' pods, the others are Jobs.
var noService = []string{"agent-runner", "doctor", "migrate"}

// validatable is what all of Knative's kinds are.
type validatable interface {
	apis.Defaultable
	apis.Validatable
	metav1.Object
}

// TestKnativeAccepts runs Knative's own defaulting and validation, as its webhooks
// do on a cluster. Warnings count: each is a gap in a security context.
func TestKnativeAccepts(t *testing.T) { load(t).accepted(t) }

func (tree tree) accepted(t *testing.T) {
	t.Helper()
	ctx := apis.WithinCreate(context.Background())
	check := func(o validatable) {
		t.Helper()
		o.SetDefaults(ctx)
		if err := o.Validate(ctx); err != nil {
			t.Errorf("%T %s: %v", o, o.GetName(), err)
		}
	}
	for _, o := range tree.services {
		check(o)
	}
	for _, o := range tree.brokers {
		check(o)
	}
	for _, o := range tree.triggers {
		check(o)
	}
	for _, o := range tree.pings {
		check(o)
	}
	for _, o := range tree.apiServers {
		check(o)
	}
	for _, o := range tree.bindings {
		check(o)
	}
}

// TestValidationBites shows that the check above can fail, in each way it is there for.
func TestValidationBites(t *testing.T) {
	for name, spoil := range map[string]func(*servingv1.Service){
		"time-out above Knative's limit": func(s *servingv1.Service) { s.Spec.Template.Spec.TimeoutSeconds = ptr(int64(601)) },
		"no seccomp profile": func(s *servingv1.Service) {
			s.Spec.Template.Spec.Containers[0].SecurityContext.SeccompProfile = nil
		},
		"min-scale that is no number": func(s *servingv1.Service) {
			s.Spec.Template.Annotations[autoscaling.MinScaleAnnotationKey] = "few"
		},
	} {
		s := load(t).services["stage-router"]
		spoil(s)
		s.SetDefaults(t.Context())
		if s.Validate(apis.WithinCreate(t.Context())) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestAutoscalingAnnotations: Knative ignores an annotation that it doesn't know,
// so a misspelt one would silently do nothing.
func TestAutoscalingAnnotations(t *testing.T) {
	known := []string{autoscaling.MinScaleAnnotationKey, autoscaling.MaxScaleAnnotationKey, autoscaling.ScaleDownDelayAnnotationKey,
		autoscaling.TargetAnnotationKey, autoscaling.WindowAnnotationKey, autoscaling.InitialScaleAnnotationKey}
	for name, s := range load(t).services {
		for key := range s.Spec.Template.Annotations {
			if strings.HasPrefix(key, autoscaling.GroupName) && !slices.Contains(known, key) {
				t.Errorf("%s: annotation %s is not one that we know", name, key)
			}
		}
		for key := range s.Annotations {
			if strings.HasPrefix(key, autoscaling.GroupName) {
				t.Errorf("%s: annotation %s belongs on the template, not on the Service", name, key)
			}
		}
	}
}

// TestCatalogIsTriggersIsServicesIsFunctions is the house's one table, from all four sides.
func TestCatalogIsTriggersIsServicesIsFunctions(t *testing.T) {
	tree := load(t)
	heard := map[string][]string{}
	for _, trigger := range tree.triggers {
		if got := trigger.Spec.Subscriber.Ref; got == nil || got.Kind != "Service" || got.Name != trigger.Name {
			t.Errorf("Trigger %s: its subscriber is %+v, not the Service of that name", trigger.Name, got)
		}
		heard[trigger.Name] = typesOf(t, trigger)
	}
	want := map[string][]string{}
	for function, types := range events.Catalog {
		want[function] = slices.Sorted(slices.Values(types))
	}
	if diff := cmp.Diff(want, heard); diff != "" {
		t.Errorf("Triggers against events.Catalog (-catalog +triggers):\n%s", diff)
	}

	services := slices.Sorted(maps.Keys(tree.services))
	for function := range events.Catalog {
		if !slices.Contains(services, function) {
			t.Errorf("the Catalog names %s, which has no Service in config/", function)
		}
	}
	var programs []string
	mains, _ := filepath.Glob(filepath.Join(root, "functions", "*", "main.go")) // only a malformed pattern is an error
	for _, file := range mains {
		programs = append(programs, filepath.Base(filepath.Dir(file)))
	}
	if diff := cmp.Diff(programs, slices.Sorted(slices.Values(append(services, noService...)))); diff != "" {
		t.Errorf("directories in functions/ against Services in config/ (-functions +services):\n%s", diff)
	}
	for name := range tree.services {
		files := []string{"config/300-" + name + ".yaml", "config/200-" + name + ".yaml"}
		if len(events.Catalog[name]) > 0 {
			files = append(files, "eventing/"+name+".yaml")
		}
		for _, file := range files {
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// typesOf are the types that a Trigger lets through to be handled; it must be one "any", of exact types and wake-ups.
func typesOf(t *testing.T, trigger *eventingv1.Trigger) []string {
	t.Helper()
	if len(trigger.Spec.Filters) != 1 || trigger.Spec.Filter != nil {
		t.Fatalf("Trigger %s: want one filter that is an \"any\"", trigger.Name)
	}
	var types []string
	for _, f := range trigger.Spec.Filters[0].Any {
		if len(f.All) > 0 {
			continue // TestALabelWakesWhatItWillNeed
		}
		if len(f.Exact) != 1 || f.Exact["type"] == "" {
			t.Fatalf("Trigger %s: want exact types only, got %+v", trigger.Name, f)
		}
		types = append(types, f.Exact["type"])
	}
	return slices.Sorted(slices.Values(types))
}

// TestSinks: what emits is bound to the Broker; sources send to it.
func TestSinks(t *testing.T) {
	tree := load(t)
	var bound []string
	for _, b := range tree.bindings {
		if ref := b.Spec.Sink.Ref; ref == nil || ref.Kind != "Broker" || tree.brokers[ref.Name] == nil {
			t.Errorf("SinkBinding %s: sink %+v is not our Broker", b.Name, ref)
		}
		subject := b.Spec.Subject
		if subject.APIVersion != "serving.knative.dev/v1" || subject.Kind != "Service" || subject.Name != "" {
			t.Errorf("SinkBinding %s: subject %+v is not a choice of Services", b.Name, subject)
		}
		chosen, err := metav1.LabelSelectorAsSelector(subject.Selector)
		if err != nil {
			t.Fatal(err)
		}
		for name, s := range tree.services {
			if chosen.Matches(labels.Set(s.Labels)) {
				bound = append(bound, name)
			}
		}
	}
	// Every function of today emits.
	if diff := cmp.Diff(slices.Sorted(maps.Keys(tree.services)), slices.Sorted(slices.Values(bound))); diff != "" {
		t.Errorf("SinkBindings (-services +bound):\n%s", diff)
	}
	for _, b := range tree.brokers {
		dead := b.Spec.Delivery.DeadLetterSink
		if dead == nil || dead.Ref.Name != "timekeeper" || dead.URI.String() != "/dead-letters" {
			t.Errorf("Broker %s: dead letters go to %+v", b.Name, dead)
		}
	}
	want := map[string]string{agentpod.LabelManagedBy: agentpod.ManagedBy}
	for _, s := range tree.apiServers {
		if diff := cmp.Diff(want, s.Spec.Resources[0].LabelSelector.MatchLabels); diff != "" {
			t.Errorf("ApiServerSource %s selects other Jobs than agentpod makes (-want +got):\n%s", s.Name, diff)
		}
		if s.Spec.EventMode != sourcesv1.ResourceMode {
			t.Errorf("ApiServerSource %s: mode %s sends no status", s.Name, s.Spec.EventMode)
		}
	}
}

// TestOnlyTheWaysInArePublic: whatever else the internet could reach would be a hole.
func TestOnlyTheWaysInArePublic(t *testing.T) {
	var public []string
	for name, s := range load(t).services {
		if s.Labels["networking.knative.dev/visibility"] != "cluster-local" {
			public = append(public, name)
		}
	}
	slices.Sort(public)
	if diff := cmp.Diff([]string{"approval-callback", "console", "webhook-adapter"}, public); diff != "" {
		t.Errorf("public Services (-want +got):\n%s", diff)
	}
}

// TestConnectionsFitPostgres: at full scale the pools (4 connections a pod, see
// package store) stay below the 97 that Postgres leaves to ordinary users.
func TestConnectionsFitPostgres(t *testing.T) {
	total := 0
	for name, s := range load(t).services {
		pods, err := strconv.Atoi(s.Spec.Template.Annotations[autoscaling.MaxScaleAnnotationKey])
		if err != nil || pods == 0 {
			t.Errorf("%s has no upper bound of pods", name)
		}
		total += 4 * pods
	}
	if total > 97 {
		t.Errorf("all functions at full scale open %d connections, Postgres' default leaves 97", total)
	}
}

// TestPodsAreLikeEachOther: what every function's pod must have, said once.
func TestPodsAreLikeEachOther(t *testing.T) {
	for name, s := range load(t).services {
		spec := s.Spec.Template.Spec
		c := spec.Containers[0]
		if c.Image != "ko://codexk8s.dev/functions/"+name {
			t.Errorf("%s: image %s", name, c.Image)
		}
		if spec.ServiceAccountName != name {
			t.Errorf("%s: runs as %q, not under an account of its own", name, spec.ServiceAccountName)
		}
		if c.ReadinessProbe == nil || c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.LivenessProbe == nil || c.LivenessProbe.HTTPGet.Path != "/healthz" {
			t.Errorf("%s: probes are not /readyz and /healthz", name)
		}
		if spec.ContainerConcurrency == nil || spec.TimeoutSeconds == nil {
			t.Errorf("%s: containerConcurrency and timeoutSeconds are left to the cluster's defaults", name)
		}
		for _, list := range []corev1.ResourceList{c.Resources.Requests, c.Resources.Limits} {
			if list.Cpu().IsZero() || list.Memory().IsZero() {
				t.Errorf("%s: CPU or memory is not given: %v", name, list)
			}
		}
		for _, e := range c.Env {
			if e.Value != "" && (strings.Contains(e.Name, "SECRET") || strings.Contains(e.Name, "TOKEN") || strings.HasSuffix(e.Name, "_KEY")) {
				t.Errorf("%s: %s is written into the manifest", name, e.Name)
			}
		}
	}
}

// TestJobsAreLikeEachOther: what every Job's pod must have, the security of a function's among it.
func TestJobsAreLikeEachOther(t *testing.T) {
	tree := load(t)
	pods := map[string]corev1.PodSpec{}
	for name, j := range tree.jobs {
		pods[name] = j.Spec.Template.Spec
	}
	for name, j := range tree.cronJobs {
		pods[name] = j.Spec.JobTemplate.Spec.Template.Spec
		if j.Spec.Suspend == nil || !*j.Spec.Suspend {
			t.Errorf("CronJob %s runs by itself", name)
		}
	}
	want := tree.services["timekeeper"].Spec.Template.Spec.Containers[0].SecurityContext
	for name, spec := range pods {
		c := spec.Containers[0]
		if c.Image != "ko://codexk8s.dev/functions/"+name || spec.ServiceAccountName != name {
			t.Errorf("%s: image %s, account %s", name, c.Image, spec.ServiceAccountName)
		}
		if diff := cmp.Diff(want, c.SecurityContext); diff != "" {
			t.Errorf("%s: security (-timekeeper's +its own):\n%s", name, diff)
		}
		for _, list := range []corev1.ResourceList{c.Resources.Requests, c.Resources.Limits} {
			if list.Cpu().IsZero() || list.Memory().IsZero() {
				t.Errorf("%s: CPU or memory is not given: %v", name, list)
			}
		}
	}
}

// TestRights: agent-launcher holds what it grants, nobody reads Secrets but it those of databases, and no rule has a
// wildcard.
func TestRights(t *testing.T) {
	tree := load(t)
	roles := tree.clusterRoles
	rules := map[string][]rbacv1.PolicyRule{}
	for name, role := range roles {
		rules["ClusterRole "+name] = role.Rules
	}
	for name, role := range tree.roles {
		rules["Role "+name] = role.Rules
		if role.Namespace != agentpod.DatabasesNamespace {
			continue
		}
		want := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}}
		if diff := cmp.Diff(want, role.Rules); diff != "" || tree.holders[name] != "agent-launcher" {
			t.Errorf("%s has in %s (-want +got):\n%s", tree.holders[name], role.Namespace, diff)
		}
		delete(rules, "Role "+name)
	}
	for name, all := range rules {
		for _, rule := range all {
			if slices.Contains(slices.Concat(rule.Verbs, rule.Resources, rule.APIGroups), "*") {
				t.Errorf("%s: wildcard in %+v", name, rule)
			}
			if slices.Contains(rule.Resources, "secrets") && slices.ContainsFunc(rule.Verbs, func(v string) bool { return v == "get" || v == "list" || v == "watch" }) {
				t.Errorf("%s reads secrets", name)
			}
		}
	}
	for _, want := range agentpod.AgentRules(events.KubernetesRead) {
		if !slices.ContainsFunc(roles["codexk8s-agent-launcher"].Rules, func(has rbacv1.PolicyRule) bool { return cmp.Equal(want, has) }) {
			t.Errorf("agent-launcher can't grant %+v: it lacks the right itself", want)
		}
	}
}

// TestLauncherMayWriteWhatItBuilds: each resource of a run is among the launcher's rights.
func TestLauncherMayWriteWhatItBuilds(t *testing.T) {
	rules := load(t).clusterRoles["codexk8s-agent-launcher"].Rules
	p := agentpod.DefaultPlatform()
	p.Image, p.GatewayURL, p.LLMURL = "image", "http://gateway", "http://llm/v1"
	r := events.AgentRequested{RunRef: events.RunRef{RunID: "r", Repository: "o/r", Issue: 1}, Namespace: agentpod.NamespacePrefix + "r", CPU: "1", Memory: "2Gi", Deadline: now.Add(1)}
	o, err := agentpod.Build(r, p, "token", now)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range append(o.Support, o.Namespace, o.Job) {
		if !slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
			return slices.Contains(rule.APIGroups, object.Resource.Group) && slices.Contains(rule.Resources, object.Resource.Resource) && slices.Contains(rule.Verbs, "create")
		}) {
			t.Errorf("agent-launcher may not create %s", object.Resource)
		}
	}
}
