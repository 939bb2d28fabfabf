package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reach is how the pods of a cluster that is not ours reach this machine.
type reach struct {
	hosts map[string]string // to listen on, by Service name
	ports map[string]int
	env   map[string]string // of agent-launcher: the addresses, and what agents' NetworkPolicies open
	name  string            // of this machine, as pods know it
}

// reach reads from AGENT_GATEWAY_URL and LLM_URL on which of this machine's addresses the two services must listen: a
// URL either holds such an address, or leads to something in front of this machine, which LISTEN_ADDRESS must then say.
func (o Outside) reach() (*reach, error) {
	if o.AgentImage == "" || o.GatewayURL == "" || o.LLMURL == "" {
		return nil, errors.New("KUBECONFIG is set, so agents would run in that cluster: give AGENT_IMAGE, AGENT_GATEWAY_URL and " +
			"LLM_URL (ends in /v1) as its pods reach them, for example http://" + ownAddress() + ":8103 and http://" + ownAddress() +
			":8104/v1, or unset KUBECONFIG to run agents on this machine")
	}
	r := &reach{hosts: map[string]string{}, ports: map[string]int{}}
	r.env = map[string]string{"AGENT_IMAGE": o.AgentImage, "AGENT_GATEWAY_URL": o.GatewayURL, "LLM_URL": o.LLMURL}
	var peers, ports []string
	for _, at := range []struct {
		variable, url, service string
		port                   int
	}{{"AGENT_GATEWAY_URL", o.GatewayURL, "agent-gateway", gatewayPort}, {"LLM_URL", o.LLMURL, "llm-caller", llmPort}} {
		u, err := url.Parse(at.url)
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("%s is %q, want an address like http://%s:%d", at.variable, at.url, ownAddress(), at.port)
		}
		open := map[string]string{"http": "80", "https": "443"}[u.Scheme]
		if u.Port() != "" {
			open = u.Port()
			at.port, _ = strconv.Atoi(open) // url.Parse lets digits through only
		}
		found := addressesOf(u.Hostname())
		if r.hosts[at.service], err = o.listenOn(at.variable, u, found, at.port); err != nil {
			return nil, err
		}
		r.ports[at.service] = at.port
		if len(found) == 0 && o.GatewayPeers == "" {
			return nil, fmt.Errorf("%s: this machine finds no address of %s, so say in GATEWAY_PEERS what agents' network "+
				"policies have to open for it: address ranges, or namespace/label=value of pods", at.variable, u.Hostname())
		}
		peers, ports = append(peers, ranges(found)...), append(ports, open)
		if r.name == "" {
			r.name = u.Hostname()
		}
	}
	if r.hosts["agent-gateway"] == r.hosts["llm-caller"] && r.ports["agent-gateway"] == r.ports["llm-caller"] {
		return nil, errors.New("AGENT_GATEWAY_URL and LLM_URL need different ports: two services listen there")
	}
	for name, value := range map[string]string{
		"GATEWAY_PEERS": cmp.Or(o.GatewayPeers, union(peers)), "GATEWAY_PORTS": cmp.Or(o.GatewayPorts, union(ports)),
		"DNS_PEERS": o.DNSPeers, "GIT_CIDRS": o.GitCIDRs, "GIT_PORTS": o.GitPorts,
		"ISOLATION_PROBE": o.Probe,
	} {
		if value != "" {
			r.env[name] = value
		}
	}
	return r, nil
}

// listenOn is the address of this machine to which the URL leads.
func (o Outside) listenOn(variable string, u *url.URL, found []netip.Addr, port int) (string, error) {
	if o.ListenAddress != "" {
		return o.ListenAddress, nil
	}
	own := ownAddresses()
	for _, a := range found {
		switch {
		case a.IsLoopback():
			return "", fmt.Errorf("%s leads to %s: in a pod that is the pod itself. Give the address by which pods reach this machine, for example %s",
				variable, u.Hostname(), ownAddress())
		case slices.Contains(own, a) && u.Scheme == "http":
			return a.String(), nil
		}
	}
	return "", fmt.Errorf("%s leads to %s, which is not an address of this machine over plain HTTP (these are: %s). If something there passes "+
		"requests on to port %d of this machine, say where to listen for it: LISTEN_ADDRESS, 0.0.0.0 for every network", variable, u.Host, join(own), port)
}

// openGit lets agents reach the fake GitHub, which listens on the port where agent-gateway does, unless o says
// otherwise.
func (r *reach) openGit(o Outside, port int) {
	if cidrs := union(ranges(addressesOf(r.name))); o.GitCIDRs == "" && cidrs != "" {
		r.env["GIT_CIDRS"] = cidrs
	}
	if o.GitPorts == "" {
		r.env["GIT_PORTS"] = strconv.Itoa(port)
	}
}

// notReached tries the URLs from here and says which do not lead to their services. Pods may see it differently.
func (r *reach) notReached(ctx context.Context) (notes []string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, variable := range []string{"AGENT_GATEWAY_URL", "LLM_URL"} {
		at := strings.TrimSuffix(strings.TrimSuffix(r.env[variable], "/"), "/v1") + "/healthz"
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
		if err != nil {
			continue // parsed before
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				continue
			}
			err = errors.New(resp.Status)
		}
		notes = append(notes, fmt.Sprintf("%s does not answer from this machine (%v); agents will fail unless pods reach it", variable, err))
	}
	return notes
}

func addressesOf(host string) (found []netip.Addr) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}
	}
	all, err := net.LookupIP(host)
	if err != nil {
		return nil
	}
	for _, ip := range all {
		if a, ok := netip.AddrFromSlice(ip); ok {
			found = append(found, a.Unmap())
		}
	}
	return found
}

// ownAddresses are this machine's, without loopback and link-local ones.
func ownAddresses() (own []netip.Addr) {
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			own = append(own, p.Addr())
		}
	}
	return own
}

// ownAddress is an example of one.
func ownAddress() string {
	if own := ownAddresses(); len(own) > 0 {
		return own[0].String()
	}
	return "ADDRESS"
}

func ranges(addresses []netip.Addr) (list []string) {
	for _, a := range addresses {
		list = append(list, netip.PrefixFrom(a, a.BitLen()).String())
	}
	return list
}

func union(list []string) string {
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ",")
}

func join(addresses []netip.Addr) string {
	texts := make([]string, 0, len(addresses))
	for _, a := range addresses {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}
