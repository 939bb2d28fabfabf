package fakegithub

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// gitBackend finds git http-backend once.
var gitBackend = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return "", fmt.Errorf("finding git (is it installed?): %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), nil
})

// gitPaths are the ends of the paths of smart HTTP: https://git-scm.com/docs/http-protocol.
var gitPaths = []string{"/info/refs", "/git-upload-pack", "/git-receive-pack"}

func isGit(path string) bool { return gitPath(path) != "" }

// gitPath answers which of gitPaths a path of the form /owner/name(.git)<end> has, or "".
func gitPath(path string) string {
	for _, end := range gitPaths {
		if rest, ok := strings.CutSuffix(path, end); ok && strings.Count(rest, "/") == 2 {
			return end
		}
	}
	return ""
}

// serveGit lets git http-backend answer, after the same questions as the REST API: who, and may they.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	end := gitPath(r.URL.Path)
	name := strings.TrimSuffix(strings.Trim(strings.TrimSuffix(r.URL.Path, end), "/"), ".git")
	write := end == "/git-receive-pack" || r.URL.Query().Get("service") == "git-receive-pack"
	repo, by, refused := s.gitAccess(r, name, write)
	if refused != nil {
		for k, v := range refused.Header {
			w.Header()[k] = v
		}
		if refused.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		}
		http.Error(w, refused.Message, refused.Status)
		return
	}
	backend, err := gitBackend()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	done, err := s.spool(r)
	defer done()
	if err != nil {
		http.Error(w, "reading the request failed", http.StatusBadRequest)
		return
	}
	dir := s.git(repo).dir
	in := r.Clone(r.Context())
	in.Header.Del("Authorization")
	in.URL.Path = "/" + filepath.Base(dir) + end
	h := &cgi.Handler{
		Path: backend, Root: "/", Dir: dir, Stderr: io.Discard,
		Env: append(gitEnv(), "GIT_PROJECT_ROOT="+filepath.Dir(dir), "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER="+by),
	}
	if end != "/git-receive-pack" {
		h.ServeHTTP(w, in)
		return
	}
	s.receive(w, in, h, repo, by)
}

// receive runs a push. The answer is held back until the pull requests know the new commits, so that a client
// which has pushed sees them.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, h http.Handler, repo *repository, login string) {
	s.mu.Lock()
	by := s.user(login)
	s.mu.Unlock()
	held := &heldResponse{header: http.Header{}, status: http.StatusOK}
	err := s.pushed(repo, by, func() error {
		h.ServeHTTP(held, r)
		return nil
	})
	if err != nil {
		s.log.Error("fake github: after a push", "repository", repo.fullName(), "error", err)
	}
	maps.Copy(w.Header(), held.header)
	w.WriteHeader(held.status)
	_, _ = w.Write(held.body.Bytes()) // the client may have gone
}

// heldResponse keeps an answer until it is time.
type heldResponse struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *heldResponse) Header() http.Header         { return h.header }
func (h *heldResponse) WriteHeader(status int)      { h.status = status }
func (h *heldResponse) Write(p []byte) (int, error) { return h.body.Write(p) }

// spool stores a body of unknown length, which git sends for large pushes and CGI cannot take.
func (s *Server) spool(r *http.Request) (func(), error) {
	if r.ContentLength >= 0 {
		return func() {}, nil
	}
	f, err := os.CreateTemp(s.dir, "push-")
	if err != nil {
		return func() {}, fmt.Errorf("storing a push: %w", err)
	}
	done := func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}
	n, err := io.Copy(f, r.Body)
	if err != nil {
		return done, fmt.Errorf("storing a push: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return done, fmt.Errorf("storing a push: %w", err)
	}
	r.Body, r.ContentLength, r.TransferEncoding = f, n, nil
	return done, nil
}

// gitAccess finds the repository and whether the request may read or write it, with the refusals that Git clients
// print.
func (s *Server) gitAccess(r *http.Request, name string, write bool) (*repository, string, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var broken *apiError
	if errors.As(s.fault(r.Method, r.URL.Path, true), &broken) {
		return nil, "", broken
	}
	repo := s.present(name)
	if credential(r) == "" {
		if repo != nil && !repo.Private && !write {
			return repo, "anonymous", nil
		}
		return nil, "", refuse(http.StatusUnauthorized, "Authentication required")
	}
	who, err := s.authenticate(r)
	if err != nil {
		return nil, "", refuse(http.StatusUnauthorized, "Invalid username or token. Password authentication is not supported for Git operations.")
	}
	if repo == nil || s.permits(who, repo, onMetadata) != nil {
		return nil, "", refuse(http.StatusNotFound, "Repository not found.")
	}
	n := onContentsRead
	if write {
		n = onContents
	}
	if s.permits(who, repo, n) != nil {
		if who.token != nil && who.token.Permissions != nil {
			return nil, "", refuse(http.StatusForbidden, "Write access to repository not granted.")
		}
		return nil, "", refuse(http.StatusForbidden, "Permission to "+repo.fullName()+".git denied to "+who.user.Login+".")
	}
	return repo, who.user.Login, nil
}

