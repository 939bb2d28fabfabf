package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/store"
)

// platformFrom is the default platform with the environment's settings.
func platformFrom(env env) (agentpod.Platform, error) {
	p := agentpod.DefaultPlatform()
	p.Image, p.GatewayURL, p.LLMURL = env.Image, env.GatewayURL, env.LLMURL
	p.Forbidden, p.SandboxVersion = env.Forbidden, env.Sandbox
	err := errors.Join(
		set(&p.Gateways, env.GatewayPeers, parsePeers),
		set(&p.GatewayPorts, env.GatewayPorts, parsePorts),
		set(&p.DNS, env.DNSPeers, parsePeers),
		set(&p.GitCIDRs, env.GitCIDRs, parseCIDRs),
		set(&p.GitPorts, env.GitPorts, parsePorts),
		set(&p.Probe, env.Probe, parseProbe),
		p.Validate(),
	)
	if err != nil {
		return p, fmt.Errorf("describing the platform to agents: %w", err)
	}
	p.Forbidden = append(p.Forbidden, neighbours(env)...)
	return p, nil
}

func set[T any](into *T, value string, parse func(string) (T, error)) error {
	if value == "" {
		return nil
	}
	parsed, err := parse(value)
	if err != nil {
		return err
	}
	*into = parsed
	return nil
}

func parseProbe(s string) (bool, error) {
	if s != "required" && s != "off" {
		return true, fmt.Errorf("ISOLATION_PROBE is %q, want required or off", s)
	}
	return s == "required", nil
}

// neighbours are what this function talks to and an agent must not reach: the Broker and the database, host:port. Their
// addresses are not secret.
func neighbours(env env) (all []string) {
	if u, err := url.Parse(env.Sink); err == nil && u.Hostname() != "" {
		port := u.Port()
		switch {
		case port == "" && u.Scheme == "https":
			port = "443"
		case port == "":
			port = "80"
		}
		all = append(all, net.JoinHostPort(u.Hostname(), port))
	}
	if address := store.Address(env.DatabaseURL); address != "" {
		all = append(all, address)
	}
	return all
}
