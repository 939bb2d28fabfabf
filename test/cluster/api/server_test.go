//go:build apiserver

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

const (
	root      = "../../.."
	namespace = "codexk8s"
)

var (
	config *rest.Config
	admin  dynamic.Interface
	crds   = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	spaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	clean, err := prepare(ctx)
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, "preparing the API server:", err)
	}
	for i := len(clean) - 1; i >= 0; i-- {
		if err := clean[i](); err != nil {
			fmt.Fprintln(os.Stderr, "cleaning up:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// prepare connects, defines Knative's resources and our namespace where they are missing, and applies accounts, rights
// and the admission policy. It returns how to undo what it did, first things first.
func prepare(ctx context.Context) (clean []func() error, err error) {
	file := os.Getenv("KUBECONFIG")
	if file == "" {
		return nil, errors.New("KUBECONFIG is not set: name an API server that may be changed (a cluster kit starts one as root: up api)")
	}
	if config, err = clientcmd.BuildConfigFromFlags("", file); err != nil {
		return nil, fmt.Errorf("reading KUBECONFIG: %w", err)
	}
	config.QPS, config.WarningHandler = -1, rest.NoWarnings{}
	if admin, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	if _, err := admin.Resource(spaces).Get(ctx, "default", metav1.GetOptions{}); err != nil {
		return nil, fmt.Errorf("the API server of KUBECONFIG does not answer: %w", err)
	}
	defined, err := define(ctx)
	clean = append(clean, defined...)
	if err != nil {
		return clean, err
	}
	files, _ := filepath.Glob(filepath.Join(root, "config", "2[06]0-*.yaml"))
	for _, file := range append([]string{filepath.Join(root, "config", "100-namespace.yaml")}, files...) {
		for _, o := range read(file) {
			if o.GetKind() == "Job" || o.GetKind() == "CronJob" {
				continue // would run
			}
			undo, err := ensure(ctx, o)
			if undo != nil {
				clean = append(clean, undo)
			}
			if err != nil {
				return clean, fmt.Errorf("%s: %w", filepath.Base(file), err)
			}
		}
	}
	return clean, nil
}

// define makes Knative's custom resources that are missing, from the modules that the manifests are written for.
func define(ctx context.Context) (clean []func() error, err error) {
	for module, folders := range map[string][]string{
		"knative.dev/serving": {"config/core/300-resources"}, "knative.dev/eventing": {"config/core/resources", "config/channels/in-memory-channel"},
	} {
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
		if err != nil {
			return clean, fmt.Errorf("finding the module %s: %w", module, err)
		}
		for _, folder := range folders {
			err := filepath.WalkDir(filepath.Join(strings.TrimSpace(string(dir)), folder), func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") {
					return err
				}
				for _, o := range read(path) {
					if o.GetKind() != "CustomResourceDefinition" {
						continue
					}
					unstructured.RemoveNestedField(o.Object, "spec", "conversion") // nobody is there to convert
					undo, err := ensure(ctx, o)
					if undo != nil {
						clean = append(clean, undo)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return clean, fmt.Errorf("defining the resources of %s: %w", module, err)
			}
		}
	}
	return clean, established(ctx)
}

// established waits until all custom resources are served.
func established(ctx context.Context) error {
	for {
		all, err := admin.Resource(crds).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		missing := ""
		for _, o := range all.Items {
			if !strings.Contains(fmt.Sprint(o.Object["status"]), "status:True type:Established") {
				missing = o.GetName()
			}
		}
		if missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not served: %w", missing, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ensure makes an object, or brings one of ours up to date; undo is nil where it was there before.
func ensure(ctx context.Context, o *unstructured.Unstructured) (undo func() error, err error) {
	r := at(admin, o)
	_, err = r.Create(ctx, o, metav1.CreateOptions{})
	switch {
	case err == nil:
		return func() error {
			background := metav1.DeletePropagationBackground
			err := r.Delete(context.Background(), o.GetName(), metav1.DeleteOptions{PropagationPolicy: &background})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		}, nil
	case apierrors.IsAlreadyExists(err) && o.GetKind() != "CustomResourceDefinition" && o.GetKind() != "Namespace":
		return nil, apply(ctx, admin, o, false)
	case apierrors.IsAlreadyExists(err):
		return nil, nil
	}
	return nil, err
}

// apply is kubectl apply --server-side, strictly: an unknown field is an error.
func apply(ctx context.Context, as dynamic.Interface, o *unstructured.Unstructured, dryRun bool) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	force := true
	options := metav1.PatchOptions{FieldManager: "codexk8s-test", Force: &force, FieldValidation: metav1.FieldValidationStrict}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	_, err = at(as, o).Patch(ctx, o.GetName(), types.ApplyPatchType, data, options)
	return err
}

// at is the endpoint of an object's kind.
func at(as dynamic.Interface, o *unstructured.Unstructured) dynamic.ResourceInterface {
	r, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
	if o.GetNamespace() == "" {
		return as.Resource(r)
	}
	return as.Resource(r).Namespace(o.GetNamespace())
}

// as is a client that acts as a service account of the platform.
func as(t *testing.T, account string) dynamic.Interface {
	t.Helper()
	c := rest.CopyConfig(config)
	c.Impersonate = rest.ImpersonationConfig{UserName: user(namespace, account),
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}}
	client, err := dynamic.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func user(in, account string) string { return "system:serviceaccount:" + in + ":" + account }

// read returns the objects of a file; one that can't be read is for the test of the manifests to report.
func read(file string) []*unstructured.Unstructured {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	all, _ := decode(data)
	return all
}

// image replaces what ko fills in, as Knative checks that a reference is one.
var image = strings.NewReplacer("ko://codexk8s.dev/functions/", "registry.example.com/")

func decode(data []byte) (all []*unstructured.Unstructured, err error) {
	for document := range bytes.SplitSeq([]byte(image.Replace(string(data))), []byte("\n---")) {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &o.Object); err != nil {
			return all, err
		}
		if o.GetKind() != "" {
			all = append(all, o)
		}
	}
	return all, nil
}

func toUnstructured(t *testing.T, o any) *unstructured.Unstructured {
	t.Helper()
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	delete(m, "status")
	return &unstructured.Unstructured{Object: m}
}

func fromUnstructured(t *testing.T, m map[string]any, into any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m, into); err != nil {
		t.Fatal(err)
	}
}
