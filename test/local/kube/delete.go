package kube

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// Delete deletes an object or begins to. The options are those of the API: preconditions, propagationPolicy and, for
// pods, gracePeriodSeconds.
func (s *Store) Delete(r *Resource, namespace, name string, o metav1.DeleteOptions) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delete(key{r, namespace, name}, o)
}

func (s *Store) delete(at key, options metav1.DeleteOptions) (*unstructured.Unstructured, error) {
	old, ok := s.objects[at]
	if !ok {
		return nil, at.resource.notFound(at.name)
	}
	if p := options.Preconditions; p != nil {
		if p.UID != nil && *p.UID != old.GetUID() {
			return nil, at.resource.conflict(at.name, "the UID in the precondition ("+string(*p.UID)+") does not match the UID in record ("+string(old.GetUID())+"). The object might have been deleted and then recreated")
		}
		if p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion() {
			return nil, at.resource.conflict(at.name, "the ResourceVersion in the precondition ("+*p.ResourceVersion+") does not match the ResourceVersion in record ("+old.GetResourceVersion()+"). The object might have been modified")
		}
	}
	switch {
	case at.resource == Namespaces:
		return s.deleteNamespace(at, old), nil
	case at.resource == Pods && podRuns(old) && !now(options):
		return s.mark(at, old, ""), nil
	}
	dependents := s.dependents(old.GetUID())
	switch propagation(at.resource, options) {
	case metav1.DeletePropagationOrphan:
		for _, d := range dependents {
			s.disown(d, old.GetUID())
		}
	case metav1.DeletePropagationForeground:
		if len(dependents) > 0 {
			marked := s.mark(at, old, metav1.FinalizerDeleteDependents)
			s.deleteAll(dependents)
			return marked, nil
		}
	default:
		defer s.deleteAll(dependents)
	}
	if len(old.GetFinalizers()) > 0 {
		return s.mark(at, old, ""), nil
	}
	s.remove(at)
	return old.DeepCopy(), nil
}

// propagation is the policy asked for, or the default: dependents go in the background, but those of a batch/v1 Job are
// orphaned, a compatibility that has left many a pod behind (DefaultGarbageCollectionPolicy in Kubernetes'
// pkg/registry/batch/job/strategy.go).
func propagation(r *Resource, o metav1.DeleteOptions) metav1.DeletionPropagation {
	if o.PropagationPolicy != nil {
		return *o.PropagationPolicy
	}
	if r == Jobs {
		return metav1.DeletePropagationOrphan
	}
	return metav1.DeletePropagationBackground
}

func now(o metav1.DeleteOptions) bool {
	return o.GracePeriodSeconds != nil && *o.GracePeriodSeconds == 0
}

func podRuns(pod *unstructured.Unstructured) bool {
	phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
	return phase == "Running" || phase == "Pending"
}

// mark sets the deletion timestamp, once, and a finalizer.
func (s *Store) mark(at key, old *unstructured.Unstructured, finalizer string) *unstructured.Unstructured {
	o := old.DeepCopy()
	if o.GetDeletionTimestamp() == nil {
		at := s.now()
		o.SetDeletionTimestamp(&at)
	}
	if finalizer != "" && !slices.Contains(o.GetFinalizers(), finalizer) {
		o.SetFinalizers(append(o.GetFinalizers(), finalizer))
	}
	s.put(at, o, watch.Modified)
	return o.DeepCopy()
}

// remove takes the object away for good, and then an owner that waited for its dependents.
func (s *Store) remove(at key) {
	o := s.objects[at].DeepCopy()
	delete(s.objects, at)
	for applied := range s.applied {
		if len(applied) > 36 && applied[:36] == string(o.GetUID()) {
			delete(s.applied, applied)
		}
	}
	s.version++
	o.SetResourceVersion(formatVersion(s.version))
	s.tell(Change{watch.Deleted, at.resource, o})
	s.save()
	for _, ref := range o.GetOwnerReferences() {
		s.finishForeground(ref.UID)
	}
}

func (s *Store) finishForeground(owner types.UID) {
	if len(s.dependents(owner)) > 0 {
		return
	}
	for at, o := range s.objects {
		if o.GetUID() != owner || !slices.Contains(o.GetFinalizers(), metav1.FinalizerDeleteDependents) {
			continue
		}
		if len(o.GetFinalizers()) == 1 {
			s.remove(at)
		}
		return
	}
}

func (s *Store) dependents(owner types.UID) []key {
	var keys []key
	for at, o := range s.objects {
		if slices.ContainsFunc(o.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return ref.UID == owner }) {
			keys = append(keys, at)
		}
	}
	return keys
}

func (s *Store) disown(at key, owner types.UID) {
	o := s.objects[at].DeepCopy()
	o.SetOwnerReferences(slices.DeleteFunc(o.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return ref.UID == owner }))
	s.put(at, o, watch.Modified)
}

func (s *Store) deleteAll(keys []key) {
	background := metav1.DeletePropagationBackground
	for _, at := range keys {
		if o, ok := s.objects[at]; ok && o.GetDeletionTimestamp() == nil {
			_, _ = s.delete(at, metav1.DeleteOptions{PropagationPolicy: &background})
		}
	}
}

// deleteNamespace marks the namespace and empties it; it goes when the last thing in it has gone.
func (s *Store) deleteNamespace(at key, old *unstructured.Unstructured) *unstructured.Unstructured {
	if old.GetDeletionTimestamp() != nil {
		return old.DeepCopy()
	}
	o := old.DeepCopy()
	_ = unstructured.SetNestedField(o.Object, "Terminating", "status", "phase")
	marked := s.mark(at, o, "")
	s.after(0, func() { s.emptyNamespace(at) })
	return marked
}

func (s *Store) emptyNamespace(at key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	namespace, ok := s.objects[at]
	if !ok {
		return
	}
	var inside []key
	for k := range s.objects {
		if k.namespace == at.name {
			inside = append(inside, k)
		}
	}
	if len(inside) == 0 && len(namespace.GetFinalizers()) == 0 {
		s.remove(at)
		return
	}
	s.deleteAll(inside)
	s.after(20*time.Millisecond, func() { s.emptyNamespace(at) })
}
