// Package pg runs a real PostgreSQL server for one machine: the one behind `make run`, the tests and the demo.
//
// A server lives in a directory: `data` (the cluster, made by initdb on first use), `password` (of the superuser
// `postgres`, readable by the owner only), `lock` (held while the server runs) and `postgres.log`. It listens on a free
// port of 127.0.0.1 and on nothing else. PostgreSQL refuses to run as root, so under root it runs as the user
// `postgres`, or `nobody`, and the directory is given to that user.
//
// The server never outlives the process that started it; see package child.
package pg

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"codexk8s.dev/test/local/child"
	"codexk8s.dev/test/local/lock"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Options say how the server runs. The zero value is a server for one test.
type Options struct {
	// Dir holds the server's files and keeps them after Stop. Empty means a temporary directory that is removed at
	// Stop, or when this process dies.
	Dir string
	// Durable keeps the data through a crash of the machine (fsync and the like). Tests do without, which is several
	// times faster.
	Durable bool
	// Port on 127.0.0.1; 0 means a free one.
	Port int
	// MaxConnections of the server; 0 means 200.
	MaxConnections int
}

// Server is a running PostgreSQL.
type Server struct {
	options  Options
	bin      string   // directory of the binaries
	owner    *account // the user it runs as; nil means this process's own
	dir      string
	password string
	port     int
	lock     *os.File
	guard    *child.Guard
	process  *child.Process
	stop     sync.Once
}

// Start starts a server and returns when it answers queries. ctx bounds the start only.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	s := &Server{options: o, dir: o.Dir}
	if s.bin, err = Find(); err != nil {
		return nil, err
	}
	if s.owner, err = serverAccount(); err != nil {
		return nil, err
	}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "codexk8s-pg-"); err != nil {
			return nil, fmt.Errorf("making the directory of postgres: %w", err)
		}
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return nil, fmt.Errorf("finding the directory of postgres: %w", err)
	}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	// Another process may take the free port between our looking and postgres' listening: look again.
	for attempt := 1; ; attempt++ {
		err = s.launch(ctx)
		if err == nil || attempt == 5 || o.Port != 0 || !strings.Contains(err.Error(), "in use") {
			return s, err
		}
	}
}

// URL is the connection string of a database on this server as its superuser; empty means the database `postgres`. The
// database need not exist; see CreateDatabase.
func (s *Server) URL(database string) string {
	if database == "" {
		database = "postgres"
	}
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword("postgres", s.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// CreateDatabase makes an empty database, or does nothing when there is one of that name.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.URL(""))
	if err != nil {
		return fmt.Errorf("connecting to postgres: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "42P04" { // duplicate_database
		return nil
	}
	if err != nil {
		return fmt.Errorf("creating database %s: %w", name, err)
	}
	return nil
}

// Stop ends the server, waiting for a clean shutdown, and removes a temporary directory. It may be called twice.
func (s *Server) Stop() {
	s.stop.Do(func() {
		if s.process != nil {
			// SIGINT is postgres' fast shutdown: it ends the sessions and writes a checkpoint.
			s.process.Stop(syscall.SIGINT, 15*time.Second)
		}
		s.guard.Close()
		if s.lock != nil {
			_ = s.lock.Close()
		}
		if s.options.Dir == "" {
			_ = os.RemoveAll(s.dir)
		}
	})
}

// Restart stops the server the hard way and starts it again on the same port, as a crash of the database would. Open
// connections break.
func (s *Server) Restart(ctx context.Context) error {
	s.process.Stop(syscall.SIGQUIT, 5*time.Second) // immediate shutdown: no checkpoint, recovery at the next start
	s.options.Port = s.port
	return s.launch(ctx)
}

// prepare takes the directory, gives it to the right user and makes the cluster.
func (s *Server) prepare(ctx context.Context) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of postgres: %w", err)
	}
	if err := s.owner.take(s.dir); err != nil {
		return err
	}
	var err error
	if s.lock, err = lock.Take(filepath.Join(s.dir, "lock")); err != nil {
		return fmt.Errorf("directory %s is in use by another postgres of ours; stop that one first: %w", s.dir, err)
	}
	remove := ""
	if s.options.Dir == "" {
		remove = s.dir
	}
	if s.guard, err = child.NewGuard(remove); err != nil {
		return err
	}
	data := filepath.Join(s.dir, "data")
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		if err := s.initdb(ctx, data); err != nil {
			return err
		}
	}
	password, err := os.ReadFile(filepath.Join(s.dir, "password"))
	if err != nil {
		return fmt.Errorf("reading the password of postgres: %w", err)
	}
	s.password = strings.TrimSpace(string(password))
	return clearStale(data)
}

