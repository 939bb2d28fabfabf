package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"codexk8s.dev/shared/agentpod"
)

// parsePeers reads a comma-separated list of "namespace", "namespace/key=value"
// (more labels joined by "&") and address ranges such as "169.254.20.10/32".
func parsePeers(s string) ([]agentpod.Peer, error) {
	var peers []agentpod.Peer
	for _, item := range list(s) {
		if cidr, err := netip.ParsePrefix(item); err == nil {
			peers = append(peers, agentpod.Peer{CIDR: cidr.Masked()})
			continue
		}
		namespace, selector, selected := strings.Cut(item, "/")
		peer := agentpod.Peer{Namespace: namespace}
		if selected {
			peer.Labels = map[string]string{}
			for pair := range strings.SplitSeq(selector, "&") {
				key, value, ok := strings.Cut(pair, "=")
				if !ok || key == "" {
					return nil, fmt.Errorf("peer %q: want namespace, namespace/label=value or an address range", item)
				}
				peer.Labels[key] = value
			}
		}
		peers = append(peers, peer)
	}
	return peers, nil
}

// parseCIDRs reads a comma-separated list of address ranges.
func parseCIDRs(s string) ([]netip.Prefix, error) {
	var cidrs []netip.Prefix
	for _, item := range list(s) {
		cidr, err := netip.ParsePrefix(item)
		if err != nil {
			return nil, fmt.Errorf("address range %q: %w", item, err)
		}
		cidrs = append(cidrs, cidr.Masked())
	}
	return cidrs, nil
}

// parsePorts reads a comma-separated list of port numbers.
func parsePorts(s string) ([]int32, error) {
	var ports []int32
	for _, item := range list(s) {
		n, err := strconv.ParseUint(item, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("port %q is not a number from 1 to 65535", item)
		}
		ports = append(ports, int32(n))
	}
	return ports, nil
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}
