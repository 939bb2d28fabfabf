package manifests_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"

	"codexk8s.dev/shared/agentpod"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// tree is all manifests by kind and name.
type tree struct {
	services     map[string]*servingv1.Service
	brokers      map[string]*eventingv1.Broker
	triggers     map[string]*eventingv1.Trigger
	pings        map[string]*sourcesv1.PingSource
	apiServers   map[string]*sourcesv1.ApiServerSource
	bindings     map[string]*sourcesv1.SinkBinding
	clusterRoles map[string]*rbacv1.ClusterRole
	accounts     map[string]*corev1.ServiceAccount
	jobs         map[string]*batchv1.Job
	cronJobs     map[string]*batchv1.CronJob
	roles        map[string]*rbacv1.Role
	settings     map[string]*corev1.ConfigMap
	policies     map[string]*networkingv1.NetworkPolicy
	statefulSets map[string]*appsv1.StatefulSet
	// Who has a role: the first account of each binding, by the role's name.
	clusterHolders, holders map[string]string
}

// load reads config/ and eventing/ strictly: a field that the API doesn't have is
// an error here, as on a cluster with strict validation.
func load(t *testing.T) tree {
	t.Helper()
	return loadFiles(t, "config/*.yaml", "eventing/*.yaml")
}

// loadFiles is load for files of other patterns below root.
func loadFiles(t *testing.T, patterns ...string) tree {
	t.Helper()
	m := newTree()
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no manifests in %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m.addAll(t, file, data)
		}
	}
	return m
}

func newTree() tree {
	return tree{
		map[string]*servingv1.Service{}, map[string]*eventingv1.Broker{}, map[string]*eventingv1.Trigger{},
		map[string]*sourcesv1.PingSource{}, map[string]*sourcesv1.ApiServerSource{}, map[string]*sourcesv1.SinkBinding{},
		map[string]*rbacv1.ClusterRole{}, map[string]*corev1.ServiceAccount{}, map[string]*batchv1.Job{},
		map[string]*batchv1.CronJob{}, map[string]*rbacv1.Role{}, map[string]*corev1.ConfigMap{},
		map[string]*networkingv1.NetworkPolicy{}, map[string]*appsv1.StatefulSet{}, map[string]string{}, map[string]string{},
	}
}

// addAll adds each document of a file or stream.
func (m tree) addAll(t *testing.T, file string, data []byte) {
	t.Helper()
	for doc := range bytes.SplitSeq(data, []byte("\n---\n")) {
		m.add(t, file, doc)
	}
}

func (m tree) add(t *testing.T, file string, doc []byte) {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(doc, &kind); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	switch kind.APIVersion + " " + kind.Kind {
	case "serving.knative.dev/v1 Service":
		decode(t, file, doc, m.services)
	case "eventing.knative.dev/v1 Broker":
		decode(t, file, doc, m.brokers)
	case "eventing.knative.dev/v1 Trigger":
		decode(t, file, doc, m.triggers)
	case "sources.knative.dev/v1 PingSource":
		decode(t, file, doc, m.pings)
	case "sources.knative.dev/v1 ApiServerSource":
		decode(t, file, doc, m.apiServers)
	case "sources.knative.dev/v1 SinkBinding":
		decode(t, file, doc, m.bindings)
	case "rbac.authorization.k8s.io/v1 ClusterRole":
		decode(t, file, doc, m.clusterRoles)
	case "v1 ServiceAccount":
		decode(t, file, doc, m.accounts)
	case "batch/v1 Job":
		decode(t, file, doc, m.jobs)
	case "batch/v1 CronJob":
		decode(t, file, doc, m.cronJobs)
	case "rbac.authorization.k8s.io/v1 Role":
		decode(t, file, doc, m.roles)
	case "rbac.authorization.k8s.io/v1 RoleBinding":
		for _, b := range decode(t, file, doc, map[string]*rbacv1.RoleBinding{}) {
			m.holders[b.RoleRef.Name] = b.Subjects[0].Name
		}
	case "v1 ConfigMap":
		decode(t, file, doc, m.settings)
	case "v1 Namespace":
		decode(t, file, doc, map[string]*corev1.Namespace{})
	case "rbac.authorization.k8s.io/v1 ClusterRoleBinding":
		for _, b := range decode(t, file, doc, map[string]*rbacv1.ClusterRoleBinding{}) {
			m.clusterHolders[b.RoleRef.Name] = b.Subjects[0].Name
		}
	case "networking.k8s.io/v1 NetworkPolicy":
		decode(t, file, doc, m.policies)
	case "apps/v1 StatefulSet":
		decode(t, file, doc, m.statefulSets)
	case "v1 Service":
		decode(t, file, doc, map[string]*corev1.Service{})
	case "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy", "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding":
		// Read by TestAdmission.
	case "eventing.knative.dev/v1alpha1 RabbitmqBrokerConfig", "sources.knative.dev/v1alpha1 GitHubSource":
		// Their types are in modules that nothing else here needs.
	default:
		t.Fatalf("%s: this test doesn't know %s %s: teach it", file, kind.APIVersion, kind.Kind)
	}
}

