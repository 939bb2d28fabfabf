package agentpod_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/environment"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube/gvr"
)

const servicesFile = `apiVersion: codexk8s.dev/v1
services:
  - name: prices
    image: ghcr.io/acme/prices:1.4
    port: 9000
    protocol: h2c
    command: [/prices]
    args: [--demo]
    env: {CURRENCY: EUR, CART: $(SERVICE_CART_V2_URL)/api}
    cpu: "2"
    memory: 1Gi
    maxScale: 3
    ready: /healthz
  - name: cart-v2
    image: ghcr.io/acme/cart:2
`

// fullEnv is a request with the services of a file.
func fullEnv(t *testing.T, file string) events.AgentRequested {
	t.Helper()
	r := request()
	var err error
	if r.Services, err = environment.Parse([]byte(file)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestServices(t *testing.T) {
	o := build(t, fullEnv(t, servicesFile))
	for _, s := range o.Services {
		golden(t, "service-"+s.Value.GetName(), s)
		if !agentpod.BelongsTo(s.Value, runID) {
			t.Errorf("service %s: labels %v don't tell the run", s.Value.GetName(), s.Value.GetLabels())
		}
		// As the webhook of Knative does.
		ctx := apis.WithinCreate(t.Context())
		s := s.Value.(*servingv1.Service).DeepCopy()
		s.SetDefaults(ctx)
		if err := s.Validate(ctx); err != nil {
			t.Errorf("service %s: %v", s.Name, err)
		}
	}
	golden(t, "job-full-env", o.Job)
	for _, object := range o.Support {
		switch name := object.Value.GetName(); {
		case object.Resource == gvr.ResourceQuotas:
			golden(t, "resourcequota-full-env", object)
		case name == "egress-git" || name == "ingress-services":
			golden(t, "networkpolicy-"+name+"-full-env", object)
		}
	}
}

// Where the gateways are elsewhere, the activator is not.
func TestTheActivatorAlwaysReachesServices(t *testing.T) {
	p := platform()
	p.Gateways = []agentpod.Peer{{Namespace: "ingress"}}
	o, err := agentpod.Build(fullEnv(t, servicesFile), p, "token", now)
	if err != nil {
		t.Fatal(err)
	}
	var from []string
	for _, object := range o.Support {
		if policy, ok := object.Value.(*networkingv1.NetworkPolicy); ok && policy.Name == "ingress-services" {
			for _, peer := range policy.Spec.Ingress[0].From {
				from = append(from, peer.NamespaceSelector.MatchLabels[corev1.LabelMetadataName])
			}
		}
	}
	if diff := cmp.Diff([]string{"ingress", "knative-serving"}, from); diff != "" {
		t.Error(diff)
	}
}

func TestServicesThatNoFileGives(t *testing.T) {
	r := fullEnv(t, servicesFile)
	r.Services[0].CPU = "lots"
	_, err := agentpod.Build(r, platform(), "token", now)
	var refusal *agentpod.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != "invalid_request" {
		t.Errorf("Build: %v, want a refusal", err)
	}
}

func TestRenewService(t *testing.T) {
	serviceOf := func(r events.AgentRequested) *servingv1.Service {
		return build(t, r).Services[0].Value.(*servingv1.Service)
	}
	first := fullEnv(t, servicesFile)
	existing := serviceOf(first)
	existing.Annotations["serving.knative.dev/creator"] = "agent-launcher"
	existing.SetDefaults(t.Context())
	if changed, err := agentpod.RenewService(existing, serviceOf(first)); changed || err != nil {
		t.Errorf("the same again: changed %t, %v", changed, err)
	}

	// The next run of the issue: other labels, the same revision.
	second := first
	second.RunID = "11111111-3b57-4c0e-9d6a-52b0c1f4a9e8"
	before := existing.DeepCopy()
	changed, err := agentpod.RenewService(existing, serviceOf(second))
	if !changed || err != nil || !agentpod.BelongsTo(existing, second.RunID) || existing.Annotations["serving.knative.dev/creator"] == "" {
		t.Errorf("another run: changed %t, %v, %v", changed, err, existing.ObjectMeta)
	}
	if diff := cmp.Diff(before.Spec, existing.Spec); diff != "" {
		t.Errorf("another run changed the spec, so Knative would start a revision (-before +after):\n%s", diff)
	}

	second.Services[0].Image = "ghcr.io/acme/prices:1.5"
	if changed, err := agentpod.RenewService(existing, serviceOf(second)); !changed || err != nil || existing.Spec.Template.Spec.Containers[0].Image != "ghcr.io/acme/prices:1.5" {
		t.Errorf("another image: changed %t, %v", changed, err)
	}

	existing.Labels = nil
	var refusal *agentpod.Refusal
	if _, err := agentpod.RenewService(existing, serviceOf(second)); !errors.As(err, &refusal) || refusal.Reason != "service_taken" {
		t.Errorf("somebody else's service: %v", err)
	}
}
