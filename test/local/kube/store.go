package kube

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/watch"
)

// key is where an object is.
type key struct {
	resource        *Resource
	namespace, name string
}

// Store holds the objects. Objects that it returns are copies. Errors are API errors
// (k8s.io/apimachinery/pkg/api/errors). Its methods may be called from any goroutine.
type Store struct {
	mu       sync.Mutex
	objects  map[key]*unstructured.Unstructured
	applied  map[string]string // what a field manager applied last, as JSON, by object uid and manager
	version  int64
	watchers map[*watcher]bool
	history  []Change      // the latest, for watches that go on where another ended
	file     string        // empty for none
	saving   *time.Timer   // nil when the file holds everything
	cost     time.Duration // of the last writing
	ahead    atomic.Int64  // see SetAhead
	closed   chan struct{}
	workers  sync.WaitGroup
}

// Change is what happened to one object.
type Change struct {
	Type     watch.EventType // Added, Modified, Deleted
	Resource *Resource
	Object   *unstructured.Unstructured
}

// SetAhead puts the API server's clock ahead of the machine's, with a negative duration behind it.
func (s *Store) SetAhead(d time.Duration) { s.ahead.Store(int64(d)) }

func (s *Store) now() metav1.Time {
	return metav1.NewTime(time.Now().Add(time.Duration(s.ahead.Load())))
}

// Create stores a new object and returns it as stored. The namespace must exist.
func (s *Store) Create(r *Resource, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.create(r, o)
}

func (s *Store) create(r *Resource, given *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	o := given.DeepCopy()
	if o.GetName() == "" && o.GetGenerateName() != "" {
		o.SetName(o.GetGenerateName() + rand.String(5))
	}
	if err := r.check(o); err != nil {
		return nil, err
	}
	if o.GetResourceVersion() != "" {
		return nil, apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	if !r.Cluster {
		namespace, ok := s.objects[key{Namespaces, "", o.GetNamespace()}]
		if !ok {
			return nil, Namespaces.notFound(o.GetNamespace())
		}
		if namespace.GetDeletionTimestamp() != nil {
			return nil, r.terminating(o.GetName(), o.GetNamespace())
		}
	}
	at := key{r, o.GetNamespace(), o.GetName()}
	if _, ok := s.objects[at]; ok {
		return nil, apierrors.NewAlreadyExists(r.groupResource(), o.GetName())
	}
	o.SetUID(types.UID(uuid.NewString()))
	o.SetCreationTimestamp(s.now())
	o.SetDeletionTimestamp(nil)
	o.SetGeneration(1)
	o.SetManagedFields(nil)
	if r.Status && r != Pods { // package job makes its pods with their first status
		unstructured.RemoveNestedField(o.Object, "status")
	}
	defaults(r, o)
	s.put(at, o, watch.Added)
	if r == Namespaces {
		s.fillNamespace(o.GetName())
	}
	return o.DeepCopy(), nil
}

// defaults sets what the server would and a client reads.
func defaults(r *Resource, o *unstructured.Unstructured) {
	switch r {
	case Namespaces:
		if nested(o, "status", "phase") == nil {
			_ = unstructured.SetNestedField(o.Object, "Active", "status", "phase")
		}
		set := o.GetLabels()
		if set == nil {
			set = map[string]string{}
		}
		set["kubernetes.io/metadata.name"] = o.GetName()
		o.SetLabels(set)
	case KnativeServices:
		if _, ok := o.Object["status"]; ok {
			break
		}
		host := o.GetName() + "." + o.GetNamespace() + ".svc.cluster.local"
		o.Object["status"] = map[string]any{"url": "http://" + host, "conditions": []any{map[string]any{
			"type": "Ready", "status": "False", "reason": "NotPlayed",
			"message": "This is a miniature of Kubernetes, which does not run images: nothing answers at http://" + host + ". On a Knative cluster this service would come up there.",
		}}}
	case Secrets:
		if texts, ok, _ := unstructured.NestedStringMap(o.Object, "stringData"); ok {
			data, _, _ := unstructured.NestedStringMap(o.Object, "data")
			if data == nil {
				data = map[string]string{}
			}
			for name, text := range texts {
				data[name] = encode(text)
			}
			_ = unstructured.SetNestedStringMap(o.Object, data, "data")
			unstructured.RemoveNestedField(o.Object, "stringData")
		}
		if _, ok := o.Object["type"]; !ok {
			o.Object["type"] = "Opaque"
		}
	}
}

// fillNamespace makes the account that every namespace has.
func (s *Store) fillNamespace(namespace string) {
	account := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ServiceAccount",
		"metadata": map[string]any{"name": "default", "namespace": namespace},
	}}
	account.SetUID(types.UID(uuid.NewString()))
	account.SetCreationTimestamp(s.now())
	s.put(key{Accounts, namespace, "default"}, account, watch.Added)
}

