package github

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
)

// following repeats a request at the address where GitHub says its subject has moved, like net/http with two
// differences: a request that changes something keeps its method and body or is not repeated, so a POST never becomes a
// GET; and no request leaves its host, so that no other host sees the credential.
// https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects
type following struct{ next http.RoundTripper }

const maxRedirects = 5

// RoundTrip makes the call, and repeats it where it has moved.
func (f following) RoundTrip(r *http.Request) (*http.Response, error) {
	for hops := 0; ; hops++ {
		resp, err := f.next.RoundTrip(r)
		if err != nil || hops == maxRedirects {
			return resp, err
		}
		to := moved(r, resp)
		if to == nil {
			return resp, nil
		}
		again, ok := repeat(r)
		if !ok {
			return resp, nil
		}
		discard(resp)
		again.URL, again.Host = to, to.Host
		r = again
	}
}

// moved is where to repeat the request, nil for nowhere. A renamed repository answers 301 to everything, with the same
// path below its id. So does a transferred issue, but with another path: what was to be written to one issue is not
// meant for another.
func moved(r *http.Request, resp *http.Response) *url.URL {
	to, err := resp.Location()
	if err != nil || to.Scheme != r.URL.Scheme || to.Host != r.URL.Host {
		return nil
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch resp.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return to
	case http.StatusMovedPermanently:
		if reads || below(r.URL.Path) != "" && below(r.URL.Path) == below(to.Path) {
			return to
		}
	case http.StatusFound, http.StatusSeeOther:
		if reads {
			return to
		}
	}
	return nil
}

// below is the part of an API path that follows the repository: /repos/OWNER/NAME or /repositories/ID.
func below(path string) string {
	if _, rest, ok := strings.Cut(path, "/repositories/"); ok {
		_, rest, _ = strings.Cut(rest, "/")
		return rest
	}
	_, rest, _ := strings.Cut(path, "/repos/")
	_, rest, _ = strings.Cut(rest, "/")
	_, rest, _ = strings.Cut(rest, "/")
	return rest
}

// repeat copies a request that was sent; ok is false if its body can't be read again.
func repeat(r *http.Request) (again *http.Request, ok bool) {
	again = r.Clone(r.Context())
	if r.Body == nil || r.Body == http.NoBody {
		return again, true
	}
	if r.GetBody == nil {
		return nil, false
	}
	body, err := r.GetBody()
	again.Body = body
	return again, err == nil
}

// discard reads an answer to its end, so that its connection can be reused.
func discard(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
}

const (
	// fresh is how long a token may be unknown to a part of GitHub.
	fresh = 10 * time.Second
	// settled is the age from which a token may be older than a permission. A younger one need not be replaced.
	settled = time.Minute
)

// An installation is the transport of a GitHub App's installation. It believes an answer that may be the token's fault
// (Doubtful) only if a new token gets it as well: once for 403 and 404, which are usually meant, unless the token is
// young and has worked; for some seconds for 401, which is not.
type installation struct {
	make   func() (*ghinstallation.Transport, error)
	forget func() // that there is such an installation
	pauses []time.Duration

	mu     sync.Mutex
	tr     *ghinstallation.Transport
	since  time.Time // of the token
	worked bool      // GitHub has answered a call with the token as asked
}

// pauses are the waits before a doubtful refusal is tried again.
var pauses = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}

// RoundTrip makes the call with the installation's token.
func (i *installation) RoundTrip(r *http.Request) (*http.Response, error) {
	for tries := 0; ; tries++ {
		tr, age, worked, err := i.token(nil)
		if err != nil {
			return nil, err
		}
		resp, err := tr.RoundTrip(r)
		if err == nil && resp.StatusCode < 300 {
			i.trust(tr)
		}
		if err != nil || tries == len(i.pauses) || !doubted(resp, age < settled && (worked || age > fresh), tries) {
			return resp, settleTokenError(err, i.forget)
		}
		again, ok := repeat(r)
		if !ok {
			return resp, nil
		}
		select {
		case <-r.Context().Done():
			return resp, nil
		case <-time.After(i.pauses[tries]):
		}
		discard(resp)
		if _, _, _, err := i.token(tr); err != nil {
			return nil, err
		}
		r = again
	}
}

// doubted reports whether the answer is worth another try with a new token. A known one is neither too new for GitHub
// nor older than a permission.
func doubted(resp *http.Response, known bool, tries int) bool {
	if resp.StatusCode != http.StatusUnauthorized && (resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusNotFound ||
		tries > 0 || known) {
		return false
	}
	said, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(said), resp.Body), resp.Body}
	var body struct {
		Message       string `json:"message"`
		Documentation string `json:"documentation_url"`
	}
	if err != nil || json.Unmarshal(said, &body) != nil && resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	return !limited(resp, body.Message, body.Documentation) && doubtful(resp.StatusCode, body.Message)
}

// token is the transport whose token is in use, with the token's age and whether it has worked; it replaces old, if
// that is still in use.
func (i *installation) token(old *ghinstallation.Transport) (tr *ghinstallation.Transport, age time.Duration, worked bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.tr == nil || i.tr == old {
		tr, err := i.make()
		if err != nil {
			return nil, 0, false, err
		}
		i.tr, i.since, i.worked = tr, time.Now(), false
	}
	return i.tr, time.Since(i.since), i.worked, nil
}

// trust notes that GitHub knows the token.
func (i *installation) trust(tr *ghinstallation.Transport) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.worked = i.worked || i.tr == tr
}

// errStaleInstallation is temporary: the next attempt looks the installation up again.
var errStaleInstallation = errors.New("the GitHub App was reinstalled or removed, its installation is looked up again")

// settleTokenError reads GitHub's words from the response that ghinstallation leaves open in its error, and explains an
// installation that is gone.
func settleTokenError(err error, forget func()) error {
	var failed *ghinstallation.HTTPError
	if !errors.As(err, &failed) || failed.Response == nil {
		return err
	}
	var body struct {
		Message string `json:"message"`
	}
	_ = json.NewDecoder(io.LimitReader(failed.Response.Body, 64<<10)).Decode(&body) // no JSON has no message
	_ = failed.Response.Body.Close()
	failed.Message = strings.TrimSuffix("for an installation token: "+body.Message, ": ")
	if failed.Response.StatusCode == http.StatusNotFound {
		forget()
		return fmt.Errorf("%w (%s)", errStaleInstallation, failed.Message)
	}
	return err
}
