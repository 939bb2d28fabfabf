package pg

import (
	"context"
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
