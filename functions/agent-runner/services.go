package main

import (
	"net/url"
	"slices"
	"strings"

	"codexk8s.dev/shared/prompt"
)

// services are those that the pod's environment names, SERVICE_<NAME>_URL, sorted by name. They are the project's, for
// an agent of a full-env role; shared/agentpod sets the variables. The name is the host's first label.
func services(environ []string) (all []prompt.Service) {
	for _, pair := range environ {
		variable, value, _ := strings.Cut(pair, "=")
		rest, ours := strings.CutPrefix(variable, "SERVICE_")
		if !ours || !strings.HasSuffix(rest, "_URL") {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || u.Host == "" {
			continue // not one of ours
		}
		name, _, _ := strings.Cut(u.Hostname(), ".")
		all = append(all, prompt.Service{Name: name, URL: value, Variable: variable})
	}
	slices.SortFunc(all, func(a, b prompt.Service) int { return strings.Compare(a.Name, b.Name) })
	return all
}
