package github

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v66/github"
)

// secondaryPause is how long GitHub asks us to wait after a secondary limit that names no time, and after a primary one
// whose reset time is missing.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
const secondaryPause = time.Minute

// RateLimited means that GitHub refuses the credential's calls until a time. Nothing is wrong with the request.
type RateLimited struct {
	Until     time.Time
	Secondary bool // GitHub's protection against bursts, as against the hourly allowance
	cause     error
}

func (e *RateLimited) Error() string {
	kind := "primary"
	if e.Secondary {
		kind = "secondary"
	}
	return fmt.Sprintf("github's %s rate limit is reached, calls go on at %s", kind, e.Until.UTC().Format(time.RFC3339))
}

func (e *RateLimited) Unwrap() error { return e.cause }

// Refused means that GitHub will answer the same to the same request again: the thing is gone (404, 410), forbidden
// (403 without a limit), or the request is wrong (400, 422 and other 4xx).
type Refused struct {
	Status  int
	Message string // GitHub's own words
	cause   error
}

func (e *Refused) Error() string {
	hint := ""
	switch e.Status {
	case http.StatusNotFound, http.StatusGone:
		hint = " (gone, renamed, or not visible to this credential)"
	case http.StatusForbidden:
		hint = " (the credential lacks a permission, or the repository is archived)"
	}
	return fmt.Sprintf("github answered %d %s%s", e.Status, e.Message, hint)
}

func (e *Refused) Unwrap() error { return e.cause }

// Gone reports whether the error says that the thing does not exist, at least not for us.
func Gone(err error) bool {
	var r *Refused
	return errors.As(err, &r) && (r.Status == http.StatusNotFound || r.Status == http.StatusGone)
}

// Sort turns an error of go-github or of the App's transport into *RateLimited, *Refused or, for everything worth
// trying again (5xx, 401 while a credential is being changed, network), the error itself. It is idempotent.
func Sort(err error, now time.Time) error {
	var limited *RateLimited
	var refused *Refused
	if err == nil || errors.As(err, &limited) || errors.As(err, &refused) {
		return err
	}
	var primary *gh.RateLimitError
	if errors.As(err, &primary) {
		return &RateLimited{Until: after(primary.Rate.Reset.Time, now), cause: err}
	}
	var abuse *gh.AbuseRateLimitError
	if errors.As(err, &abuse) {
		until := now.Add(secondaryPause)
		if abuse.RetryAfter != nil && *abuse.RetryAfter > 0 {
			until = now.Add(*abuse.RetryAfter)
		}
		return &RateLimited{Until: until, Secondary: true, cause: err}
	}
	var response *gh.ErrorResponse
	if errors.As(err, &response) && response.Response != nil {
		return sortStatus(response.Response, response.Message, err, now)
	}
	var token *ghinstallation.HTTPError
	if errors.As(err, &token) && token.Response != nil {
		return sortStatus(token.Response, "for an installation token", err, now)
	}
	return err
}

// sortStatus covers what go-github does not know: 429, and limits told by a header alone.
func sortStatus(r *http.Response, message string, cause error, now time.Time) error {
	switch {
	case r.StatusCode == http.StatusTooManyRequests, r.StatusCode == http.StatusForbidden && r.Header.Get("Retry-After") != "",
		r.StatusCode == http.StatusForbidden && r.Header.Get("X-RateLimit-Remaining") == "0",
		r.StatusCode == http.StatusForbidden && strings.Contains(strings.ToLower(message), "rate limit"):
		return limitedBy(r, cause, now)
	case r.StatusCode == http.StatusUnauthorized, r.StatusCode == http.StatusRequestTimeout:
		return cause
	case r.StatusCode >= 400 && r.StatusCode < 500:
		return &Refused{Status: r.StatusCode, Message: message, cause: cause}
	}
	return cause
}

func limitedBy(r *http.Response, cause error, now time.Time) error {
	if r.Header.Get("X-RateLimit-Remaining") == "0" {
		reset, _ := strconv.ParseInt(r.Header.Get("X-RateLimit-Reset"), 10, 64)
		return &RateLimited{Until: after(time.Unix(reset, 0), now), cause: cause}
	}
	pause := secondaryPause
	if s, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil && s > 0 {
		pause = time.Duration(s) * time.Second
	}
	return &RateLimited{Until: now.Add(pause), Secondary: true, cause: cause}
}

// after is the reset time unless that has passed: then the clocks differ, and calling at once would be refused again.
func after(reset, now time.Time) time.Time {
	if reset.After(now) {
		return reset
	}
	return now.Add(secondaryPause)
}
