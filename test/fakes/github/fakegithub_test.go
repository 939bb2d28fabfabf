package fakegithub

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-github/v66/github"
)

const repo = "acme/shop"

// open starts a server with the repository acme/shop of the user acme.
func open(t *testing.T, o Options) *Server {
	t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.CreateRepository(repo, map[string]string{"README.md": "# Shop\n", "src/cart.go": "package src\n\nvar total = 1\n"}); err != nil {
		t.Fatal(err)
	}
	return s
}

func client(t *testing.T, s *Server, token string) *github.Client {
	t.Helper()
	c := github.NewClient(nil).WithAuthToken(token)
	u, err := url.Parse(s.APIURL())
	if err != nil {
		t.Fatal(err)
	}
	c.BaseURL = u
	return c
}

func flush(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// delivered is a webhook as its receiver saw it.
type delivered struct {
	event, action string
	header        http.Header
	raw           []byte
	payload       any
}

// receiver takes webhooks; it checks each signature and that go-github understands the payload.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []delivered
	status int
}

func newReceiver(t *testing.T, secret string) *receiver {
	r := &receiver{status: http.StatusAccepted}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		raw, err := github.ValidatePayload(req, []byte(secret))
		if err != nil {
			t.Errorf("webhook %s: %v", req.Header.Get("X-GitHub-Event"), err)
		}
		d := delivered{event: github.WebHookType(req), header: req.Header, raw: raw}
		if d.payload, err = github.ParseWebHook(d.event, raw); err != nil {
			t.Errorf("webhook %s: %v", d.event, err)
		}
		if a, ok := d.payload.(interface{ GetAction() string }); ok {
			d.action = a.GetAction()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, d)
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

// events lists "event.action" of what came.
func (r *receiver) events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, d := range r.got {
		out = append(out, strings.TrimSuffix(d.event+"."+d.action, "."))
	}
	return out
}

// last is the latest webhook of an event.
func (r *receiver) last(t *testing.T, event, action string) delivered {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.got) - 1; i >= 0; i-- {
		if d := r.got[i]; d.event == event && d.action == action {
			return d
		}
	}
	t.Fatalf("no webhook %s.%s came", event, action)
	return delivered{}
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// worktree is a clone that a test commits in.
type worktree struct {
	t   *testing.T
	dir string
}

func gitCommand(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Dev", "GIT_AUTHOR_EMAIL=dev@example.com", "GIT_COMMITTER_NAME=Dev", "GIT_COMMITTER_EMAIL=dev@example.com")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func cloneURL(s *Server, token string) string {
	return strings.Replace(s.CloneURL(repo), "://", "://x-access-token:"+token+"@", 1)
}

func cloned(t *testing.T, s *Server, token string) worktree {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	if out, err := gitCommand(t, "", "clone", "--quiet", cloneURL(s, token), dir); err != nil {
		t.Fatalf("cloning: %v\n%s", err, out)
	}
	return worktree{t, dir}
}

func (w worktree) run(args ...string) string {
	w.t.Helper()
	out, err := gitCommand(w.t, w.dir, args...)
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

// commit writes a file on a branch (made if need be), commits and pushes it; it returns the commit.
func (w worktree) commit(branch, path, content string) string {
	w.t.Helper()
	if _, err := gitCommand(w.t, w.dir, "checkout", "--quiet", branch); err != nil {
		w.run("checkout", "--quiet", "-b", branch)
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(w.dir, path)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, path), []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.run("add", "-A")
	w.run("commit", "--quiet", "-m", "Change "+path)
	w.run("push", "--quiet", "origin", branch)
	return w.run("rev-parse", "HEAD")
}

// refused checks an error of go-github: its status, and the words that its body must contain.
func refused(t *testing.T, err error, status int, words string) {
	t.Helper()
	var e *github.ErrorResponse
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want a refusal with %d", err, status)
	}
	if e.Response.StatusCode != status || !strings.Contains(e.Error(), words) {
		t.Errorf("got %v, want %d %q", e, status, words)
	}
}