// Get returns an object.
func (s *Store) Get(r *Resource, namespace, name string) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[key{r, namespace, name}]
	if !ok {
		return nil, r.notFound(name)
	}
	return o.DeepCopy(), nil
}

// List returns the objects that the selector takes, of one namespace, or of all when that is empty, by namespace and
// name. version is the store's, from which a watch may go on.
func (s *Store) List(r *Resource, namespace string, selector labels.Selector) (list []*unstructured.Unstructured, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, o := range s.objects {
		if at.resource == r && (namespace == "" || at.namespace == namespace) && selector.Matches(labels.Set(o.GetLabels())) {
			list = append(list, o.DeepCopy())
		}
	}
	slices.SortFunc(list, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return list, strconv.FormatInt(s.version, 10)
}

// Update replaces an object. A resourceVersion in it must be the current one. For a resource with a status, status says
// which half is written; the other is kept.
func (s *Store) Update(r *Resource, o *unstructured.Unstructured, status bool) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.update(r, o, status)
}

func (s *Store) update(r *Resource, given *unstructured.Unstructured, status bool) (*unstructured.Unstructured, error) {
	at := key{r, given.GetNamespace(), given.GetName()}
	old, ok := s.objects[at]
	if !ok {
		return nil, r.notFound(at.name)
	}
	if v := given.GetResourceVersion(); v != "" && v != old.GetResourceVersion() {
		return nil, r.conflict(at.name, "the object has been modified; please apply your changes to the latest version and try again")
	}
	if strings.HasSuffix(r.Group, ".knative.dev") && given.GetResourceVersion() == "" && !status { // as of every custom resource
		return nil, apierrors.NewInvalid(schema.GroupKind{Group: r.Group, Kind: r.Kind}, at.name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "resourceVersion"), "", "must be specified for an update"),
		})
	}
	if uid := given.GetUID(); uid != "" && uid != old.GetUID() {
		return nil, r.conflict(at.name, fmt.Sprintf("Precondition failed: UID in precondition: %s, UID in object meta: %s", uid, old.GetUID()))
	}
	o := given.DeepCopy()
	if status {
		o = old.DeepCopy()
		o.Object["status"] = given.DeepCopy().Object["status"]
	} else if r.Status {
		unstructured.RemoveNestedField(o.Object, "status")
		if kept, ok := old.DeepCopy().Object["status"]; ok {
			o.Object["status"] = kept
		}
	}
	o.SetUID(old.GetUID())
	o.SetCreationTimestamp(old.GetCreationTimestamp())
	o.SetDeletionTimestamp(old.GetDeletionTimestamp())
	o.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	o.SetResourceVersion(old.GetResourceVersion())
	o.SetGeneration(old.GetGeneration())
	o.SetManagedFields(nil)
	if err := r.check(o); err != nil {
		return nil, err
	}
	if r == Jobs && !reflect.DeepEqual(nested(o, "spec", "template"), nested(old, "spec", "template")) {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("Job.batch %q is invalid: spec.template: field is immutable", at.name))
	}
	defaults(r, o)
	if reflect.DeepEqual(o.Object, old.Object) {
		return old.DeepCopy(), nil
	}
	if !reflect.DeepEqual(o.Object["spec"], old.Object["spec"]) {
		o.SetGeneration(old.GetGeneration() + 1)
	}
	if o.GetDeletionTimestamp() != nil && len(o.GetFinalizers()) == 0 && r != Pods && r != Namespaces {
		s.remove(at)
		return o, nil
	}
	s.put(at, o, watch.Modified)
	return o.DeepCopy(), nil
}

func nested(o *unstructured.Unstructured, path ...string) any {
	v, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	return v
}

// put stores o under the next version and tells the watchers. The caller holds the lock.
func (s *Store) put(at key, o *unstructured.Unstructured, what watch.EventType) {
	s.version++
	o.SetResourceVersion(strconv.FormatInt(s.version, 10))
	s.objects[at] = o
	s.tell(Change{what, at.resource, o.DeepCopy()})
	s.save()
}

// Close ends the watches and waits for deletions under way, which go on at the next start.
func (s *Store) Close() {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	s.workers.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write()
	s.file = ""
}

// after runs f later unless the store is closed before.
func (s *Store) after(d time.Duration, f func()) {
	s.workers.Go(func() {
		select {
		case <-time.After(d):
			f()
		case <-s.closed:
		}
	})
}
