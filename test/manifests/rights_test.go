package manifests_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// TestReadmeNamesEveryRight: config/README.md's tables of Kubernetes' rights and of Secrets say
// what the manifests give, and why for each right.
func TestReadmeNamesEveryRight(t *testing.T) {
	m := load(t)
	var rights []string
	grant := func(who, scope string, rules []rbacv1.PolicyRule) {
		for _, r := range rules {
			what := strings.Join(r.Resources, ", ")
			if strings.HasSuffix(r.APIGroups[0], ".knative.dev") { // "services" are Kubernetes' own as well
				what += " of " + strings.TrimSuffix(r.APIGroups[0], ".dev")
			}
			if r.ResourceNames != nil {
				what += " " + strings.Join(r.ResourceNames, ", ")
			}
			rights = append(rights, fmt.Sprintf("| %s | %s | %s | %s |", who, strings.Join(r.Verbs, ", "), what, scope))
		}
	}
	for name, role := range m.clusterRoles {
		grant(m.clusterHolders[name], "cluster", role.Rules)
	}
	for name, role := range m.roles {
		grant(m.holders[name], role.Namespace, role.Rules)
	}
	for dir, k := range kustomizations(t) {
		if k.Kind != "Component" || len(k.Resources) == 0 {
			continue
		}
		more := loadFiles(t, filepath.Join(dir, "*.yaml"))
		for name, role := range more.clusterRoles {
			grant(more.clusterHolders[name], "cluster, "+filepath.Base(dir), role.Rules)
		}
	}

	var secrets []string
	hold := func(name string, spec corev1.PodSpec) {
		var held []string
		for _, c := range spec.Containers {
			for _, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					held = append(held, strings.TrimPrefix(e.ValueFrom.SecretKeyRef.Name, "codexk8s-")+" "+e.ValueFrom.SecretKeyRef.Key)
				}
			}
		}
		for _, v := range spec.Volumes {
			if v.Secret != nil {
				held = append(held, strings.TrimPrefix(v.Secret.SecretName, "codexk8s-"))
			}
		}
		secrets = append(secrets, fmt.Sprintf("| %s | %s |", name, strings.Join(held, ", ")))
	}
	for name, s := range m.services {
		hold(name, s.Spec.Template.Spec.PodSpec)
	}
	for name, j := range m.jobs {
		hold(name, j.Spec.Template.Spec)
	}
	for name, j := range m.cronJobs {
		hold(name, j.Spec.JobTemplate.Spec.Template.Spec)
	}

	gotRights, gotSecrets := readmeTables(t)
	slices.Sort(rights)
	slices.Sort(secrets)
	if diff := cmp.Diff(rights, gotRights); diff != "" {
		t.Errorf("rights (-manifests +config/README.md):\n%s", diff)
	}
	if diff := cmp.Diff(secrets, gotSecrets); diff != "" {
		t.Errorf("Secrets (-manifests +config/README.md):\n%s", diff)
	}
}

// readmeTables are the rows of the section's two tables, sorted; the reason of a right is cut off.
func readmeTables(t *testing.T) (rights, secrets []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "config/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(data), "\n## Least privilege\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| function") {
			continue
		}
		switch len(cells) {
		case 2:
			secrets = append(secrets, line)
		case 5:
			if strings.TrimSpace(cells[4]) == "" {
				t.Errorf("no reason: %s", line)
			}
			rights = append(rights, "|"+strings.Join(cells[:4], "|")+"|")
		default:
			t.Errorf("a row of neither table: %s", line)
		}
	}
	slices.Sort(rights)
	slices.Sort(secrets)
	return rights, secrets
}
