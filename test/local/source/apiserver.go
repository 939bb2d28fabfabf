package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"knative.dev/eventing/pkg/apis/sources"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
)

// longestPause between two attempts to list and watch.
const longestPause = 30 * time.Second

// APIServer is a running ApiServerSource.
type APIServer struct {
	sink   sink
	source string // of its events: the API server's URL
	full   bool   // events carry the object, not only a reference

	cancel context.CancelFunc
	all    sync.WaitGroup
}

// watched is one entry of spec.resources. Only its own goroutine uses it.
type watched struct {
	api      dynamic.ResourceInterface
	plural   string
	selector string
	known    map[types.UID]*unstructured.Unstructured // as last told of
}

var eventTypes = map[bool]map[watch.EventType]string{
	true: {
		watch.Added:    sources.ApiServerSourceAddEventType,
		watch.Modified: sources.ApiServerSourceUpdateEventType,
		watch.Deleted:  sources.ApiServerSourceDeleteEventType,
	},
	false: {
		watch.Added:    sources.ApiServerSourceAddRefEventType,
		watch.Modified: sources.ApiServerSourceUpdateRefEventType,
		watch.Deleted:  sources.ApiServerSourceDeleteRefEventType,
	},
}

// StartAPIServer starts to tell sink of the changes to what the source selects in the cluster of config, beginning with
// an add for everything that is there. It returns when that is listed; what may not be listed is an error. When a watch
// ends, as an API server ends it every few minutes, or when versions have expired, it lists again and reports the
// difference. The real adapter does not: it says nothing of what it lists.
//
// A source without a namespaceSelector watches its own namespace, one with an empty selector all of them.
func StartAPIServer(ctx context.Context, o *sourcesv1.ApiServerSource, config *rest.Config, sinkURL string) (*APIServer, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("apiserversource %s: %w", o.Name, err)
	}
	spaces := o.Spec.NamespaceSelector
	if o.Spec.ResourceOwner != nil || len(o.Spec.Filters) > 0 || spaces != nil && len(spaces.MatchLabels)+len(spaces.MatchExpressions) > 0 {
		return nil, fmt.Errorf("apiserversource %s: owner, filters and selected namespaces are not played here", o.Name)
	}
	a := &APIServer{
		sink:   sink{name: o.Name, url: sinkURL, overrides: o.Spec.CloudEventOverrides},
		source: config.Host,
		full:   o.Spec.EventMode == sourcesv1.ResourceMode,
	}
	var all []*watched
	var lists []*unstructured.UnstructuredList
	for _, r := range o.Spec.Resources {
		w, err := newWatched(client, o, r)
		if err != nil {
			return nil, fmt.Errorf("apiserversource %s: %w", o.Name, err)
		}
		list, err := w.api.List(ctx, metav1.ListOptions{LabelSelector: w.selector})
		if err != nil {
			return nil, fmt.Errorf("apiserversource %s: listing %s in %s: %w", o.Name, w.plural, config.Host, err)
		}
		all, lists = append(all, w), append(lists, list)
	}
	ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for i, w := range all {
		a.all.Go(func() { a.follow(ctx, w, lists[i]) })
	}
	return a, nil
}

func newWatched(client dynamic.Interface, o *sourcesv1.ApiServerSource, r sourcesv1.APIVersionKindSelector) (*watched, error) {
	selector := labels.Everything()
	if r.LabelSelector != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(r.LabelSelector); err != nil {
			return nil, fmt.Errorf("the selector of %s: %w", r.Kind, err)
		}
	}
	// As the real one makes the subject.
	gvr, _ := meta.UnsafeGuessKindToResource(schema.FromAPIVersionAndKind(r.APIVersion, r.Kind))
	w := &watched{api: client.Resource(gvr), plural: gvr.Resource, selector: selector.String(), known: map[types.UID]*unstructured.Unstructured{}}
	if o.Spec.NamespaceSelector == nil {
		w.api = client.Resource(gvr).Namespace(o.Namespace)
	}
	return w, nil
}

// Stop stops watching. What has not been sent is lost.
func (a *APIServer) Stop() {
	a.cancel()
	a.all.Wait()
}

// follow reports the list, watches from it, and starts over when that ends, until ctx does.
func (a *APIServer) follow(ctx context.Context, w *watched, list *unstructured.UnstructuredList) {
	pause := firstWait
	for {
		a.compare(ctx, w, list)
		err := a.watch(ctx, w, list.GetResourceVersion())
		for {
			if ctx.Err() != nil {
				return
			}
			if err == nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
				pause = firstWait
			} else {
				slog.Warn("source: watch broken, trying again", "source", a.sink.name, "resource", w.plural, "error", err)
				pause = min(2*pause, longestPause)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			if list, err = w.api.List(ctx, metav1.ListOptions{LabelSelector: w.selector}); err == nil {
				break
			}
		}
	}
}

// compare reports what the list has and has not, other than reported before.
func (a *APIServer) compare(ctx context.Context, w *watched, list *unstructured.UnstructuredList) {
	there := map[types.UID]bool{}
	for i := range list.Items {
		there[list.Items[i].GetUID()] = true
		a.see(ctx, w, watch.Modified, &list.Items[i])
	}
	for uid, o := range w.known {
		if !there[uid] {
			a.see(ctx, w, watch.Deleted, o)
		}
	}
}

// watch reports changes until the API server ends the watch, which is no error, or fails.
func (a *APIServer) watch(ctx context.Context, w *watched, version string) error {
	changes, err := w.api.Watch(ctx, metav1.ListOptions{LabelSelector: w.selector, ResourceVersion: version})
	if err != nil {
		return err
	}
	defer changes.Stop()
	for c := range changes.ResultChan() {
		if c.Type == watch.Error {
			return apierrors.FromObject(c.Object)
		}
		o, ok := c.Object.(*unstructured.Unstructured)
		if !ok {
			return errors.New("the watch gave something that is no object")
		}
		a.see(ctx, w, c.Type, o)
	}
	return nil
}

// see reports one object as it is now, or last was, unless that was reported before.
func (a *APIServer) see(ctx context.Context, w *watched, change watch.EventType, o *unstructured.Unstructured) {
	before, known := w.known[o.GetUID()]
	switch {
	case change == watch.Deleted:
		delete(w.known, o.GetUID())
	case known && before.GetResourceVersion() == o.GetResourceVersion():
		return
	case known:
		change = watch.Modified
		w.known[o.GetUID()] = o
	default:
		change = watch.Added
		w.known[o.GetUID()] = o
	}
	e := event.New()
	e.SetID(uuid.NewString())
	e.SetType(eventTypes[a.full][change])
	e.SetSource(a.source)
	e.SetSubject(fmt.Sprintf("/apis/%s/namespaces/%s/%s/%s", o.GetAPIVersion(), o.GetNamespace(), w.plural, o.GetName()))
	e.SetExtension("kind", o.GetKind())
	e.SetExtension("apiversion", o.GetAPIVersion())
	e.SetExtension("name", o.GetName())
	e.SetExtension("namespace", o.GetNamespace())
	var data any = o.Object
	if !a.full {
		data = map[string]string{"kind": o.GetKind(), "namespace": o.GetNamespace(), "name": o.GetName(), "apiVersion": o.GetAPIVersion()}
	}
	if err := e.SetData(event.ApplicationJSON, data); err != nil {
		slog.Error("source: object not encoded", "source", a.sink.name, "subject", e.Subject(), "error", err)
		return
	}
	// In turn, not side by side: the real adapter has one worker for each watch too. A loss has been logged.
	_ = a.sink.send(ctx, e)
}
