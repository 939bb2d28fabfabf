package checkout

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// HelperCommand makes this binary a Git credential helper (https://git-scm.com/docs/gitcredentials): Git calls it
// when a server asks for a password, so a token is never in an argument, a URL, a config file or a log.
const HelperCommand = "git-credential"

// What the helper answers, and for which repository. They are only in the environment of a git process that talks to
// the server while no process of the agent is alive.
const (
	credentialURLVariable      = "CODEXK8S_CREDENTIAL_URL"
	credentialUserVariable     = "CODEXK8S_CREDENTIAL_USER"
	credentialPasswordVariable = "CODEXK8S_CREDENTIAL_PASSWORD"
)

// Credential is the environment in which the helper finds a credential for the repository at a clone URL.
func Credential(cloneURL, user, password string) []string {
	return []string{credentialURLVariable + "=" + cloneURL, credentialUserVariable + "=" + user, credentialPasswordVariable + "=" + password}
}

// Help is the credential helper. It answers "get" for the run's own repository, even if the server has moved it, and is
// silent otherwise, so that neither a submodule nor a redirect to another host gets the token.
func Help(ctx context.Context, args []string, in io.Reader, out io.Writer) int {
	if len(args) != 1 || args[0] != "get" {
		return 0 // "store" and "erase": we keep nothing
	}
	asked := map[string]string{}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok {
			asked[key] = value
		}
	}
	own, err := url.Parse(os.Getenv(credentialURLVariable))
	if err != nil || own.Host == "" || asked["protocol"] != own.Scheme || asked["host"] != own.Host {
		return noCredential(asked)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	user, password := os.Getenv(credentialUserVariable), os.Getenv(credentialPasswordVariable)
	if !samePath(asked["path"], own.Path) && !redirects(ctx, own, asked["path"], user, password) {
		return noCredential(asked)
	}
	if _, err := fmt.Fprintf(out, "username=%s\npassword=%s\n", user, password); err != nil {
		return 1
	}
	return 0
}

func noCredential(asked map[string]string) int {
	slog.Warn("no credential for another repository", "protocol", asked["protocol"], "host", asked["host"], "path", asked["path"])
	return 0
}

// redirects says whether the server redirects the run's repository to path: it was renamed or transferred since
// (https://docs.github.com/repositories/creating-and-managing-repositories/renaming-a-repository).
func redirects(ctx context.Context, own *url.URL, path, user, password string) bool {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	at := *own
	for range 3 {
		const end = "/info/refs"
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.Scheme+"://"+at.Host+at.Path+end+"?service=git-upload-pack", nil)
		if err != nil {
			return false
		}
		req.SetBasicAuth(user, password)
		res, err := client.Do(req)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		next, err := res.Location()
		if err != nil || next.Scheme != own.Scheme || next.Host != own.Host || !strings.HasSuffix(next.Path, end) {
			return false
		}
		if at.Path = strings.TrimSuffix(next.Path, end); samePath(path, at.Path) {
			return true
		}
	}
	return false
}

// samePath compares repository paths; GitHub serves one with and without ".git".
func samePath(a, b string) bool {
	trim := func(p string) string { return strings.TrimSuffix(strings.Trim(p, "/"), ".git") }
	return trim(a) == trim(b)
}
