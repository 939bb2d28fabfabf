package agentpod

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// linkLocal holds the metadata service of most clouds, 169.254.169.254.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// nat64 leads to IPv4 where a cluster has IPv6 alone: a gateway reads the last 32 bits as the address. One with a
// prefix of its own can't be known here; there the Git ranges have to be narrower than ::/0.
// https://www.rfc-editor.org/rfc/rfc6052#section-2.1
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// throughNAT64 is what a range of IPv4 is called in nat64.
func throughNAT64(v4 netip.Prefix) netip.Prefix {
	address := nat64.Addr().As16()
	copy(address[12:], v4.Addr().AsSlice())
	return netip.PrefixFrom(netip.AddrFrom16(address), nat64.Bits()+v4.Bits())
}

// private are the ranges of nodes, pods, Services and other machines of the owner, and of the cloud below them. An
// agent must not reach them.
// https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-special-registry
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT; also pods and nodes of some clouds, and Alibaba's metadata service
	netip.MustParsePrefix("127.0.0.0/8"),
	linkLocal,
	// Azure's: it hands out the settings of the machine, credentials of its kubelet among them.
	// https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
	netip.MustParsePrefix("168.63.129.16/32"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("64:ff9b:1::/48"), // NAT64 to whatever a network chooses, private addresses too (RFC 8215)
	netip.MustParsePrefix("fc00::/7"),       // also AWS's metadata service fd00:ec2::254
	netip.MustParsePrefix("fe80::/10"),
}

// policies is the namespace's whole network: nothing comes in, and what goes out is DNS, our gateways and Git hosting.
// Policies are additive, so each allows one thing and can be read (and deleted) by itself.
func policies(meta func(string) metav1.ObjectMeta, p Platform) []*networkingv1.NetworkPolicy {
	egress := func(name string, to []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) *networkingv1.NetworkPolicy {
		return &networkingv1.NetworkPolicy{
			ObjectMeta: meta(name),
			Spec: networkingv1.NetworkPolicySpec{
				// Every pod of the namespace, including the project's services.
				PodSelector: metav1.LabelSelector{},
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
				Egress:      []networkingv1.NetworkPolicyEgressRule{{To: to, Ports: ports}},
			},
		}
	}
	all := []*networkingv1.NetworkPolicy{
		{
			ObjectMeta: meta("default-deny"),
			Spec: networkingv1.NetworkPolicySpec{
				PodSelector: metav1.LabelSelector{},
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			},
		},
		egress("egress-dns", peers(p.DNS), append(ports(corev1.ProtocolUDP, 53), ports(corev1.ProtocolTCP, 53)...)),
		egress("egress-gateways", peers(p.Gateways), ports(corev1.ProtocolTCP, p.GatewayPorts...)),
	}
	var to []networkingv1.NetworkPolicyPeer
	for _, cidr := range p.GitCIDRs {
		to = append(to, ipBlock(cidr))
	}
	git := egress("egress-git", to, ports(corev1.ProtocolTCP, p.GitPorts...))
	if len(p.GitCIDRs) == 0 || len(p.GitPorts) == 0 {
		// A rule without peers or without ports would allow all of them. The policy is created nevertheless, to
		// overwrite what an earlier run of the issue was allowed.
		git.Spec.Egress = nil
	}
	return append(all, git)
}

func peers(ps []Peer) []networkingv1.NetworkPolicyPeer {
	var out []networkingv1.NetworkPolicyPeer
	for _, p := range ps {
		if p.CIDR.IsValid() {
			out = append(out, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: p.CIDR.String()}})
			continue
		}
		peer := networkingv1.NetworkPolicyPeer{
			// The label that the API server itself puts on every namespace.
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: p.Namespace}},
		}
		if len(p.Labels) > 0 {
			peer.PodSelector = &metav1.LabelSelector{MatchLabels: p.Labels}
		}
		out = append(out, peer)
	}
	return out
}

// ipBlock is the range without the private ranges that lie strictly inside it, which is what the API allows as
// exceptions.
func ipBlock(cidr netip.Prefix) networkingv1.NetworkPolicyPeer {
	block := &networkingv1.IPBlock{CIDR: cidr.String()}
	for _, p := range private {
		if p.Addr().Is4() && cidr.Addr().Is6() {
			p = throughNAT64(p)
		}
		if cidr.Bits() < p.Bits() && cidr.Contains(p.Addr()) {
			block.Except = append(block.Except, p.String())
		}
	}
	return networkingv1.NetworkPolicyPeer{IPBlock: block}
}

func ports(protocol corev1.Protocol, numbers ...int32) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for _, n := range numbers {
		port := intstr.FromInt32(n)
		out = append(out, networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &port})
	}
	return out
}
