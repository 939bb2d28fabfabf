// Package manifest reads the platform's Kubernetes and Knative manifests as they are applied to a cluster.
//
// Every document is decoded strictly into its Go type, so a misspelt field is an error that names file and object
// rather than a setting that silently does nothing. Kinds that the miniature platform plays come back in a Set. Kinds
// that mean nothing on one machine, network policies above all, are checked and left out by an explicit list. Any other
// kind is an error: who adds one decides which of the two it is.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Set is what the manifests ask for, each kind in the order of the files.
type Set struct {
	Services         []*servingv1.Service
	Brokers          []*eventingv1.Broker
	Triggers         []*eventingv1.Trigger
	PingSources      []*sourcesv1.PingSource
	APIServerSources []*sourcesv1.ApiServerSource
	SinkBindings     []*sourcesv1.SinkBinding
	ConfigMaps       []*corev1.ConfigMap
	Secrets          []*corev1.Secret
	Jobs             []*batchv1.Job
	Accounts         []*corev1.ServiceAccount
	Rules            []*unstructured.Unstructured // roles and bindings, of the cluster and of namespaces
}

// object is what every decoded document can say about itself.
type object interface{ metav1.Object }

// kept decodes and stores the kinds that are played, by apiVersion and kind.
var kept = map[metav1.TypeMeta]func(*Set, []byte) (object, error){
	typeOf("serving.knative.dev/v1", "Service"): func(s *Set, b []byte) (object, error) { return keep(&s.Services, b) },
	typeOf("eventing.knative.dev/v1", "Broker"): func(s *Set, b []byte) (object, error) { return keep(&s.Brokers, b) },
	typeOf("eventing.knative.dev/v1", "Trigger"): func(s *Set, b []byte) (object, error) {
		return keep(&s.Triggers, b)
	},
	typeOf("sources.knative.dev/v1", "PingSource"): func(s *Set, b []byte) (object, error) {
		return keep(&s.PingSources, b)
	},
	typeOf("sources.knative.dev/v1", "ApiServerSource"): func(s *Set, b []byte) (object, error) {
		return keep(&s.APIServerSources, b)
	},
	typeOf("sources.knative.dev/v1", "SinkBinding"): func(s *Set, b []byte) (object, error) {
		return keep(&s.SinkBindings, b)
	},
	typeOf("v1", "ConfigMap"): func(s *Set, b []byte) (object, error) { return keep(&s.ConfigMaps, b) },
	typeOf("v1", "Secret"):    func(s *Set, b []byte) (object, error) { return keep(&s.Secrets, b) },
	typeOf("batch/v1", "Job"): func(s *Set, b []byte) (object, error) { return keep(&s.Jobs, b) },
	typeOf("v1", "ServiceAccount"): func(s *Set, b []byte) (object, error) {
		return keep(&s.Accounts, b)
	},
	typeOf("rbac.authorization.k8s.io/v1", "Role"):               keepRule[rbacv1.Role],
	typeOf("rbac.authorization.k8s.io/v1", "RoleBinding"):        keepRule[rbacv1.RoleBinding],
	typeOf("rbac.authorization.k8s.io/v1", "ClusterRole"):        keepRule[rbacv1.ClusterRole],
	typeOf("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): keepRule[rbacv1.ClusterRoleBinding],
}

// leftOut are the kinds that are decoded, for the check, and then not played: network policies (everything is
// loopback), admission policies, what guards pods or gives them disks, Jobs by the clock (ours are templates for
// people's commands), and the database and its Service, whose place the throw-away Postgres takes.
var leftOut = map[metav1.TypeMeta]func([]byte) (object, error){
	typeOf("v1", "Namespace"):                                                     check[corev1.Namespace],
	typeOf("v1", "Service"):                                                       check[corev1.Service],
	typeOf("v1", "PersistentVolumeClaim"):                                         check[corev1.PersistentVolumeClaim],
	typeOf("v1", "ResourceQuota"):                                                 check[corev1.ResourceQuota],
	typeOf("v1", "LimitRange"):                                                    check[corev1.LimitRange],
	typeOf("batch/v1", "CronJob"):                                                 check[batchv1.CronJob],
	typeOf("apps/v1", "StatefulSet"):                                              check[appsv1.StatefulSet],
	typeOf("apps/v1", "Deployment"):                                               check[appsv1.Deployment],
	typeOf("networking.k8s.io/v1", "NetworkPolicy"):                               check[networkingv1.NetworkPolicy],
	typeOf("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"):        check[admissionv1.ValidatingAdmissionPolicy],
	typeOf("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"): check[admissionv1.ValidatingAdmissionPolicyBinding],
	typeOf("policy/v1", "PodDisruptionBudget"):                                    check[policyv1.PodDisruptionBudget],
}

func typeOf(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

func keep[T any, P interface {
	*T
	object
}](list *[]*T, document []byte) (object, error) {
	v := P(new(T))
	if err := decodeStrictly(document, v); err != nil {
		return v, err
	}
	*list = append(*list, (*T)(v))
	return v, nil
}

// keepRule keeps the document as it is, once it has proved to be a T.
func keepRule[T any, P interface {
	*T
	object
}](s *Set, document []byte) (object, error) {
	v, err := check[T, P](document)
	if err != nil {
		return v, err
	}
	rule := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(document, &rule.Object); err != nil {
		return v, err
	}
	s.Rules = append(s.Rules, rule)
	return v, nil
}

func check[T any, P interface {
	*T
	object
}](document []byte) (object, error) {
	v := P(new(T))
	return v, decodeStrictly(document, v)
}

// decodeStrictly decodes as the API server does under fieldValidation=Strict: case matters, and unknown and doubled
// fields are errors.
func decodeStrictly(document []byte, v any) error {
	asJSON, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return err
	}
	strict, err := json.UnmarshalStrict(asJSON, v)
	if err != nil {
		return err
	}
	return errors.Join(strict...)
}

// Load reads the *.yaml files of the directories, in the order given and by name within each; subdirectories, which
// hold overlays for other clusters, and kustomize's own files are not read. All faults are reported, not only the
// first.
func Load(dirs ...string) (*Set, error) {
	set := &Set{}
	var faults []error
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil {
			return nil, fmt.Errorf("listing the manifests in %s: %w", dir, err)
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("there are no manifests (*.yaml) in %s", dir)
		}
		slices.Sort(files)
		for _, file := range files {
			if filepath.Base(file) == "kustomization.yaml" {
				continue
			}
			content, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("reading manifests: %w", err)
			}
			faults = append(faults, set.add(file, content)...)
		}
	}
	return set, errors.Join(faults...)
}

