package agentpod

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Platform is what every run has in common: where the agent's image and our
// gateways are, and what this cluster's network looks like.
// Start from [DefaultPlatform]; Image, GatewayURL and LLMURL have no default.
type Platform struct {
	Image      string // image of agent-runner, preferably by digest
	GatewayURL string // agent-gateway: the agent's AGENT_GATEWAY_URL
	LLMURL     string // llm-caller, ends in /v1: the agent's LLM_URL

	// Gateways are the pods that calls of GatewayURL and LLMURL go to. Knative resolves a cluster-local Service to its
	// ingress gateway, so these are the ingress's pods, not those of agent-gateway and llm-caller.
	Gateways []Peer
	// GatewayPorts are ports of those pods, not of their Service: policies apply after the Service's address is
	// translated.
	GatewayPorts []int32
	DNS          []Peer

	// GitCIDRs are where the agent may clone from and push to. Private and link-local addresses are excluded from a
	// range that contains them; a range that is entirely private (your own Git server) is taken as it is.
	GitCIDRs []netip.Prefix
	GitPorts []int32

	// Probe makes a run's pod prove that it is isolated before its agent starts.
	Probe bool
	// Forbidden is what the probe must not reach, host:port, in addition to what is forbidden everywhere: the database,
	// the Broker, hosts that the operator names.
	Forbidden []string

	// SandboxVersion is agent-sandbox's version of its API, v1beta1 or v1alpha1; "" = it
	// is not set up, and projects that want it are refused.
	SandboxVersion string

	JobTTL time.Duration // how long a finished Job stays for people to look at
	Grace  time.Duration // from SIGTERM to SIGKILL: time to save the session
}

// Size is what one agent's container may use at most; it requests a quarter of the CPU and half of the memory.
type Size struct{ CPU, Memory resource.Quantity }

// A Peer is pods in a namespace (all of them without Labels), or an address range.
type Peer struct {
	Namespace string
	Labels    map[string]string
	CIDR      netip.Prefix
}

// DefaultPlatform suits a Knative with Kourier or Istio as its ingress, in its
// usual namespaces, and Git hosting anywhere on the internet.
//
// Both listen on port 8081 for cluster-local traffic: kourier-internal and knative-local-gateway lead there. Nothing
// else in knative-serving listens on it.
func DefaultPlatform() Platform {
	return Platform{
		Gateways: []Peer{
			{Namespace: "kourier-system", Labels: map[string]string{"app": "3scale-kourier-gateway"}},
			{Namespace: "istio-system", Labels: map[string]string{"istio": "ingressgateway"}},
			{Namespace: "knative-serving"},
		},
		GatewayPorts: []int32{8081},
		DNS:          []Peer{{Namespace: "kube-system", Labels: map[string]string{"k8s-app": "kube-dns"}}},
		GitCIDRs:     []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
		GitPorts:     []int32{443, 22},
		Probe:        true,
		JobTTL:       time.Hour,
		Grace:        time.Minute,
	}
}

// Validate says what is missing, or would make a policy that lets the agent reach what it must not reach.
func (p Platform) Validate() error {
	if p.Image == "" || p.GatewayURL == "" || p.LLMURL == "" {
		return fmt.Errorf("the agent's image %q, the URL of agent-gateway %q or that of llm-caller %q is missing", p.Image, p.GatewayURL, p.LLMURL)
	}
	if len(p.Gateways) == 0 || len(p.GatewayPorts) == 0 || len(p.DNS) == 0 {
		return fmt.Errorf("without gateway peers, gateway ports and DNS peers an agent reaches nothing")
	}
	for _, address := range p.Forbidden {
		colon := strings.LastIndexByte(address, ':')
		if port, err := strconv.ParseUint(address[colon+1:], 10, 16); colon < 1 || err != nil || port == 0 {
			return fmt.Errorf("forbidden address %q: want host:port, [address]:port for IPv6", address)
		}
	}
	for _, cidr := range p.GitCIDRs {
		if linkLocal.Overlaps(cidr) && cidr.Bits() >= linkLocal.Bits() {
			return fmt.Errorf("git range %s is link-local, where clouds keep the credentials of the machine", cidr)
		}
	}
	if v := p.SandboxVersion; v != "" && v != "v1beta1" && v != "v1alpha1" {
		return fmt.Errorf("agent-sandbox's API %q is not known: want v1beta1 or v1alpha1", v)
	}
	return nil
}
