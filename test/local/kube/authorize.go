package kube

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// account is who a request comes from: a service account, or, as the zero value, the person who set the cluster up, who
// may do everything.
type account struct{ namespace, name string }

func (a account) String() string { return "system:serviceaccount:" + a.namespace + ":" + a.name }

// tokenOf returns the token by which an account is known to this server.
func (v *Server) tokenOf(a account) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	for token, known := range v.accounts {
		if known == a {
			return token
		}
	}
	token := rand.Text()
	v.accounts[token] = a
	return token
}

// verb names what a request wants to do, as rules do.
func verb(r *http.Request, q request) string {
	watching := r.URL.Query().Get("watch")
	switch {
	case r.Method == http.MethodGet && q.name != "":
		return "get"
	case r.Method == http.MethodGet && watching != "" && watching != "false":
		return "watch"
	case r.Method == http.MethodGet:
		return "list"
	case r.Method == http.MethodPost:
		return "create"
	case r.Method == http.MethodPut:
		return "update"
	case r.Method == http.MethodDelete && q.name == "":
		return "deletecollection"
	}
	return strings.ToLower(r.Method)
}

// authorize refuses a request that no rule of the account allows.
func (v *Server) authorize(a account, verb string, q request) error {
	if a == (account{}) {
		return nil
	}
	plural := q.resource.Plural
	if q.subresource != "" {
		plural += "/" + q.subresource
	}
	if permits(v.Store.rulesOf(a, q.namespace), verb, q.resource.Group, plural, q.name) {
		return nil
	}
	scope := "at the cluster scope"
	if q.namespace != "" {
		scope = fmt.Sprintf("in the namespace %q", q.namespace)
	}
	return apierrors.NewForbidden(q.resource.groupResource(), q.name,
		fmt.Errorf("User %q cannot %s resource %q in API group %q %s", a, verb, plural, q.resource.Group, scope))
}

// permits says whether one of the rules allows a verb on a resource. An object that is created has no name yet, and a
// rule for named objects says nothing about it.
func permits(rules []rbacv1.PolicyRule, verb, group, plural, name string) bool {
	holds := func(list []string, value string) bool {
		return slices.Contains(list, value) || slices.Contains(list, "*")
	}
	return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
		return holds(r.Verbs, verb) && holds(r.APIGroups, group) && holds(r.Resources, plural) &&
			(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, name))
	})
}

// rulesOf collects what the account may do in a namespace, or, with "", in all of them and on what is in none. A
// ClusterRole that is made up of others by aggregationRule has only its own rules here.
func (s *Store) rulesOf(a account, namespace string) (rules []rbacv1.PolicyRule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, o := range s.objects {
		if at.resource != ClusterRoleBindings && (at.resource != RoleBindings || at.namespace != namespace) {
			continue
		}
		var b rbacv1.RoleBinding // a ClusterRoleBinding has the same fields
		if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &b) != nil {
			continue
		}
		bound := slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool {
			return s.Kind == rbacv1.ServiceAccountKind && s.Namespace == a.namespace && s.Name == a.name
		})
		if bound {
			rules = append(rules, s.rulesIn(b.RoleRef, at.namespace)...)
		}
	}
	return rules
}

func roleKey(ref rbacv1.RoleRef, namespace string) key {
	if ref.Kind == ClusterRoles.Kind {
		return key{ClusterRoles, "", ref.Name}
	}
	return key{Roles, namespace, ref.Name}
}

// rulesIn are the rules of the role that a binding names. The caller holds the lock.
func (s *Store) rulesIn(ref rbacv1.RoleRef, namespace string) []rbacv1.PolicyRule {
	o, ok := s.objects[roleKey(ref, namespace)]
	if !ok {
		return nil
	}
	var role rbacv1.Role
	if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role) != nil {
		return nil
	}
	return role.Rules
}

// escalates refuses a role, or a binding to one, that grants what the account itself may not do.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
func (v *Server) escalates(a account, q request, body []byte) error {
	if a == (account{}) || q.resource.Group != rbacv1.GroupName {
		return nil
	}
	var given struct {
		Rules   []rbacv1.PolicyRule `json:"rules"`
		RoleRef rbacv1.RoleRef      `json:"roleRef"`
	}
	if err := json.Unmarshal(body, &given); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	anyway, there := "escalate", true
	if q.resource == RoleBindings || q.resource == ClusterRoleBindings {
		anyway = "bind"
		v.Store.mu.Lock()
		given.Rules = v.Store.rulesIn(given.RoleRef, q.namespace)
		_, there = v.Store.objects[roleKey(given.RoleRef, q.namespace)]
		v.Store.mu.Unlock()
	}
	own := v.Store.rulesOf(a, q.namespace)
	if permits(own, anyway, q.resource.Group, q.resource.Plural, q.name) {
		return nil
	}
	if !there { // a role that comes later can't be judged; the API server says it of the binding, too
		return apierrors.NewNotFound(q.resource.groupResource(), given.RoleRef.Name)
	}
	var missing []error
	for _, rule := range given.Rules {
		for _, verb := range rule.Verbs {
			if !covers(own, rule, verb) {
				missing = append(missing, fmt.Errorf("%s %s of API groups %q", verb, strings.Join(rule.Resources, ","), rule.APIGroups))
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return apierrors.NewForbidden(q.resource.groupResource(), q.name, fmt.Errorf(
		"user %q is attempting to grant RBAC permissions not currently held: %w", a, errors.Join(missing...)))
}

// covers says whether the rules allow the verb on all that the rule names.
func covers(rules []rbacv1.PolicyRule, rule rbacv1.PolicyRule, verb string) bool {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, plural := range rule.Resources {
			for _, name := range names {
				if !permits(rules, verb, group, plural, name) {
					return false
				}
			}
		}
	}
	return true
}

// SetRules replaces the cluster-wide roles and bindings, and those of the namespace, by the given objects. A right that
// a manifest no longer gives must not live on in kept state.
func (s *Store) SetRules(namespace string, objects []*unstructured.Unstructured) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range s.objects {
		if at.resource.Group == rbacv1.GroupName && (at.resource.Cluster || at.namespace == namespace) {
			delete(s.objects, at)
		}
	}
	for _, o := range objects {
		i := slices.IndexFunc(resources, func(r *Resource) bool { return r.Group == rbacv1.GroupName && r.Kind == o.GetKind() })
		if i < 0 {
			return fmt.Errorf("%s %s is no object of %s", o.GetKind(), o.GetName(), rbacv1.GroupName)
		}
		delete(s.objects, key{resources[i], o.GetNamespace(), o.GetName()})
		if _, err := s.create(resources[i], o); err != nil {
			return fmt.Errorf("making %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}
