package kube

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

// remembered is how many changes a watch may be behind, as etcd's compaction bounds it for the real server.
const remembered = 1000

func (s *Store) tell(c Change) {
	if len(s.history) >= 2*remembered {
		s.history = slices.Clone(s.history[remembered:])
	}
	s.history = append(s.history, c)
	for w := range s.watchers {
		w.add(c)
	}
}

// watcher hands changes on without ever holding up the store.
type watcher struct {
	mu      sync.Mutex
	changes []Change
	wake    chan struct{}
}

func (w *watcher) add(c Change) {
	w.mu.Lock()
	w.changes = append(w.changes, c)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) take() []Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.changes
	w.changes = nil
	return taken
}

// Watch returns the present objects as Added changes and, from then on, every change in order, until stop is called or
// the store is closed; then the channel is closed.
func (s *Store) Watch() (changes <-chan Change, stop func()) {
	w := &watcher{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range slices.SortedFunc(maps.Keys(s.objects), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.resource.Plural, b.resource.Plural), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	}) {
		w.add(Change{watch.Added, at.resource, s.objects[at].DeepCopy()})
	}
	return s.serve(w)
}

// WatchFrom is Watch for one who has seen all up to a version: it begins with what has changed since. What changed so
// long ago that it is forgotten is an error (apierrors.IsResourceExpired).
func (s *Store) WatchFrom(version int64) (changes <-chan Change, stop func(), err error) {
	w := &watcher{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.version + 1
	if len(s.history) > 0 {
		first = versionOf(s.history[0].Object)
	}
	if version+1 < first {
		return nil, nil, apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", version, first))
	}
	for _, c := range s.history {
		if versionOf(c.Object) > version {
			w.add(Change{c.Type, c.Resource, c.Object.DeepCopy()})
		}
	}
	changes, stop = s.serve(w)
	return changes, stop, nil
}

func versionOf(o *unstructured.Unstructured) int64 {
	version, _ := strconv.ParseInt(o.GetResourceVersion(), 10, 64)
	return version
}

// serve enters the watcher. The caller holds the lock.
func (s *Store) serve(w *watcher) (changes <-chan Change, stop func()) {
	s.watchers[w] = true
	out := make(chan Change)
	done := make(chan struct{})
	var once sync.Once
	stop = func() {
		once.Do(func() {
			s.mu.Lock()
			delete(s.watchers, w)
			s.mu.Unlock()
			close(done)
		})
	}
	go func() {
		defer close(out)
		for {
			for _, c := range w.take() {
				select {
				case out <- c:
				case <-done:
					return
				}
			}
			select {
			case <-w.wake:
			case <-done:
				return
			case <-s.closed:
				return
			}
		}
	}()
	return out, stop
}
