// Package kube is the platform's access to a Kubernetes API: typed objects over client-go's dynamic client, which takes
// a quarter of the start-up time and half the size of the typed clientset.
//
// Nothing here retries: the Broker and timekeeper do. So each error has a kind (Classify): what the API server will
// never accept is rejected, anything else is worth another try, at the time that the server named if it did.
//
// The rights of each function are in config/200-<function>.yaml.
package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// timeout bounds one call: far above what a healthy API server needs, and well below the time that Knative gives a
// function for a whole event.
const timeout = 15 * time.Second

// Client is one function's access to the cluster.
type Client struct {
	api     dynamic.Interface
	watches dynamic.Interface // not bounded by timeout
	clock   clock
}

// Object is any typed object of the API.
type Object interface {
	metav1.Object
	runtime.Object
}

// Open prepares a client for the cluster that kubeconfig (a file) names, or with "" for the one that the process runs
// in. It does not connect yet.
func Open(kubeconfig string) (*Client, error) {
	config, err := configFrom(kubeconfig)
	if err != nil {
		return nil, err
	}
	config.Timeout = timeout
	config.UserAgent = "codexk8s"
	// client-go would limit a launch's dozen calls to five a second. The API server protects itself (priority and
	// fairness).
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	c := new(Client)
	config.Wrap(c.clock.listening)
	long := rest.CopyConfig(config)
	long.Timeout = 0
	if c.api, err = dynamic.NewForConfig(config); err == nil {
		c.watches, err = dynamic.NewForConfig(long)
	}
	if err != nil {
		return nil, fmt.Errorf("preparing the Kubernetes client: %w", err)
	}
	return c, nil
}

func configFrom(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("not in a cluster (set KUBECONFIG to use another one): %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading KUBECONFIG: %w", err)
	}
	return config, nil
}

// in is the endpoint of a resource; namespace is "" for one that has none.
func (c *Client) in(r schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return c.api.Resource(r)
	}
	return c.api.Resource(r).Namespace(namespace)
}

// named checks names like the API server: client-go answers some with an error of no kind, and turns others into
// another URL. namespace is "" for a resource that has none.
func named(r schema.GroupVersionResource, namespace, name string) error {
	wrong := append(validation.NameIsDNSSubdomain(name, false), validation.NameIsDNSLabel(namespace, false)...)
	if namespace == "" {
		wrong = validation.NameIsDNSSubdomain(name, false)
	}
	if len(wrong) > 0 {
		return apierrors.NewBadRequest(fmt.Sprintf("%s %.80q in namespace %.80q: %s", r.Resource, name, namespace, wrong[0]))
	}
	return nil
}

// Create creates the object in its namespace. Use apierrors.IsAlreadyExists on its error.
func (c *Client) Create(ctx context.Context, r schema.GroupVersionResource, o Object) error {
	u, err := toUnstructured(o)
	if err != nil {
		return err
	}
	if _, err := c.in(r, o.GetNamespace()).Create(ctx, u, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating %s %s: %w", r.Resource, o.GetName(), err)
	}
	return nil
}

// Update replaces the object: unread, if it carries no resourceVersion; else only if nobody changed it since
// (apierrors.IsConflict).
func (c *Client) Update(ctx context.Context, r schema.GroupVersionResource, o Object) error {
	u, err := toUnstructured(o)
	if err != nil {
		return err
	}
	if _, err := c.in(r, o.GetNamespace()).Update(ctx, u, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("updating %s %s: %w", r.Resource, o.GetName(), err)
	}
	return nil
}

// Annotate sets one annotation on the object with that UID; with another UID it is a conflict.
func (c *Client) Annotate(ctx context.Context, r schema.GroupVersionResource, o metav1.Object, key, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": o.GetUID(), "annotations": map[string]string{key: value},
	}})
	if err != nil {
		return fmt.Errorf("annotating %s %s: %w", r.Resource, o.GetName(), err)
	}
	if _, err := c.in(r, o.GetNamespace()).Patch(ctx, o.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("annotating %s %s: %w", r.Resource, o.GetName(), err)
	}
	return nil
}

// Delete deletes the very object that was read: one of the same name with another UID is a conflict. If it is gone
// already that is success.
func (c *Client) Delete(ctx context.Context, r schema.GroupVersionResource, o metav1.Object, propagation metav1.DeletionPropagation) error {
	uid := o.GetUID()
	return c.delete(ctx, r, o, propagation, &metav1.Preconditions{UID: &uid})
}

