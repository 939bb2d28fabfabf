//go:build cluster

package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/test/local/stack"
)

// TestASidecarThatRunsOnIsStopped has the cluster put a container into the agent's pod, as a mesh does where somebody
// lets it. Its agent ends, the container does not, and the Job would never be complete.
func TestASidecarThatRunsOnIsStopped(t *testing.T) {
	repo := it.repo("lingering")
	it.injects(t, repo, corev1.Container{
		Name: "mesh", Image: it.service, Args: []string{"mesh"},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), RunAsNonRoot: new(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	})
	issue := it.newIssue(t, repo, stack.IssueTitle, "")
	it.label(t, repo, issue)
	it.finished(t, repo, issue, "succeeded", "")
	ended := time.Now()
	it.jobGoes(t, repo)
	t.Logf("the Job was gone %s after its run's end", time.Since(ended).Round(100*time.Millisecond))
	it.settled(t)
	it.once(t, repo, issue)
}

// injects lets the API server ask this process about each new pod of the repository's runs, and adds the container.
func (w *world) injects(t *testing.T, repo string, c corev1.Container) {
	t.Helper()
	patch, err := json.Marshal([]any{map[string]any{"op": "add", "path": "/spec/containers/-", "value": c}})
	if err != nil {
		t.Fatal(err)
	}
	at, authority := w.serveTLS(t, func(rw http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		var pod corev1.Pod
		err := json.NewDecoder(r.Body).Decode(&review)
		if err == nil {
			err = json.Unmarshal(review.Request.Object.Raw, &pod)
		}
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		if pod.Annotations["codexk8s.dev/repository"] == repo {
			kind := admissionv1.PatchTypeJSONPatch
			review.Response.Patch, review.Response.PatchType = patch, &kind
		}
		_ = json.NewEncoder(rw).Encode(review)
	})
	ignore, none := admissionregistrationv1.Ignore, admissionregistrationv1.SideEffectClassNone
	hook := toYAML(admissionregistrationv1.MutatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: "codexk8s-test-mesh"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "mesh.codexk8s.test", AdmissionReviewVersions: []string{"v1"}, SideEffects: &none, FailurePolicy: &ignore,
			ClientConfig:   admissionregistrationv1.WebhookClientConfig{URL: &at, CABundle: authority},
			ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/managed-by": "codexk8s"}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	})
	if _, err := w.kubectlWith(t.Context(), hook, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := w.kubectl(context.WithoutCancel(t.Context()), "delete", "mutatingwebhookconfiguration", "codexk8s-test-mesh"); err != nil {
			t.Error(err)
		}
	})
}

// serveTLS serves at an address that the API server reaches, with a certificate of its own.
func (w *world) serveTLS(t *testing.T, handler http.HandlerFunc) (at string, authority []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(w.hostIP)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", net.JoinHostPort(w.hostIP, "0"), &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "https://" + listener.Addr().String() + "/", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
