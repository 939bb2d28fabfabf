package source

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"codexk8s.dev/test/local/kube"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
	"knative.dev/eventing/pkg/apis/sources"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
)

// APIServer is a running ApiServerSource.
type APIServer struct {
	sink   sink
	source string // of its events: the API server's URL
	wants  []wanted
	space  string          // the only namespace, when spaces is nil
	spaces labels.Selector // of the namespaces by their labels
	store  *kube.Store
	known  map[string]bool // whether spaces took a namespace that may be gone by now
	full   bool            // events carry the object, not only a reference

	cancel context.CancelFunc
	all    sync.WaitGroup
}

// wanted is one entry of spec.resources.
type wanted struct {
	apiVersion, kind string
	selector         labels.Selector
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

// StartAPIServer starts to tell sink of the changes to what the source selects, beginning with an add for everything
// that is there, as the real one does when it starts. server is the API server's URL.
//
// A source without a namespaceSelector watches its own namespace; an empty selector takes all of them.
func StartAPIServer(o *sourcesv1.ApiServerSource, store *kube.Store, server, sinkURL string) (*APIServer, error) {
	a := &APIServer{
		sink:   sink{name: o.Name, url: sinkURL, overrides: o.Spec.CloudEventOverrides},
		source: server,
		space:  o.Namespace,
		store:  store,
		known:  map[string]bool{},
		full:   o.Spec.EventMode == sourcesv1.ResourceMode,
	}
	var err error
	if o.Spec.NamespaceSelector != nil {
		if a.spaces, err = metav1.LabelSelectorAsSelector(o.Spec.NamespaceSelector); err != nil {
			return nil, fmt.Errorf("apiserversource %s: namespaceSelector: %w", o.Name, err)
		}
	}
	if o.Spec.ResourceOwner != nil || len(o.Spec.Filters) > 0 {
		return nil, fmt.Errorf("apiserversource %s: owner and filters are not played here", o.Name)
	}
	for _, r := range o.Spec.Resources {
		selector := labels.Everything()
		if r.LabelSelector != nil {
			if selector, err = metav1.LabelSelectorAsSelector(r.LabelSelector); err != nil {
				return nil, fmt.Errorf("apiserversource %s: %w", o.Name, err)
			}
		}
		a.wants = append(a.wants, wanted{r.APIVersion, r.Kind, selector})
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	changes, stop := store.Watch()
	a.all.Go(func() {
		defer stop()
		for {
			select {
			case <-ctx.Done():
				return
			case c, ok := <-changes:
				if !ok {
					return
				}
				a.tell(ctx, c)
			}
		}
	})
	return a, nil
}

// Stop stops watching. What has not been sent is lost.
func (a *APIServer) Stop() {
	a.cancel()
	a.all.Wait()
}

func (a *APIServer) tell(ctx context.Context, c kube.Change) {
	o := c.Object
	if !a.selects(c) || !a.watches(o.GetNamespace()) {
		return
	}
	e := event.New()
	e.SetID(uuid.NewString())
	e.SetType(eventTypes[a.full][c.Type])
	e.SetSource(a.source)
	e.SetSubject(fmt.Sprintf("/apis/%s/namespaces/%s/%s/%s", o.GetAPIVersion(), o.GetNamespace(), c.Resource.Plural, o.GetName()))
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

func (a *APIServer) selects(c kube.Change) bool {
	for _, w := range a.wants {
		if w.apiVersion == c.Object.GetAPIVersion() && w.kind == c.Object.GetKind() && w.selector.Matches(labels.Set(c.Object.GetLabels())) {
			return true
		}
	}
	return false
}

// watches says whether the namespace is one of the source's. Only tell calls it, from one goroutine.
func (a *APIServer) watches(namespace string) bool {
	if a.spaces == nil {
		return namespace == a.space
	}
	if o, err := a.store.Get(kube.Namespaces, "", namespace); err == nil {
		a.known[namespace] = a.spaces.Matches(labels.Set(o.GetLabels()))
	}
	return a.known[namespace]
}