// DeleteUnchanged is Delete for an object that nobody changed since it was read, else it is a conflict.
func (c *Client) DeleteUnchanged(ctx context.Context, r schema.GroupVersionResource, o metav1.Object, propagation metav1.DeletionPropagation) error {
	uid, version := o.GetUID(), o.GetResourceVersion()
	return c.delete(ctx, r, o, propagation, &metav1.Preconditions{UID: &uid, ResourceVersion: &version})
}

func (c *Client) delete(ctx context.Context, r schema.GroupVersionResource, o metav1.Object, propagation metav1.DeletionPropagation, p *metav1.Preconditions) error {
	err := c.in(r, o.GetNamespace()).Delete(ctx, o.GetName(), metav1.DeleteOptions{Preconditions: p, PropagationPolicy: &propagation})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s %s: %w", r.Resource, o.GetName(), err)
	}
	return nil
}

// Get reads an object into its type, nil when there is none.
func Get[T any](ctx context.Context, c *Client, r schema.GroupVersionResource, namespace, name string) (*T, error) {
	if err := named(r, namespace, name); err != nil {
		return nil, err
	}
	u, err := c.in(r, namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", r.Resource, name, err)
	}
	o := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, o); err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", r.Resource, name, err)
	}
	return o, nil
}

// List reads the objects of a namespace that have the labels ("" = all).
func List[T any](ctx context.Context, c *Client, r schema.GroupVersionResource, namespace, labels string) ([]T, error) {
	if err := named(r, namespace, "any"); err != nil {
		return nil, err
	}
	us, err := c.in(r, namespace).List(ctx, metav1.ListOptions{LabelSelector: labels})
	if err != nil {
		return nil, fmt.Errorf("listing %s in %s: %w", r.Resource, namespace, err)
	}
	all := make([]T, len(us.Items))
	for i := range us.Items {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(us.Items[i].Object, &all[i]); err != nil {
			return nil, fmt.Errorf("listing %s in %s: %w", r.Resource, namespace, err)
		}
	}
	return all, nil
}

// Watch calls see with each object of a namespace that has the labels, now and with every change, until see returns
// false, or ctx or the API server ends it. Deletions are not reported.
func Watch[T any](ctx context.Context, c *Client, r schema.GroupVersionResource, namespace, labels string, see func(*T) (more bool)) error {
	changes, err := c.watches.Resource(r).Namespace(namespace).Watch(ctx, metav1.ListOptions{LabelSelector: labels})
	if err != nil {
		return fmt.Errorf("watching %s in %s: %w", r.Resource, namespace, err)
	}
	defer changes.Stop()
	for change := range changes.ResultChan() {
		u, ok := change.Object.(*unstructured.Unstructured)
		if !ok || change.Type == watch.Error {
			return fmt.Errorf("watching %s in %s: %w", r.Resource, namespace, apierrors.FromObject(change.Object))
		}
		if change.Type != watch.Added && change.Type != watch.Modified {
			continue
		}
		o := new(T)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, o); err != nil {
			return fmt.Errorf("watching %s in %s: %w", r.Resource, namespace, err)
		}
		if !see(o) {
			return nil
		}
	}
	return nil
}

// toUnstructured drops the status: it isn't ours to write.
func toUnstructured(o Object) (*unstructured.Unstructured, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", o.GetName(), err)
	}
	delete(m, "status")
	return &unstructured.Unstructured{Object: m}, nil
}

// Refused reports whether the API server understood a call and will never accept it. What a terminating namespace
// refuses, its successor will accept.
func Refused(err error) bool {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return false
	}
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsMethodNotSupported(err) || apierrors.IsNotAcceptable(err) || apierrors.IsUnsupportedMediaType(err) ||
		apierrors.IsRequestEntityTooLargeError(err)
}

// Message is what the API server said, without our words around it.
func Message(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Message
	}
	return err.Error()
}

// Classify gives an error the kind that decides what happens to the event being handled: rejected if the API server
// will never accept the call, later if it said when to come back. Any other stays as it is.
func Classify(err error, now time.Time) error {
	if err != nil && Refused(err) {
		return events.Reject(reason.KubernetesRefused, err)
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return err
	}
	s := status.Status()
	busy := s.Code == http.StatusTooManyRequests || s.Code == http.StatusServiceUnavailable || s.Code == http.StatusGatewayTimeout
	if s.Details == nil || s.Details.RetryAfterSeconds <= 0 || !busy {
		return err
	}
	return events.RetryAt(now.Add(time.Duration(s.Details.RetryAfterSeconds)*time.Second), err)
}
