package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// TestMain lets scripts run the program by its name.
func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"codexk8s": main}) }

// TestEachOperationHasItsCommand: what the contract offers is there by name.
func TestEachOperationHasItsCommand(t *testing.T) {
	has := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		has[c.Annotations[operation]] = true
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).root())
	doc, err := openapi3.NewLoader().LoadFromFile("../internal/api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			if !has[o.OperationID] && !slices.Contains(forBrowsers, o.OperationID) {
				t.Errorf("%s %s (%s) has no command", method, path, o.OperationID)
			}
		}
	}
}

// forBrowsers are operations that make no sense on a command line.
var forBrowsers []string

// TestScripts runs the program against the console, with stage-router behind it in place of a Broker.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "codexk8s.dev/functions/console", "codexk8s.dev/functions/stage-router").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			return platform(e, dir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// ends N COMMAND … runs a command that ends with that number.
			"ends": func(ts *testscript.TestScript, _ bool, args []string) {
				code := 0
				if exit := (*exec.ExitError)(nil); errors.As(ts.Exec(args[1], args[2:]...), &exit) {
					code = exit.ExitCode()
				}
				if strconv.Itoa(code) != args[0] {
					ts.Fatalf("it ends with %d\n%s", code, ts.ReadFile("stderr"))
				}
			},
		},
	})
}

// platform is what a script has: a database with runs of two projects, the two functions, and tokens of people.
func platform(e *testscript.Env, binaries string) error {
	t := e.T().(testing.TB)
	url := pgtest.New(t)
	fill(pgtest.Open(t, url))
	db, err := store.Open(t.Context(), "test", url)
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	for id, login := range map[int64]string{1: "olga", 3: "mary", 4: "rita"} {
		token := "cxk_" + login + strings.Repeat("x", 40)
		token += fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(token)))
		hash := sha256.Sum256([]byte(token))
		if _, err := db.MakeToken(t.Context(), store.Account{ID: id, Login: login}, hash[:], store.Token{Name: "test", Scopes: access.Scopes, Expires: db.Now().Add(time.Hour)}); err != nil {
			return err
		}
		e.Setenv(strings.ToUpper(login), token)
	}
	for sealed := 0; sealed < 5; { // a transaction of another test holds it up
		seal, err := db.SealAudit(t.Context(), 1000)
		if err != nil {
			return err
		}
		if sealed += seal.Rows; seal.Rows > 0 {
			e.Setenv("SEAL", hex.EncodeToString(seal.Hash))
		}
	}
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	t.Cleanup(broker.Close)
	router, err := serve(t, filepath.Join(binaries, "stage-router"), "DATABASE_URL="+url, "K_SINK="+broker.URL)
	if err != nil {
		return err
	}
	console, err := serve(t, filepath.Join(binaries, "console"), "DATABASE_URL="+url, "K_SINK="+router)
	e.Setenv("CODEXK8S_HOST", console)
	return err
}

// serve starts a function, and returns its address when it is ready.
func serve(t testing.TB, binary string, env ...string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(os.Environ(), append(env, "PORT="+strconv.Itoa(port), "QUIET_PERIOD=1ms", "LOG_LEVEL=ERROR")...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", err
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it was killed when the test's context ended
	address := "http://127.0.0.1:" + strconv.Itoa(port)
	for {
		resp, err := http.Get(address + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return address, nil
			}
		}
		select {
		case <-t.Context().Done():
			return "", t.Context().Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func fill(db *pgtest.DB) {
	db.Do(`INSERT INTO projects (id, name) VALUES ('shop', 'Shop'), ('api', 'API')`)
	db.Do(`INSERT INTO repositories (full_name, project_id, name) VALUES ('acme/shop', 'shop', 'acme/shop'), ('acme/api', 'api', 'acme/api')`)
	db.Do(`INSERT INTO members (project_id, login, role, github_id) VALUES ('*', 'olga', 'owner', 1), ('shop', 'mary', 'maintainer', 3), ('shop', 'rita', 'reader', 4)`)
	db.Do(`INSERT INTO work_items (repository, issue, full_name, title, base_branch) VALUES ('acme/shop', 1, 'acme/shop', E'Add a \x1b[31mgreeting', 'main'), ('acme/shop', 2, 'acme/shop', 'Round prices once', 'main'), ('acme/api', 1, 'acme/api', 'Secret plans', 'main')`)
	db.Do(`
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, reason, engine, model, requested_by, intent, namespace, created_at, finished_at)
		VALUES ('7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8', 'acme/shop', 1, 'shop', 'dev', 'dev', 'running', '', 'codex', 'gpt-5.4', 'mary', 'a', 'n', now(), NULL),
		       ('7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e9', 'acme/shop', 2, 'shop', 'dev', 'dev', 'failed', 'no_changes', 'codex', 'gpt-5.4', 'mary', 'b', 'n', now() - interval '1 hour', now()),
		       ('11111111-3b57-4c0e-9d6a-52b0c1f4a9e8', 'acme/api', 1, 'api', 'dev', 'dev', 'running', '', 'codex', 'gpt-5.4', 'paul', 'c', 'n', now(), NULL)
	`)
	db.Do(`INSERT INTO run_logs (run_id, seq, at, stream, line) SELECT '7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e9', n, now(), 'agent', CASE n WHEN 700 THEN E'\x1b[31merror: no greeting' ELSE 'line ' || n END FROM generate_series(1, 1000) n`)
	db.Do(`INSERT INTO audit (actor, action, detail, function) SELECT 'github:mary', 'run.requested', 'a <b> & "c" ' || n, 'stage-router' FROM generate_series(1, 2) n`)
}
