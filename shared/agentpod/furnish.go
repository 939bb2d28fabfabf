package agentpod

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/reason"
)

// DatabasesNamespace is where the Secrets are that let the platform into the projects' Postgres servers. Only
// agent-launcher reads them.
const DatabasesNamespace = "codexk8s-databases"

// DatabasePolicy lets the pods of the project's services reach the run's database there, and nothing else of the
// namespace: an agent can't log in. Without peers it lets them reach nothing.
func DatabasePolicy(r events.AgentRequested, at []Peer, port int32) Object {
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "egress-database", Namespace: r.Namespace, Labels: labelsOf(r), Annotations: annotationsOf(r)},
		Spec:       networkingv1.NetworkPolicySpec{PodSelector: ofServices(metav1.LabelSelectorOpExists), PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}},
	}
	if len(at) > 0 {
		policy.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{To: peers(at), Ports: ports(corev1.ProtocolTCP, port)}}
	}
	o := Object{gvr.NetworkPolicies, policy}
	setKind(o)
	return o
}

// Home is what the tool's event says of the run, as the request for a Job says it.
func Home(t events.ToolApproved) events.AgentRequested {
	return events.AgentRequested{
		RunRef: t.RunRef, Namespace: t.Namespace, Stage: t.Stage, Role: t.Role, Attempt: t.Attempt, ExpiresAt: t.ExpiresAt,
	}
}

// Namespace is the run's namespace alone, for what is put there while the run has no pod. It is as Build makes it, so
// that the run's next Job finds its own.
func Namespace(r events.AgentRequested) (Object, error) {
	if !strings.HasPrefix(r.Namespace, NamespacePrefix) || len(r.Namespace) > 63 || r.ExpiresAt.IsZero() {
		return Object{}, refuse(reason.NamespaceInvalid, "namespace %q, kept until %s, is none of ours", r.Namespace, rfc3339(r.ExpiresAt))
	}
	o := Object{gvr.Namespaces, namespace(r)}
	setKind(o)
	return o, nil
}

// Secret is one that an agent wanted to have in its namespace. Nothing of ours reads it.
func Secret(r events.AgentRequested, name string, values map[string]string) Object {
	data := map[string][]byte{}
	for key, value := range values {
		data[key] = []byte(value)
	}
	o := Object{gvr.Secrets, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: r.Namespace, Labels: labelsOf(r), Annotations: annotationsOf(r)},
		Type:       corev1.SecretTypeOpaque, Data: data,
	}}
	setKind(o)
	return o
}
