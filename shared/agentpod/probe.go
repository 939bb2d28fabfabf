package agentpod

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"codexk8s.dev/shared/events"
)

// probeName is the init container that checks that the network policies are enforced: an agent starts only where it
// can't reach what it must not. A policy does nothing until a network plug-in enforces it, and some clusters have none.
const probeName = "probe"

// metadata is where clouds keep the credentials of the machine that a pod is on: most of them, AWS by IPv6, Alibaba,
// and Azure beside the first.
var metadata = []string{"169.254.169.254:80", "[fd00:ec2::254]:80", "100.100.100.200:80", "168.63.129.16:80"}

// public are addresses on the internet that answer on both ports: Cloudflare's
// resolver. https://developers.cloudflare.com/1.1.1.1/ip-addresses/
var public = []netip.AddrPort{netip.MustParseAddrPort("1.1.1.1:443"), netip.MustParseAddrPort("1.1.1.1:80")}

// forbidden is what the probe must not be able to connect to, except for the API server: the probe takes that address
// from its own environment.
func (p Platform) forbidden() []string {
	all := slices.Concat(metadata, p.Forbidden)
	for _, a := range public {
		git := slices.Contains(p.GitPorts, int32(a.Port())) &&
			slices.ContainsFunc(p.GitCIDRs, func(cidr netip.Prefix) bool { return cidr.Contains(a.Addr()) })
		if !git {
			all = append(all, a.String())
		}
	}
	return all
}

// probe is the Job's first container. It has no token, no volume, and exits with
// exitcode.Never where the namespace isn't isolated.
func probe(r events.AgentRequested, p Platform) corev1.Container {
	return corev1.Container{
		Name:  probeName,
		Image: p.Image,
		Args:  []string{"probe"},
		Env: []corev1.EnvVar{
			{Name: "RUN_ID", Value: r.RunID},
			{Name: "AGENT_GATEWAY_URL", Value: p.GatewayURL},
			{Name: "LLM_URL", Value: p.LLMURL},
			{Name: "PROBE_FORBIDDEN", Value: strings.Join(p.forbidden(), ",")},
		},
		Resources: corev1.ResourceRequirements{
			Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
		},
		SecurityContext:          restricted(),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}
