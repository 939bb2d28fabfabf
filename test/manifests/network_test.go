package manifests_test

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// egressOf are the ports that a pod with these labels may reach anywhere, sorted, and
// whether any policy holds it back at all.
func (m tree) egressOf(t *testing.T, pod map[string]string) (ports []int, held bool) {
	t.Helper()
	for name, p := range m.policies {
		selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) || !selector.Matches(labels.Set(pod)) {
			continue
		}
		held = true
		for _, rule := range p.Spec.Egress {
			for _, port := range rule.Ports {
				if len(rule.To) == 0 {
					ports = append(ports, port.Port.IntValue())
				}
			}
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports), held
}

// TestEgress: each function reaches the ports that it needs and no others; none
// reaches a cloud's metadata service, which is on port 80.
func TestEgress(t *testing.T) {
	const dns, postgres = 53, 5432
	kubernetes := []int{dns, 443, postgres, 6443, 8443, 16443}
	m := load(t)
	want := map[string][]int{
		"agent-gateway":     {dns, 443, postgres},
		"agent-launcher":    kubernetes,
		"approval-callback": {dns, 443, postgres},
		"approval-gate":     {dns, postgres},
		"approval-notifier": {dns, 443, postgres},
		"console":           {dns, 443, postgres},
		"github-caller":     {dns, 443, postgres},
		"llm-caller":        {dns, 443, postgres},
		"run-observer":      kubernetes,
		"stage-router":      {dns, postgres},
		"timekeeper":        {dns, 443, postgres},
		"webhook-adapter":   {dns, postgres},
	}
	got := map[string][]int{}
	for name := range m.services {
		ports, held := m.egressOf(t, map[string]string{"serving.knative.dev/service": name})
		if !held {
			t.Errorf("%s may reach everything", name)
		}
		got[name] = ports
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ports that functions may reach (-want +got):\n%s", diff)
	}
	if ports, held := m.egressOf(t, map[string]string{"batch.kubernetes.io/job-name": "migrate"}); !held || !slices.Equal(ports, []int{dns, postgres}) {
		t.Errorf("migrate may reach %v (held back: %v)", ports, held)
	}
	// A name in a policy that nobody has would silently select nothing.
	for name, p := range m.policies {
		for _, e := range p.Spec.PodSelector.MatchExpressions {
			for _, value := range e.Values {
				if m.services[value] == nil {
					t.Errorf("policy %s selects %s, which is no Service: there are %v", name, value, slices.Sorted(maps.Keys(m.services)))
				}
			}
		}
	}
}

// TestTickLetsTimekeeperSleep: an idle pod goes after Knative's default window of 60 s
// and grace of 30 s, so a tick has to be rarer to leave a platform at zero most of the time.
func TestTickLetsTimekeeperSleep(t *testing.T) {
	every := regexp.MustCompile(`^\*/(\d+) \* \* \* \*$`)
	for name, p := range load(t).pings {
		match := every.FindStringSubmatch(p.Spec.Schedule)
		if match == nil {
			t.Errorf("PingSource %s: schedule %q is not one of every few minutes", name, p.Spec.Schedule)
			continue
		}
		if minutes, _ := strconv.Atoi(match[1]); minutes < 2*(60+30)/60 {
			t.Errorf("PingSource %s: every %d min keeps timekeeper awake more than half of the time", name, minutes)
		}
	}
}
