package agentpod_test

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube/gvr"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

const runID = "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8"

func request() events.AgentRequested {
	return events.AgentRequested{
		RunRef:    events.RunRef{RunID: runID, Project: "acme/shop & more", Repository: "Acme/Shop", Issue: 12},
		Namespace: "codexk8s-run-7f1c8f5e3b57",
		Stage:     "dev",
		Role:      "dev",
		Engine:    "codex",
		CPU:       "2",
		Memory:    "4Gi",
		Deadline:  now.Add(90 * time.Minute),
		ExpiresAt: now.Add(24 * time.Hour),

		Kubernetes: events.KubernetesRead,
	}
}

func platform() agentpod.Platform {
	p := agentpod.DefaultPlatform()
	p.Image = "registry.example/agent-runner@sha256:2222222222222222222222222222222222222222222222222222222222222222"
	p.GatewayURL = "http://agent-gateway.codexk8s.svc.cluster.local"
	p.LLMURL = "http://llm-caller.codexk8s.svc.cluster.local/v1"
	return p
}

func build(t *testing.T, r events.AgentRequested) agentpod.Objects {
	t.Helper()
	o, err := agentpod.Build(r, platform(), "header.claims.signature", now)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// golden compares an object, as the API server gets it, with testdata/<name>.yaml.
func golden(t *testing.T, name string, o agentpod.Object) {
	t.Helper()
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o.Value)
	if err != nil {
		t.Fatal(err)
	}
	delete(m, "status")
	got, err := yaml.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got, -update writes it anew):\n%s", file, diff)
	}
}

func TestObjects(t *testing.T) {
	o := build(t, request())
	golden(t, "namespace", o.Namespace)
	golden(t, "job", o.Job)
	for _, object := range o.Support {
		kind := strings.ToLower(object.Value.GetObjectKind().GroupVersionKind().Kind)
		if object.Resource == gvr.NetworkPolicies {
			kind += "-" + object.Value.GetName()
		}
		golden(t, kind, object)
	}
}

func TestJobOfAnotherSizeAndRuntime(t *testing.T) {
	r := request()
	r.Role, r.CPU, r.Memory, r.Runtime, r.Attempt = "sre", "6", "12Gi", "gvisor", 2
	o := build(t, r)
	golden(t, "job-large", o.Job)
	for _, object := range o.Support {
		if object.Resource == gvr.ResourceQuotas {
			golden(t, "resourcequota-large", object)
		}
	}
}

func TestEveryObjectCanBeRecognised(t *testing.T) {
	r := request()
	o := build(t, r)
	for _, object := range append([]agentpod.Object{o.Namespace, o.Job}, o.Support...) {
		kind := object.Value.GetObjectKind().GroupVersionKind().Kind
		if !agentpod.BelongsTo(object.Value, runID) || agentpod.BelongsTo(object.Value, "another") {
			t.Errorf("%s: labels %v don't tell the run", kind, object.Value.GetLabels())
		}
		if ref, ok := agentpod.RunOf(object.Value); !ok || ref != r.RunRef {
			t.Errorf("%s: run read back as %+v, %v", kind, ref, ok)
		}
		for key, value := range object.Value.GetLabels() {
			if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); problems != nil {
				t.Errorf("%s: label %s=%s: %v", kind, key, value, problems)
			}
		}
		if problems := validation.IsDNS1123Label(object.Value.GetName()); problems != nil {
			t.Errorf("%s: name %s: %v", kind, object.Value.GetName(), problems)
		}
	}
}

func TestAgentReadsNoSecrets(t *testing.T) {
	for _, rule := range agentpod.AgentRules(events.KubernetesRead) {
		for _, resource := range rule.Resources {
			if resource == "secrets" || resource == "*" {
				t.Errorf("the agent's role includes %s", resource)
			}
		}
		if diff := cmp.Diff([]string{"get", "list", "watch"}, rule.Verbs); diff != "" {
			t.Errorf("the agent's role does more than read (-want +got):\n%s", diff)
		}
	}
}

func TestSecretStandsNowhereButInTheSecret(t *testing.T) {
	o := build(t, request())
	job, err := yaml.Marshal(o.Job.Value)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(job), "header.claims.signature") {
		t.Error("the Job contains the run token")
	}
}

func TestRefusedRequests(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*events.AgentRequested)
		reason string
	}{
		"no run":            {func(r *events.AgentRequested) { r.RunID = "" }, "invalid_request"},
		"no issue":          {func(r *events.AgentRequested) { r.Issue = 0 }, "invalid_request"},
		"somebody's space":  {func(r *events.AgentRequested) { r.Namespace = "kube-system" }, "namespace_invalid"},
		"endless namespace": {func(r *events.AgentRequested) { r.Namespace += strings.Repeat("a", 63) }, "namespace_invalid"},
		"too late":          {func(r *events.AgentRequested) { r.Deadline = now }, "deadline_exceeded"},
		"no quantity":       {func(r *events.AgentRequested) { r.Memory = "much" }, "invalid_request"},
		"negative":          {func(r *events.AgentRequested) { r.CPU = "-1" }, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request()
			test.change(&r)
			_, err := agentpod.Build(r, platform(), "token", now)
			var refusal *agentpod.Refusal
			if !errors.As(err, &refusal) || refusal.Reason != test.reason {
				t.Errorf("Build: %v, want a refusal for %s", err, test.reason)
			}
		})
	}
}

