package manifests_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"

	"codexk8s.dev/shared/agentpod"
)

// TestAdmission: agent-launcher's rights hold in the whole cluster, the policy narrows them; a hole in what it applies
// to would be silent. What its expressions say is tried on a cluster (test/cluster).
func TestAdmission(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "config/260-admission.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	docs := bytes.Split(data, []byte("\n---\n"))
	var policy admissionv1.ValidatingAdmissionPolicy
	var binding admissionv1.ValidatingAdmissionPolicyBinding
	if len(docs) != 2 {
		t.Fatalf("%d documents", len(docs))
	}
	for i, into := range []any{&policy, &binding} {
		if err := yaml.UnmarshalStrict(docs[i], into); err != nil {
			t.Fatal(err)
		}
	}
	if binding.Spec.PolicyName != policy.Name || !slices.Contains(binding.Spec.ValidationActions, admissionv1.Deny) || binding.Spec.MatchResources != nil {
		t.Errorf("the binding %+v does not enforce policy %s everywhere", binding.Spec, policy.Name)
	}
	if policy.Spec.FailurePolicy == nil || *policy.Spec.FailurePolicy != admissionv1.Fail {
		t.Error("an expression that fails lets everything pass")
	}
	rule := policy.Spec.MatchConstraints.ResourceRules[0].RuleWithOperations
	for _, o := range []admissionv1.OperationType{admissionv1.Create, admissionv1.Update, admissionv1.Delete} {
		if !slices.Contains(rule.Operations, o) {
			t.Errorf("the policy does not hear of %s", o)
		}
	}
	if !slices.Equal(rule.APIGroups, []string{"*"}) || !slices.Equal(rule.Resources, []string{"*/*"}) {
		t.Errorf("the policy applies to %v of %v only", rule.Resources, rule.APIGroups)
	}
	account := load(t).accounts["agent-launcher"]
	want := `request.userInfo.username == "system:serviceaccount:` + account.Namespace + ":" + account.Name + `"`
	if c := policy.Spec.MatchConditions; len(c) != 1 || c[0].Expression != want {
		t.Errorf("the policy is for %+v, want %s", c, want)
	}
	if got, want := policy.Spec.Validations[0].Expression, `variables.touched.startsWith(`+strconv.Quote(agentpod.NamespacePrefix)+`)`; got != want {
		t.Errorf("first validation %s, want %s", got, want)
	}
	for _, v := range policy.Spec.Validations[1:] {
		for _, label := range []string{agentpod.LabelManagedBy, agentpod.ManagedBy} {
			if !bytes.Contains([]byte(v.Expression), []byte(strconv.Quote(label))) {
				t.Errorf("%s does not ask for %s", v.Expression, label)
			}
		}
	}
}
