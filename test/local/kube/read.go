package kube

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/version"
)

// list answers a list request. limit is not honoured: everything comes on the first page.
func (v *Server) list(r *http.Request, q request) (any, error) {
	selector, err := selectorOf(r)
	if err != nil {
		return nil, err
	}
	field, err := fieldsOf(r)
	if err != nil {
		return nil, err
	}
	all, version := v.Store.List(q.resource, q.namespace, selector)
	chosen := all[:0]
	for _, o := range all {
		if field.Matches(fieldSet{o}) {
			chosen = append(chosen, o)
		}
	}
	return listOf(q.resource, chosen, version), nil
}

func listOf(r *Resource, all []*unstructured.Unstructured, version string) map[string]any {
	items := make([]any, 0, len(all))
	for _, o := range all {
		items = append(items, o.Object)
	}
	return map[string]any{
		"apiVersion": r.APIVersion(), "kind": r.Kind + "List",
		"metadata": map[string]any{"resourceVersion": version},
		"items":    items,
	}
}

func fieldsOf(r *http.Request) (fields.Selector, error) {
	selector, err := fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return selector, nil
}

// fieldSet looks any path of strings up in an object; the real server knows only some of them per kind.
type fieldSet struct{ object *unstructured.Unstructured }

func (f fieldSet) Has(path string) bool { return f.Get(path) != "" }

func (f fieldSet) Get(path string) string {
	text, _, _ := unstructured.NestedString(f.object.Object, strings.Split(path, ".")...)
	return text
}

// watch streams changes. A watch that names a resourceVersion gets what is newer, one that names none gets what is
// there first.
func (v *Server) watch(w http.ResponseWriter, r *http.Request, q request) error {
	selector, err := selectorOf(r)
	if err != nil {
		return err
	}
	field, err := fieldsOf(r)
	if err != nil {
		return err
	}
	changes, stop, err := v.changes(r)
	if err != nil {
		return err
	}
	defer stop()
	end := time.After(time.Hour)
	if seconds, err := strconv.Atoi(r.URL.Query().Get("timeoutSeconds")); err == nil {
		end = time.After(time.Duration(seconds) * time.Second)
	}
	w.Header().Set("Content-Type", "application/json")
	flush := http.NewResponseController(w)
	_ = flush.Flush()
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-end:
			return nil
		case c, ok := <-changes:
			if !ok {
				return nil
			}
			if !wanted(c, q, selector, field) {
				continue
			}
			line := map[string]any{"type": c.Type, "object": c.Object.Object}
			if json.NewEncoder(w).Encode(line) != nil || flush.Flush() != nil {
				return nil
			}
		}
	}
}

func (v *Server) changes(r *http.Request) (<-chan Change, func(), error) {
	since, _ := strconv.ParseInt(r.URL.Query().Get("resourceVersion"), 10, 64)
	if since == 0 {
		changes, stop := v.Store.Watch()
		return changes, stop, nil
	}
	return v.Store.WatchFrom(since)
}

func wanted(c Change, q request, selector labels.Selector, field fields.Selector) bool {
	if c.Resource != q.resource || q.namespace != "" && c.Object.GetNamespace() != q.namespace {
		return false
	}
	return selector.Matches(labels.Set(c.Object.GetLabels())) && field.Matches(fieldSet{c.Object})
}

// discover answers what clients ask before their first request.
func (v *Server) discover(w http.ResponseWriter, r *http.Request) bool {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.Method != http.MethodGet:
		return false
	case r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || r.URL.Path == "/livez":
		_, _ = fmt.Fprint(w, "ok")
	case r.URL.Path == "/version":
		write(w, http.StatusOK, version.Info{Major: "1", Minor: "35", GitVersion: "v1.35.0-codexk8s-local"})
	case r.URL.Path == "/api":
		write(w, http.StatusOK, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	case r.URL.Path == "/apis":
		write(w, http.StatusOK, groups())
	case len(parts) == 2 && parts[0] == "api":
		return resourceList(w, "", parts[1])
	case len(parts) == 3 && parts[0] == "apis":
		return resourceList(w, parts[1], parts[2])
	default:
		return false
	}
	return true
}

func groups() metav1.APIGroupList {
	list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroupList"}}
	seen := map[string]bool{"": true}
	for _, r := range resources {
		if seen[r.Group] {
			continue
		}
		seen[r.Group] = true
		at := metav1.GroupVersionForDiscovery{GroupVersion: r.APIVersion(), Version: r.Version}
		list.Groups = append(list.Groups, metav1.APIGroup{Name: r.Group, Versions: []metav1.GroupVersionForDiscovery{at}, PreferredVersion: at})
	}
	return list
}

func resourceList(w http.ResponseWriter, group, version string) bool {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}}
	for _, r := range resources {
		if r.Group == group && r.Version == version {
			list.GroupVersion = r.APIVersion()
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: r.Plural, SingularName: strings.ToLower(r.Kind), Namespaced: !r.Cluster, Kind: r.Kind,
				Verbs: metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"},
			})
		}
	}
	if list.GroupVersion == "" {
		return false
	}
	write(w, http.StatusOK, list)
	return true
}
