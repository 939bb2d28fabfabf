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

	"codexk8s.dev/shared/reason"
)

const (
	// secondaryPause is how long GitHub asks us to wait after a secondary limit that names no time, and after a primary
	// one whose reset time is missing.
	// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
	secondaryPause = time.Minute
	// quickPause is the wait after "was submitted too quickly", which is about one comment or pull request.
	quickPause = 10 * time.Second
)

// RateLimited means that GitHub refuses the credential's calls until a time. The request itself is fine.
type RateLimited struct {
	Until     time.Time
	Secondary bool // GitHub's protection against bursts, as opposed to the hourly allowance
	Guessed   bool // GitHub named no time
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

// Refused means that GitHub will give the same answer to the same request: the thing is gone (404, 410), forbidden
// (403 without a limit), has moved to where we don't follow (3xx), or the request is wrong (400, 422 and other 4xx).
type Refused struct {
	Status  int
	Message string // GitHub's own words, including its list of errors
	cause   error
}

func (e *Refused) Error() string {
	hint := ""
	switch _, moot := Moot(e); {
	case e.Status == http.StatusNotFound, e.Status == http.StatusGone:
		hint = " (gone, renamed, or not visible to this credential)"
	case e.Status == http.StatusForbidden && !moot:
		hint = " (the credential lacks a permission)"
	}
	return fmt.Sprintf("github answered %d %s%s", e.Status, e.Message, hint)
}

func (e *Refused) Unwrap() error { return e.cause }

// Gone reports whether the error says that the thing does not exist, at least not for us.
func Gone(err error) bool {
	var r *Refused
	return errors.As(err, &r) && (r.Status == http.StatusNotFound || r.Status == http.StatusGone)
}

// Moot reports whether nobody has to do anything about the error: the object of the request is gone, or accepts no
// changes. The reason is for the audit. Anything else that GitHub refuses somebody can fix: a missing permission, a
// wrong request of ours.
func Moot(err error) (why string, moot bool) {
	var r *Refused
	if !errors.As(err, &r) {
		return "", false
	}
	said := strings.ToLower(r.Message)
	for _, m := range []struct {
		status int
		words  string // in GitHub's message; "" = any
		reason string
	}{
		{http.StatusNotFound, "", reason.GitHubGone},
		{http.StatusGone, "", reason.GitHubGone},
		{http.StatusUnprocessableEntity, "no commit found", reason.GitHubGone},
		{http.StatusForbidden, "archived", reason.GitHubArchived},
		{http.StatusForbidden, " locked", reason.GitHubLocked},
		{http.StatusForbidden, "suspended", reason.GitHubSuspended},
		{http.StatusForbidden, "access blocked", reason.GitHubBlocked},
		{http.StatusUnavailableForLegalReasons, "", reason.GitHubBlocked},
		{http.StatusUnprocessableEntity, "more than 100 labels", reason.GitHubFull},
	} {
		if r.Status == m.status && strings.Contains(said, m.words) {
			return m.reason, true
		}
	}
	return reason.GitHubMoved, r.Status/100 == 3
}

// Doubtful reports whether an error may be about the token instead of the request: GitHub answers so for seconds if the
// token is new and not known everywhere, and for up to an hour if it is older than a permission or a repository that
// was added. Try a new token before believing it.
func Doubtful(err error) bool {
	var response *gh.ErrorResponse
	return errors.As(err, &response) && response.Response != nil && !limited(response.Response, response.Message, response.DocumentationURL) &&
		doubtful(response.Response.StatusCode, response.Message)
}

// doubtful knows GitHub's words about a credential, as opposed to those about an object: "Label does not exist".
func doubtful(status int, message string) bool {
	switch status {
	case http.StatusUnauthorized:
		return true
	case http.StatusForbidden:
		return strings.HasPrefix(message, "Resource not accessible") || strings.HasPrefix(message, "Must have ")
	case http.StatusNotFound:
		return message == "Not Found"
	}
	return false
}

// ClassifyError is the one place that judges what GitHub answers. It turns an error of go-github or of the App's
// transport into *RateLimited, *Refused or, for everything worth trying again (5xx, 408, 409, 401 while a credential is
// being changed, 422 about what is so new that a part of GitHub does not know it, an answer that is no JSON or broken
// off, network), the error itself. It is idempotent.
func ClassifyError(err error, now time.Time) error {
	var limited *RateLimited
	var refused *Refused
	if err == nil || errors.As(err, &limited) || errors.As(err, &refused) {
		return err
	}
	var primary *gh.RateLimitError
	if errors.As(err, &primary) {
		until, guessed := after(primary.Rate.Reset.Time, now)
		return &RateLimited{Until: until, Guessed: guessed, cause: err}
	}
	var abuse *gh.AbuseRateLimitError
	if errors.As(err, &abuse) {
		if abuse.RetryAfter != nil && *abuse.RetryAfter > 0 {
			return &RateLimited{Until: now.Add(*abuse.RetryAfter), Secondary: true, cause: err}
		}
		return &RateLimited{Until: now.Add(secondaryPause), Secondary: true, Guessed: true, cause: err}
	}
	var response *gh.ErrorResponse
	if errors.As(err, &response) && response.Response != nil {
		return classify(response.Response, words(response), response.DocumentationURL, err, now)
	}
	var token *ghinstallation.HTTPError
	if errors.As(err, &token) && token.Response != nil {
		return classify(token.Response, token.Message, "", err, now)
	}
	return err
}

// classify covers what go-github does not know: 429, limits told by a header or by words alone, and everything final.
func classify(r *http.Response, message, documentation string, cause error, now time.Time) error {
	switch {
	case strings.Contains(strings.ToLower(message), "submitted too quickly"):
		return &RateLimited{Until: now.Add(quickPause), Secondary: true, Guessed: true, cause: cause}
	case limited(r, message, documentation):
		return limitedBy(r, cause, now)
	case r.StatusCode == http.StatusUnauthorized, r.StatusCode == http.StatusRequestTimeout, r.StatusCode == http.StatusTooEarly,
		r.StatusCode == http.StatusConflict && !strings.Contains(message, "is empty"),
		r.StatusCode == http.StatusUnprocessableEntity && strings.Contains(message, "Could not resolve to a node"):
		return cause
	case r.StatusCode >= 300 && r.StatusCode < 400:
		return &Refused{Status: r.StatusCode, Message: strings.TrimSpace("it is now at " + r.Header.Get("Location") + " " + message), cause: cause}
	case r.StatusCode >= 400 && r.StatusCode < 500:
		return &Refused{Status: r.StatusCode, Message: message, cause: cause}
	}
	return cause
}

// limitWords are how GitHub's message names a limit when status and headers don't.
var limitWords = []string{"rate limit", "abuse detection", "blocked from content creation", "temporarily being throttled"}

func limited(r *http.Response, message, documentation string) bool {
	if r.StatusCode == http.StatusTooManyRequests {
		return true
	}
	if r.StatusCode != http.StatusForbidden {
		return false
	}
	said := strings.ToLower(message)
	for _, words := range limitWords {
		if strings.Contains(said, words) {
			return true
		}
	}
	return r.Header.Get("Retry-After") != "" || r.Header.Get("X-RateLimit-Remaining") == "0" || strings.Contains(documentation, "rate-limits")
}

func limitedBy(r *http.Response, cause error, now time.Time) error {
	if until, ok := retryAfter(r.Header.Get("Retry-After"), now); ok {
		return &RateLimited{Until: until, Secondary: r.Header.Get("X-RateLimit-Remaining") != "0", cause: cause}
	}
	if r.Header.Get("X-RateLimit-Remaining") == "0" {
		reset, _ := strconv.ParseInt(r.Header.Get("X-RateLimit-Reset"), 10, 64)
		until, guessed := after(time.Unix(reset, 0), now)
		return &RateLimited{Until: until, Guessed: guessed, cause: cause}
	}
	return &RateLimited{Until: now.Add(secondaryPause), Secondary: true, Guessed: true, cause: cause}
}

// maxPause is the longest wait that a header may ask for: GitHub's limits last an hour at most.
const maxPause = 2 * time.Hour

// retryAfter reads the header's two forms: seconds, as GitHub sends, and a date, as a proxy before an Enterprise Server
// may.
// https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
func retryAfter(header string, now time.Time) (time.Time, bool) {
	until := now
	if seconds, err := strconv.Atoi(strings.TrimSpace(header)); err == nil {
		until = now.Add(time.Duration(min(seconds, int(maxPause/time.Second))) * time.Second)
	} else if date, err := http.ParseTime(header); err == nil {
		until = date
	}
	if latest := now.Add(maxPause); until.After(latest) {
		until = latest
	}
	return until, until.After(now)
}

// after is the reset time, unless that has passed: then the clocks differ, and a call now would be refused again.
func after(reset, now time.Time) (until time.Time, guessed bool) {
	if reset.After(now) {
		return reset, false
	}
	return now.Add(secondaryPause), true
}

// words are GitHub's message with its list of errors, which often says more.
// https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed
func words(e *gh.ErrorResponse) string {
	said := e.Message
	for i, one := range e.Errors {
		text := one.Message
		if text == "" {
			text = strings.TrimSpace(strings.Trim(one.Resource+"."+one.Field, ".") + " " + one.Code)
		}
		if text == "" || strings.Contains(said, text) {
			continue
		}
		if said += "; "; i == 0 {
			said = strings.TrimSuffix(said, "; ") + ": "
		}
		said += text
	}
	return strings.TrimPrefix(said, ": ")
}