func TestGitRanges(t *testing.T) {
	o, err := agentpod.Build(request(), func() agentpod.Platform {
		p := platform()
		p.GitCIDRs = []netip.Prefix{netip.MustParsePrefix("10.250.1.1/32"), netip.MustParsePrefix("192.0.0.0/2")}
		p.GitPorts = []int32{3000}
		return p
	}(), "token", now)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "networkpolicy-egress-git-own-server", o.Support[len(o.Support)-1])
	p := platform()
	p.GitCIDRs = nil
	if o, err = agentpod.Build(request(), p, "token", now); err != nil {
		t.Fatal(err)
	}
	golden(t, "networkpolicy-egress-git-nowhere", o.Support[len(o.Support)-1])
}

// The internet ends before the addresses at which a cloud gives its machines their credentials, whatever the ports.
func TestNoGitRangeHoldsTheMachinesCredentials(t *testing.T) {
	o, err := agentpod.Build(request(), platform(), "token", now)
	if err != nil {
		t.Fatal(err)
	}
	git := o.Support[len(o.Support)-1].Value.(*networkingv1.NetworkPolicy)
	allows := func(at netip.Addr) (by string) {
		for _, to := range git.Spec.Egress[0].To {
			allowed := netip.MustParsePrefix(to.IPBlock.CIDR).Contains(at)
			for _, except := range to.IPBlock.Except {
				allowed = allowed && !netip.MustParsePrefix(except).Contains(at)
			}
			if allowed {
				return to.IPBlock.CIDR
			}
		}
		return ""
	}
	for _, github := range []string{"140.82.121.3", "64:ff9b::8c52:7903", "2606:50c0:8000::153"} {
		if allows(netip.MustParseAddr(github)) == "" {
			t.Errorf("GitHub at %s can't be reached", github)
		}
	}
	for cloud, address := range map[string]string{
		"most": "169.254.169.254", "AWS": "fd00:ec2::254", "Google": "fd20:ce::254", "Azure": "168.63.129.16", "Alibaba": "100.100.100.200", "AWS, task": "169.254.170.2",
	} {
		at := netip.MustParseAddr(address)
		if by := allows(at); by != "" {
			t.Errorf("%s: %s is part of %s", cloud, address, by)
		}
		if !at.Is4() {
			continue
		}
		mapped := netip.MustParsePrefix("64:ff9b::/96").Addr().As16()
		copy(mapped[12:], at.AsSlice())
		if by := allows(netip.AddrFrom16(mapped)); by != "" {
			t.Errorf("%s: %s through NAT64 is part of %s", cloud, address, by)
		}
	}
	for _, address := range []string{"64:ff9b:1::a9fe:a9fe", "64:ff9b:1:ffff::1", "64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b::c0a8:101"} {
		if by := allows(netip.MustParseAddr(address)); by != "" {
			t.Errorf("%s is part of %s", address, by)
		}
	}
}

// What the probe must not reach follows from what the policies allow.
func TestForbidden(t *testing.T) {
	const everywhere = "169.254.169.254:80,[fd00:ec2::254]:80,100.100.100.200:80,168.63.129.16:80,db.example:5432"
	for name, test := range map[string]struct {
		change func(*agentpod.Platform)
		want   string
	}{
		"git anywhere":             {func(*agentpod.Platform) {}, everywhere + ",1.1.1.1:80"},
		"git on its own server":    {func(p *agentpod.Platform) { p.GitCIDRs = []netip.Prefix{netip.MustParsePrefix("10.250.1.1/32")} }, everywhere + ",1.1.1.1:443,1.1.1.1:80"},
		"git anywhere by any port": {func(p *agentpod.Platform) { p.GitPorts = []int32{80, 443} }, everywhere},
	} {
		p := platform()
		p.Forbidden = []string{"db.example:5432"}
		test.change(&p)
		o, err := agentpod.Build(request(), p, "token", now)
		if err != nil {
			t.Fatal(err)
		}
		probe := o.Job.Value.(*batchv1.Job).Spec.Template.Spec.InitContainers[0]
		if got := probe.Env[len(probe.Env)-1]; got.Name != "PROBE_FORBIDDEN" || got.Value != test.want {
			t.Errorf("%s: %+v, want %s", name, got, test.want)
		}
		for _, e := range probe.Env {
			if e.ValueFrom != nil {
				t.Errorf("%s: the probe gets %s", name, e.Name)
			}
		}
	}
	p := platform()
	p.Probe = false
	o, err := agentpod.Build(request(), p, "token", now)
	if err != nil {
		t.Fatal(err)
	}
	if first := o.Job.Value.(*batchv1.Job).Spec.Template.Spec.InitContainers; first != nil {
		t.Errorf("without the probe: %v", first)
	}
}

func TestPlatformIsChecked(t *testing.T) {
	if err := platform().Validate(); err != nil {
		t.Errorf("the default platform: %v", err)
	}
	for name, spoil := range map[string]func(*agentpod.Platform){
		"no image":         func(p *agentpod.Platform) { p.Image = "" },
		"no gateways":      func(p *agentpod.Platform) { p.Gateways = nil },
		"no port":          func(p *agentpod.Platform) { p.Forbidden = []string{"db.example"} },
		"metadata service": func(p *agentpod.Platform) { p.GitCIDRs = []netip.Prefix{netip.MustParsePrefix("169.254.169.254/32")} },
	} {
		p := platform()
		spoil(&p)
		if p.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