// refChange is a branch that moved, with what the webhook says about it.
type refChange struct {
	branch, before, after string
	forced                bool
	commits               []gitCommit
}

func (s *Server) pushLock(r *repository) *sync.Mutex {
	lock, _ := s.pushes.LoadOrStore(s.git(r).dir, &sync.Mutex{})
	return lock.(*sync.Mutex)
}

// pushed runs act, which may move branches of r, and then does what GitHub does after a push: brings the pull requests
// up to date and tells the hooks. One at a time per repository. The mutex must not be held.
func (s *Server) pushed(r *repository, by *User, act func() error) error {
	lock := s.pushLock(r)
	lock.Lock()
	defer lock.Unlock()
	g := s.git(r)
	before, err := g.heads()
	if err != nil {
		return err
	}
	if err := act(); err != nil {
		return err
	}
	after, err := g.heads()
	if err != nil {
		return err
	}
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, branch := range slices.Sorted(maps.Keys(all)) {
		if before[branch] == after[branch] {
			continue
		}
		ch, err := s.describe(r, before, after, branch)
		if err != nil {
			return err
		}
		if err := s.follow(r, ch, after, by); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) describe(r *repository, before, after map[string]string, branch string) (refChange, error) {
	g, ch := s.git(r), refChange{branch: branch, before: before[branch], after: after[branch]}
	var err error
	switch {
	case ch.after == "":
		ch.after = zeroSHA
	case ch.before == "":
		ch.before = zeroSHA
		ch.commits, err = g.log(before[r.DefaultBranch], ch.after)
	default:
		ch.forced = !g.isAncestor(ch.before, ch.after)
		ch.commits, err = g.log(ch.before, ch.after)
	}
	return ch, err
}

// follow records one moved branch: the push itself, then the open pull requests from and into it.
func (s *Server) follow(r *repository, ch refChange, heads map[string]string, by *User) error {
	s.mu.Lock()
	r.PushedAt, r.UpdatedAt = s.stamp(), s.stamp()
	s.wrote(by, "push %s %s (%d commits)", r.fullName(), ch.branch, len(ch.commits))
	s.emitPush(r, ch, by)
	var from, into []*Issue
	for _, is := range r.Issues {
		switch {
		case is.Pull == nil || is.State != "open":
		case is.Pull.Head == ch.branch:
			from = append(from, is)
		case is.Pull.Base == ch.branch:
			into = append(into, is)
		}
	}
	s.mu.Unlock()
	for _, is := range from {
		if err := s.synchronize(r, is, ch, heads[is.Pull.Base], by); err != nil {
			return err
		}
	}
	for _, is := range into {
		switch {
		case ch.after == zeroSHA:
			if base := s.mergedInto(r, ch.branch); base != "" && s.turn(r, is, base, by) == nil {
				continue
			}
			s.mu.Lock()
			s.setState(r, is, "closed", "", by)
			s.mu.Unlock()
		case s.git(r).isAncestor(is.Pull.HeadSHA, ch.after):
			// A pull request whose commits have come into its base by a push counts as merged.
			s.markMerged(r, is, ch.after, by)
		}
	}
	return nil
}

// synchronize moves the head of a pull request, or closes it when its branch is gone.
func (s *Server) synchronize(r *repository, is *Issue, ch refChange, base string, by *User) error {
	if ch.after == zeroSHA {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.note(r, is, by, "head_ref_deleted", nil)
		s.setState(r, is, "closed", "", by)
		return nil
	}
	g := s.git(r)
	st, err := g.stats(base, ch.after)
	if err != nil {
		return err
	}
	if _, err := g.run("update-ref", pullRef(is.Number), ch.after); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	is.Pull.HeadSHA, is.Pull.BaseSHA = ch.after, base
	is.Pull.take(st)
	s.touch(is)
	s.emitIssue(r, is, "synchronize", by, object{"before": ch.before, "after": ch.after})
	return nil
}
