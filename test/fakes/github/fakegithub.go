// Package fakegithub is a GitHub for tests and for trying the platform out without an account: a stateful server
// that speaks GitHub's REST API (at / and, like GitHub Enterprise Server, at /api/v3/), Git's smart HTTP protocol and
// GitHub's webhooks, on a real socket.
//
// It keeps users, tokens, one GitHub App with its installations, repositories (real bare Git repositories, served
// by git http-backend), issues, pull requests, comments, reviews, labels, statuses, check runs, hooks and
// deliveries. It refuses what GitHub refuses, in GitHub's words: a client that works here sees the same status
// codes, error bodies, Link and rate-limit headers as there.
//
// # State
//
// Everything lives under Options.Dir and is there again at the next start:
//
//	state.json        all but deliveries; written at most every half second after a change, and by Close
//	deliveries.jsonl  one line per webhook attempt, appended when the attempt has ended
//	app.pem           the private key of the GitHub App
//	repositories/     owner/name.git, bare
//
// One mutex guards the state. It is never held while a webhook is sent or a Git command of a client runs.
//
// # Webhooks
//
// A change builds its payload while the mutex is held, then leaves it in the queue of each subscribed hook. One
// goroutine per hook sends in order, with GitHub's ten seconds of patience and, like GitHub, without any retry of its
// own; see
// https://docs.github.com/en/webhooks/using-webhooks/handling-failed-webhook-deliveries. The attempts are listed, read
// and repeated through the deliveries API. Flush waits until all queues are empty.
//
// # Acting and looking
//
// The methods in person.go do what a person does in the web interface; the readers in readers.go return values for
// assertions; Writes tells in order what anybody has changed. The same can be done in a browser, whose pages stand at
// GitHub's own addresses and offer every action as a form and as a curl command, and with curl: every user created gets
// the token "<login>-token". Under /_fake/ are the switches that GitHub does not have: rate limits and outages for the
// next requests, the list of writes, waiting for webhooks.
package fakegithub

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options says how to open a Server. The zero value is a server on a free port of the loopback interface with
// its state in a new temporary directory that Close removes.
type Options struct {
	Dir  string // where the state is kept; "" = a temporary directory
	Addr string // address to listen on; "" = "127.0.0.1:0"
	URL  string // base URL that others reach the server by, in payloads and links; "" = http://<address listened on>

	App AppOptions

	// RateLimit is how many REST requests a token may make in an hour. 0 = headers show GitHub's usual 5000, and
	// nobody is refused.
	RateLimit int

	// Dial is how webhooks are connected, for receivers whose names this machine can't resolve; nil = net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Now    func() time.Time // clock for time stamps and expiries; nil = time.Now
	Logger *slog.Logger     // nil = slog.Default()
}

// AppOptions describes the one GitHub App that the server knows. It is installed on every owner of a repository.
// They count when the state is new; later starts keep what was stored, except for the hook, where given values win.
type AppOptions struct {
	ID          int64             // 0 = 4242
	Slug        string            // "" = "codexk8s"; its actions are signed "<slug>[bot]"
	HookURL     string            // where the App's webhooks go; "" = nowhere
	HookSecret  string            // their secret
	Events      []string          // what the App subscribes to; nil = all events of this server
	Permissions map[string]string // granted at installation, name → "read" or "write"; nil = all that exist here
}

// Server is the fake. All methods may be called by several goroutines at once.
type Server struct {
	base    string // URL without a slash at its end
	dir     string
	tempDir bool
	now     func() time.Time
	log     *slog.Logger
	limit   int
	key     *rsa.PrivateKey
	keyPEM  []byte

	listener net.Listener
	http     *http.Server
	handler  http.Handler // the REST API
	pages    http.Handler
	queue    *dispatcher
	attempts *deliveryLog

	endpoints router // of the REST API

	mu       sync.Mutex // guards st, grants, faults, usage, unknown, timer, encoding
	st       *state
	grants   map[string]grant // by code
	faults   []Fault
	usage    map[string]*usage
	timer    *time.Timer
	encoding time.Duration // of the state, the last time
	saved    sync.Mutex    // held while state.json is written

	pushes sync.Map // repository directory → *sync.Mutex: one push or merge at a time
}