func decode[T any, P interface {
	*T
	metav1.Object
}](t *testing.T, file string, doc []byte, into map[string]P) map[string]P {
	t.Helper()
	o := P(new(T))
	if err := yaml.UnmarshalStrict(doc, o); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if _, twice := into[o.GetName()]; twice {
		t.Fatalf("%s: two %s named %s", file, reflect.TypeFor[T]().Name(), o.GetName())
	}
	kind := reflect.TypeFor[T]()
	namespaced := !strings.HasPrefix(kind.Name(), "ClusterRole") && kind != reflect.TypeFor[corev1.Namespace]()
	right := strings.HasPrefix(kind.Name(), "Role") && o.GetNamespace() == agentpod.DatabasesNamespace
	if namespaced && o.GetNamespace() != "codexk8s" && !right {
		t.Errorf("%s: %s is in namespace %q", file, o.GetName(), o.GetNamespace())
	}
	into[o.GetName()] = o
	return into
}

// variable is one field of an env struct.
type variable struct {
	name     string
	required bool
}

// variables are those that the package in dir declares with envconfig tags. They
// are read from the source, so that this test links no function.
func variables(t *testing.T, dir string) []variable {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all []variable
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok || field.Tag == nil {
				return true
			}
			raw, err := strconv.Unquote(field.Tag.Value)
			if err != nil {
				return true
			}
			if name := reflect.StructTag(raw).Get("envconfig"); name != "" {
				all = append(all, variable{name, reflect.StructTag(raw).Get("required") == "true"})
			}
			return true
		})
	}
	return all
}

// TestEnvironment: a manifest gives a function every variable that it requires,
// and none that it doesn't read. What a Secret need not have is marked optional.
func TestEnvironment(t *testing.T) {
	m := load(t)
	containers := map[string]corev1.Container{
		"migrate": m.jobs["migrate"].Spec.Template.Spec.Containers[0],
		"doctor":  m.cronJobs["doctor"].Spec.JobTemplate.Spec.Template.Spec.Containers[0],
	}
	for name, s := range m.services {
		containers[name] = s.Spec.Template.Spec.Containers[0]
	}
	base := variables(t, "shared/serve")
	for name, c := range containers {
		own := variables(t, "functions/"+name)
		for _, e := range c.Env {
			i := slices.IndexFunc(slices.Concat(own, base), func(v variable) bool { return v.name == e.Name })
			if i < 0 {
				t.Errorf("%s: its manifest sets %s, which it doesn't read", name, e.Name)
				continue
			}
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				optional := e.ValueFrom.SecretKeyRef.Optional != nil && *e.ValueFrom.SecretKeyRef.Optional
				if required := i < len(own) && own[i].required; required == optional {
					t.Errorf("%s: %s is required: %v, and optional in its manifest: %v", name, e.Name, required, optional)
				}
			}
			if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil {
				ref := e.ValueFrom.ConfigMapKeyRef
				if settings := m.settings[ref.Name]; settings == nil || !hasKey(settings.Data, ref.Key) {
					t.Errorf("%s: %s reads %s of ConfigMap %s, which isn't there", name, e.Name, ref.Key, ref.Name)
				}
			}
		}
		for _, v := range own {
			if v.required && !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == v.name }) {
				t.Errorf("%s requires %s, which its manifest doesn't set", name, v.name)
			}
		}
	}
}

func hasKey(m map[string]string, key string) bool { _, ok := m[key]; return ok }
