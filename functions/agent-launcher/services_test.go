package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	fakekube "codexk8s.dev/test/local/kube"
)

func fullEnv(run string, attempt int) events.AgentRequested {
	r := request(run, attempt)
	r.Services = []events.Service{
		{Name: "prices", Image: "ghcr.io/acme/prices:1.4", Port: 9000, Protocol: "h2c", CPU: "1", Memory: "1Gi", MaxScale: 2, Ready: "/healthz", Secrets: map[string]string{"DATABASE_URL": "database/url"}},
		{Name: "cart", Image: "ghcr.io/acme/cart:2", Port: 8080, Protocol: "http", CPU: "500m", Memory: "512Mi", MaxScale: 1},
	}
	return r
}

func (f *fixture) service(name string) *servingv1.Service {
	return read[servingv1.Service](f, fakekube.KnativeServices, namespace, name)
}

func TestServicesComeUpBesideTheAgent(t *testing.T) {
	f := setup(t)
	f.expect("launch", f.deliver("1", fullEnv(runA, 0)), 202, startedA)
	o, err := agentpod.Build(fullEnv(runA, 0), f.h.platform, "token", start)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range o.Services {
		want, got := object.Value.(*servingv1.Service), f.service(object.Value.GetName())
		if got == nil {
			t.Fatalf("there is no service %s", want.Name)
		}
		if diff := cmp.Diff(want.Spec, got.Spec); diff != "" {
			t.Errorf("service %s (-want +got):\n%s", want.Name, diff)
		}
		if c := got.Status.Conditions; len(c) != 1 || c[0].Reason != "NotPlayed" {
			t.Errorf("the miniature's status of %s: %+v", want.Name, c)
		}
	}
	env := f.service("prices").Spec.Template.Spec.Containers[0].Env
	if from := env[len(env)-1].ValueFrom; from == nil || from.SecretKeyRef == nil || from.SecretKeyRef.Name != "database" || from.SecretKeyRef.Key != "url" || !*from.SecretKeyRef.Optional {
		t.Errorf("the service's last variable is %+v", env[len(env)-1])
	}
	urls := map[string]string{}
	for _, e := range f.job().Spec.Template.Spec.Containers[0].Env {
		if strings.HasPrefix(e.Name, "SERVICE_") {
			urls[e.Name] = e.Value
		}
	}
	want := map[string]string{
		"SERVICE_PRICES_URL": "http://prices." + namespace + ".svc.cluster.local",
		"SERVICE_CART_URL":   "http://cart." + namespace + ".svc.cluster.local",
	}
	if diff := cmp.Diff(want, urls); diff != "" {
		t.Errorf("the agent's environment (-want +got):\n%s", diff)
	}
}

func TestARevisionKeepsServicesAndChangesWhatDiffers(t *testing.T) {
	f := setup(t)
	f.expect("run A", f.deliver("1", fullEnv(runA, 0)), 202, startedA)
	prices, cart := f.service("prices"), f.service("cart")
	// As Knative does.
	cart.Annotations["serving.knative.dev/creator"] = "system:serviceaccount:codexk8s:agent-launcher"
	f.put(cart)
	f.end()
	revise := fullEnv(runB, 0)
	revise.Services[1].Image = "ghcr.io/acme/cart:3"
	revise.Services = append(revise.Services, events.Service{Name: "mail", Image: "ghcr.io/acme/mail:1", Port: 8080, Protocol: "http", CPU: "1", Memory: "1Gi", MaxScale: 1})
	// Addresses of new services are part of the others' environment.
	f.expect("run B", f.deliver("2", revise), 202, startedB)
	got := f.service("cart")
	if got.UID != cart.UID || got.Generation != 2 || got.Annotations["serving.knative.dev/creator"] == "" || !agentpod.BelongsTo(got, runB) ||
		got.Spec.Template.Spec.Containers[0].Image != "ghcr.io/acme/cart:3" {
		t.Errorf("the service with another image is %+v", got)
	}
	if f.service("prices").UID != prices.UID || f.service("mail") == nil {
		t.Error("a service was lost or not created")
	}

	// The same services for the next Job: nothing but labels changes, so no pod starts.
	f.end()
	before := f.service("prices")
	revise.Attempt = 1
	if status := f.deliver("3", revise); status != 202 {
		t.Fatalf("answered %d", status)
	}
	if after := f.service("prices"); after.Generation != before.Generation || agentpod.Attempt(after) != 1 {
		t.Errorf("generation %d, then %d; attempt %d", before.Generation, after.Generation, agentpod.Attempt(after))
	}
}

func TestSomebodyElsesServiceIsLeftAlone(t *testing.T) {
	f := setup(t)
	f.expect("run A", f.deliver("1", fullEnv(runA, 0)), 202, startedA)
	cart := f.service("cart")
	cart.Labels = nil
	f.put(cart)
	f.end()
	status := f.deliver("2", fullEnv(runB, 0))
	if said := f.emitted(); status != 202 || len(said) < 1 || !strings.Contains(said[0], `"reason":"service_taken"`) {
		t.Errorf("answered %d, emitted %v", status, said)
	}
	if f.service("cart").Labels != nil {
		t.Error("the service was changed")
	}
}

// put changes an object of the fake API.
func (f *fixture) put(s *servingv1.Service) {
	f.Helper()
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := f.objects.Update(fakekube.KnativeServices, &unstructured.Unstructured{Object: m}, false); err != nil {
		f.Fatal(err)
	}
}

// plain gives the function's account the rights that it has without any overlay.
func (f *fixture) plain() {
	f.Helper()
	role := &rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: "launcher"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"", "batch", "networking.k8s.io", "rbac.authorization.k8s.io"}, Resources: []string{"*"}, Verbs: []string{"*"}}},
	}
	binding := &rbacv1.ClusterRoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: "launcher"},
		RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "launcher"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "codexk8s", Name: "agent-launcher"}},
	}
	for resource, object := range map[*fakekube.Resource]any{fakekube.ClusterRoles: role, fakekube.ClusterRoleBindings: binding} {
		m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := f.objects.Create(resource, &unstructured.Unstructured{Object: m}); err != nil {
			f.Fatal(err)
		}
	}
	kubeconfig := filepath.Join(f.TempDir(), "kubeconfig")
	if err := f.api.WriteAccountConfig(kubeconfig, "codexk8s", "agent-launcher"); err != nil {
		f.Fatal(err)
	}
	f.serve(kubeconfig)
}

// Without the overlay the function's account has no right to Knative Services: the run fails and says what to install.
func TestWithoutTheOverlay(t *testing.T) {
	f := setup(t)
	f.plain()
	status := f.deliver("1", fullEnv(runA, 0))
	said := strings.Join(f.emitted(), "\n")
	if status != 202 || !strings.Contains(said, `"reason":"kubernetes_refused"`) || !strings.Contains(said, "install config/overlays/full-env") {
		t.Errorf("answered %d, emitted %s", status, said)
	}
	if f.job() != nil {
		t.Error("the agent was started without its services")
	}
}