// New opens the state of Options.Dir (or begins a new one), and serves.
func New(o Options) (*Server, error) {
	s := &Server{
		endpoints: newRouter(repositoryRoutes, issueRoutes, labelRoutes, pullRoutes, reviewRoutes, statusRoutes, protectionRoutes, hookRoutes, appRoutes, graphRoutes),
		dir:       o.Dir, now: o.Now, log: o.Logger, limit: o.RateLimit, usage: map[string]*usage{}, grants: map[string]grant{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if err := s.open(o); err != nil {
		s.removeTemp()
		return nil, err
	}
	return s, nil
}

func (s *Server) open(o Options) error {
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "fakegithub-")
		if err != nil {
			return fmt.Errorf("making a directory for the fake GitHub: %w", err)
		}
		s.dir, s.tempDir = dir, true
	}
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return fmt.Errorf("finding the directory of the fake GitHub: %w", err)
	}
	s.dir = dir
	if err := os.MkdirAll(filepath.Join(s.dir, "repositories"), 0o755); err != nil {
		return fmt.Errorf("making the directory of the fake GitHub: %w", err)
	}
	if err := s.loadKey(); err != nil {
		return err
	}
	if err := s.load(o.App); err != nil {
		return err
	}
	if s.attempts, err = openDeliveryLog(filepath.Join(s.dir, "deliveries.jsonl")); err != nil {
		return err
	}
	s.st.NextID = max(s.st.NextID, s.attempts.lastID()+1)
	s.queue = newDispatcher(s, o.Dial)
	return s.listen(o)
}

func (s *Server) listen(o Options) error {
	addr := o.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listening for the fake GitHub (is another one running?): %w", err)
	}
	s.listener = l
	s.base = strings.TrimSuffix(o.URL, "/")
	if s.base == "" {
		s.base = "http://" + l.Addr().String()
	}
	s.handler, s.pages = s.routes(), s.pageRoutes()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("fake github: serving ended", "error", err)
		}
	}()
	return nil
}

// URL is the base URL of the web interface and of clone URLs, without a slash at its end.
func (s *Server) URL() string { return s.base }

// APIURL is the base URL of the REST API with a slash at its end, as go-github's Client.BaseURL wants it.
func (s *Server) APIURL() string { return s.base + "/api/v3/" }

// CloneURL is where Git finds the repository "owner/name".
func (s *Server) CloneURL(fullName string) string { return s.base + "/" + fullName + ".git" }

// Flush waits until every webhook queued so far, and those queued while it waits, has had its attempt.
func (s *Server) Flush(ctx context.Context) error {
	if err := s.queue.flush(ctx); err != nil {
		return fmt.Errorf("waiting for the webhooks of the fake GitHub: %w", err)
	}
	return nil
}

// Close stops serving, records webhooks that are still queued as failed, and saves. A temporary directory is removed.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // a client that keeps its connection busy does not keep us
	}
	s.queue.close()
	err := s.save()
	if e := s.attempts.close(); err == nil {
		err = e
	}
	s.removeTemp()
	return err
}

func (s *Server) removeTemp() {
	if s.tempDir {
		_ = os.RemoveAll(s.dir)
	}
}

// stamp is the time now as GitHub writes it: whole seconds, UTC.
func (s *Server) stamp() time.Time { return s.now().UTC().Truncate(time.Second) }

// id returns the next identifier; all kinds of things share one sequence. The mutex must be held.
func (s *Server) id() int64 {
	s.st.NextID++
	return s.st.NextID
}

// wrote notes one change in the list that Writes returns, and has the state saved soon. The mutex must be held.
func (s *Server) wrote(who *User, format string, args ...any) {
	s.st.Writes = append(s.st.Writes, who.Login+": "+fmt.Sprintf(format, args...))
	s.changed()
}
