package fakegithub

import (
	"net/http"
	"net/url"
	"strings"
)

// router finds the route of a request. The standard mux does not do, for GitHub's paths overlap
// (/issues/comments/{id} and /issues/{number}/events) and have Git references with slashes in their middle
// (/commits/{ref...}/status). Here {number}, {id}, {hook} and {delivery} match digits only, {ref...} and {path...}
// match one or more segments, and the first route in order wins.
type router map[string][]compiled // by method

type compiled struct {
	parts []string
	route route
}

func newRouter(groups ...[]route) router {
	rt := router{}
	for _, group := range groups {
		for _, r := range group {
			method, path, _ := strings.Cut(r.pattern, " ")
			rt[method] = append(rt[method], compiled{parts: strings.Split(path[1:], "/"), route: r})
		}
	}
	return rt
}

// find answers the route and leaves the parts of the path in r as path values.
func (rt router) find(r *http.Request) (route, bool) {
	segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	for i, s := range segments {
		if text, err := url.PathUnescape(s); err == nil {
			segments[i] = text
		}
	}
	for _, c := range rt[r.Method] {
		if values, ok := match(c.parts, segments); ok {
			for name, value := range values {
				r.SetPathValue(name, value)
			}
			return c.route, true
		}
	}
	return route{}, false
}

func match(parts, segments []string) (map[string]string, bool) {
	if len(segments) < len(parts) {
		return nil, false
	}
	values := map[string]string{}
	extra := len(segments) - len(parts)
	for i := 0; i < len(parts); i++ {
		name, wild := strings.CutPrefix(parts[i], "{")
		name = strings.TrimSuffix(name, "}")
		here := segments[0]
		switch {
		case !wild && here != parts[i], wild && here == "":
			return nil, false
		case !wild:
		case strings.HasSuffix(name, "..."):
			here = strings.Join(segments[:1+extra], "/")
			segments = segments[extra:]
			extra = 0
			values[strings.TrimSuffix(name, "...")] = here
		case numeric[name] && strings.Trim(here, "0123456789") != "":
			return nil, false
		default:
			values[name] = here
		}
		segments = segments[1:]
	}
	return values, extra == 0
}

var numeric = map[string]bool{"number": true, "id": true, "hook": true, "delivery": true}
