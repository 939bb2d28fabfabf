package github

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"codexk8s.dev/shared/metrics"
)

// measured is the transport under all calls of a Clients. It counts them, and records what GitHub says about its limit.
type measured struct{ next http.RoundTripper }

// limits are the limits of GitHub that we may meet, by GitHub's names; others are "other".
// https://docs.github.com/en/rest/rate-limit/rate-limit#about-rate-limits
var limits = []string{"core", "search", "graphql", "code_search"}

// RoundTrip makes the call.
func (m measured) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := m.next.RoundTrip(r)
	code := 0
	if err == nil {
		code = resp.StatusCode
		if left, err := strconv.Atoi(resp.Header.Get("X-RateLimit-Remaining")); err == nil {
			limit := resp.Header.Get("X-RateLimit-Resource")
			if !slices.Contains(limits, limit) {
				limit = "other"
			}
			metrics.GitHubRemaining.Set(r.Context(), float64(left), limit)
		}
	}
	metrics.GitHubRequestDuration.Record(r.Context(), time.Since(start).Seconds(), r.Method, strconv.Itoa(code))
	return resp, err
}
