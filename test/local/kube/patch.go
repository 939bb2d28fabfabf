package kube

import (
	"encoding/json"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"
)

// Patch is one patch request.
type Patch struct {
	Resource        *Resource
	Namespace, Name string
	Type            types.PatchType
	Body            []byte
	Status          bool   // of the status subresource
	Manager         string // fieldManager; needed to apply
}

// Patch changes an object, or creates it when it is applied and not there; created says so.
func (s *Store) Patch(p Patch) (o *unstructured.Unstructured, created bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.objects[key{p.Resource, p.Namespace, p.Name}]
	if p.Type == types.ApplyPatchType {
		return s.apply(p, old)
	}
	if !ok {
		return nil, false, p.Resource.notFound(p.Name)
	}
	before, err := old.MarshalJSON()
	if err != nil {
		return nil, false, apierrors.NewInternalError(err)
	}
	var after []byte
	switch p.Type {
	case types.JSONPatchType:
		var patch jsonpatch.Patch
		if patch, err = jsonpatch.DecodePatch(p.Body); err == nil {
			after, err = patch.Apply(before)
		}
	case types.MergePatchType:
		after, err = jsonpatch.MergePatch(before, p.Body)
	case types.StrategicMergePatchType:
		after, err = strategicpatch.StrategicMergePatch(before, p.Body, p.Resource.sample())
	default:
		return nil, false, apierrors.NewGenericServerResponse(415, "patch", p.Resource.groupResource(), p.Name, "unknown patch type "+string(p.Type), 0, false)
	}
	if err != nil {
		return nil, false, apierrors.NewBadRequest(err.Error())
	}
	o, err = s.replace(p, after)
	return o, false, err
}

// apply is server-side apply: what the manager said last and says no more is removed, what it says is set, the rest
// stays. Lists are replaced whole and two managers do not conflict, which the real server is finer about.
func (s *Store) apply(p Patch, old *unstructured.Unstructured) (*unstructured.Unstructured, bool, error) {
	if p.Manager == "" {
		return nil, false, apierrors.NewBadRequest("PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply patch")
	}
	said, err := yaml.YAMLToJSON(p.Body)
	if err != nil {
		return nil, false, apierrors.NewBadRequest(err.Error())
	}
	if old == nil {
		o, err := decode(said)
		if err != nil {
			return nil, false, err
		}
		if o.GetName() != p.Name {
			return nil, false, apierrors.NewBadRequest(fmt.Sprintf("name in URL (%s) does not match name in object (%s)", p.Name, o.GetName()))
		}
		o.SetNamespace(p.Namespace)
		if o, err = s.create(p.Resource, o); err != nil {
			return nil, false, err
		}
		s.applied[appliedKey(o, p)] = string(said)
		s.save()
		return o, true, nil
	}
	before, err := old.MarshalJSON()
	if err != nil {
		return nil, false, apierrors.NewInternalError(err)
	}
	last := s.applied[appliedKey(old, p)]
	if last == "" {
		last = "{}"
	}
	patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch([]byte(last), said, before)
	if err != nil {
		return nil, false, apierrors.NewBadRequest(err.Error())
	}
	after, err := jsonpatch.MergePatch(before, patch)
	if err != nil {
		return nil, false, apierrors.NewBadRequest(err.Error())
	}
	o, err := s.replace(p, after)
	if err == nil {
		s.applied[appliedKey(old, p)] = string(said)
		s.save()
	}
	return o, false, err
}

func appliedKey(o *unstructured.Unstructured, p Patch) string {
	half := "main"
	if p.Status {
		half = "status"
	}
	return fmt.Sprintf("%s/%s/%s", o.GetUID(), p.Manager, half)
}

func (s *Store) replace(p Patch, after []byte) (*unstructured.Unstructured, error) {
	o, err := decode(after)
	if err != nil {
		return nil, err
	}
	if o.GetName() != p.Name || o.GetNamespace() != p.Namespace {
		return nil, apierrors.NewBadRequest("a patch may not rename the object")
	}
	return s.update(p.Resource, o, p.Status)
}

// decode reads one object of JSON.
func decode(body []byte) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	if !json.Valid(body) {
		return nil, apierrors.NewBadRequest("the body is not JSON")
	}
	if err := o.UnmarshalJSON(body); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return o, nil
}

// success is the answer to a deletion that is done.
func success(r *Resource, o *unstructured.Unstructured) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusSuccess,
		Details:  &metav1.StatusDetails{Name: o.GetName(), Group: r.Group, Kind: r.Plural, UID: o.GetUID()},
	}
}
