package agentpod

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/reason"
)

// DatabasesNamespace is where the Secrets are that let the platform into the projects' Postgres servers. Only
// agent-launcher reads them.
const DatabasesNamespace = "codexk8s-databases"

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