// initdb makes the cluster next to its place and moves it there, so that an interrupted one is never taken for whole.
func (s *Server) initdb(ctx context.Context, data string) error {
	half := data + ".new"
	if err := os.RemoveAll(half); err != nil {
		return fmt.Errorf("removing an unfinished cluster: %w", err)
	}
	pwfile := filepath.Join(s.dir, "password")
	if err := os.WriteFile(pwfile, []byte(rand.Text()+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the password of postgres: %w", err)
	}
	if err := s.owner.take(pwfile); err != nil {
		return err
	}
	args := []string{"-D", half, "-U", "postgres", "--pwfile=" + pwfile, "--auth=scram-sha-256", "--encoding=UTF8",
		"--locale=C", "--no-instructions"}
	if !s.options.Durable {
		args = append(args, "--no-sync")
	}
	var out bytes.Buffer
	cmd := exec.Command(filepath.Join(s.bin, "initdb"), args...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = s.owner.attributes(s.dir, s.bin)
	process, err := child.Start(cmd, s.guard, syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-process.Done():
	case <-ctx.Done():
		process.Stop(syscall.SIGKILL, time.Second)
		return fmt.Errorf("making a database cluster in %s: %w", half, ctx.Err())
	}
	if code := process.ExitCode(); code != 0 {
		return fmt.Errorf("making a database cluster in %s: initdb ended with code %d: %s", half, code, strings.TrimSpace(out.String()))
	}
	if err := os.Rename(half, data); err != nil {
		return fmt.Errorf("moving the new cluster to its place: %w", err)
	}
	return nil
}

// launch starts the server process and waits until it answers.
func (s *Server) launch(ctx context.Context) error {
	port := s.options.Port
	if port == 0 {
		var err error
		if port, err = freePort(); err != nil {
			return err
		}
	}
	s.port = port
	logPath := filepath.Join(s.dir, "postgres.log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of postgres: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), s.arguments()...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = s.owner.attributes(s.dir, s.bin)
	process, err := child.Start(cmd, s.guard, syscall.SIGINT)
	if err != nil {
		return err
	}
	s.process = process
	return s.awaitReady(ctx, logPath)
}

func (s *Server) arguments() []string {
	connections := s.options.MaxConnections
	if connections == 0 {
		connections = 200
	}
	args := []string{
		"-D", filepath.Join(s.dir, "data"),
		"-h", "127.0.0.1", "-p", strconv.Itoa(s.port),
		"-c", "unix_socket_directories=",
		"-c", "max_connections=" + strconv.Itoa(connections),
		"-c", "timezone=UTC",
	}
	if !s.options.Durable {
		// A commit is in the files when it is acknowledged (synchronous_commit stays on), so it outlives a crash of the
		// server; only a crash of the machine loses it.
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	return args
}

// awaitReady asks until the server answers, has ended, or ctx is over.
func (s *Server) awaitReady(ctx context.Context, logPath string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.URL(""))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.process.Done():
			log, _ := os.ReadFile(logPath)
			return fmt.Errorf("postgres ended at its start with code %d: %s", s.process.ExitCode(), strings.TrimSpace(string(log)))
		case <-ctx.Done():
			return fmt.Errorf("waiting for postgres to answer, its log is %s: %w", logPath, errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