// add reads one file of one or more documents.
func (s *Set) add(file string, content []byte) (faults []error) {
	for i, document := range documents(content) {
		var kind metav1.PartialObjectMetadata
		if err := yaml.Unmarshal(document, &kind); err != nil {
			faults = append(faults, fmt.Errorf("%s, document %d: %w", file, i+1, err))
			continue
		}
		if err := s.decode(kind.TypeMeta, document); err != nil {
			faults = append(faults, fmt.Errorf("%s, %s %s: %w", file, kind.Kind, kind.Name, err))
		}
	}
	return faults
}

func (s *Set) decode(kind metav1.TypeMeta, document []byte) error {
	var o object
	var err error
	if decode, ok := kept[kind]; ok {
		o, err = decode(s, document)
	} else if decode, ok := leftOut[kind]; ok {
		o, err = decode(document)
	} else {
		return fmt.Errorf("kind %s of %s is neither played nor left out here: say which in package manifest", kind.Kind, kind.APIVersion)
	}
	if err != nil {
		return err
	}
	if o.GetName() == "" && o.GetGenerateName() == "" {
		return errors.New("it has no metadata.name")
	}
	return nil
}

// documents splits a YAML stream and drops documents that hold nothing but comments.
func documents(content []byte) [][]byte {
	var all [][]byte
	var one bytes.Buffer
	flush := func() {
		if !onlyComments(one.String()) {
			all = append(all, bytes.Clone(one.Bytes()))
		}
		one.Reset()
	}
	for line := range strings.Lines(string(content)) {
		if strings.TrimRight(line, " \t\r\n") == "---" {
			flush()
			continue
		}
		one.WriteString(line)
	}
	flush()
	return all
}

func onlyComments(document string) bool {
	for line := range strings.Lines(document) {
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			return false
		}
	}
	return true
}
