package postgres

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/test/local/pg/pgtest"
)

// A world is a server with an admin who is no superuser.
type world struct {
	*testing.T
	root  *pgtest.DB
	admin string // URL
}

func setup(t *testing.T) *world {
	t.Helper()
	address := pgtest.New(t)
	w := &world{T: t, root: pgtest.Open(t, address)}
	w.admin = w.account(address, "CREATEDB CREATEROLE")
	return w
}

// account makes one with these rights and returns its URL.
func (w *world) account(address, rights string) string {
	w.Helper()
	name := w.unique("admin")
	w.root.Do(`CREATE ROLE ` + name + ` LOGIN PASSWORD 'secret-word' ` + rights)
	w.Cleanup(func() { w.drop(`DROP ROLE IF EXISTS ` + name) })
	u, err := url.Parse(address)
	if err != nil {
		w.Fatal(err)
	}
	u.User, u.Path = url.UserPassword(name, "secret-word"), "/postgres"
	return u.String()
}

func (w *world) unique(prefix string) string {
	return prefix + "_" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
}

func (w *world) drop(statement string) {
	if _, err := w.root.Exec(context.WithoutCancel(w.Context()), statement); err != nil {
		w.Error(err)
	}
}

func (w *world) hold(name string) *Session {
	w.Helper()
	s, err := Hold(w.Context(), w.admin, name)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// create makes a database, which goes at the end, and returns the URL for its role.
func (w *world) create(s *Session, password string) string {
	w.Helper()
	if err := s.Create(w.Context(), password); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := s.Drop(context.WithoutCancel(w.Context())); err != nil {
			w.Error(err)
		}
	})
	return s.Connection(password)["url"]
}

// do runs a statement as whoever that URL is.
func (w *world) do(address, statement string) error {
	w.Helper()
	conn, err := pgx.Connect(w.Context(), address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(w.Context())) }()
	_, err = conn.Exec(w.Context(), statement)
	return err
}

func (w *world) must(address, statement string) {
	w.Helper()
	if err := w.do(address, statement); err != nil {
		w.Fatalf("%s: %v", statement, err)
	}
}

// Two runs side by side have a database each, and neither gets into the other's, nor does anybody else.
func TestTwoRunsSideBySide(t *testing.T) {
	w := setup(t)
	a, b := w.hold(w.unique("run")), w.hold(w.unique("run"))
	urlA, urlB := w.create(a, "first-word"), w.create(b, "other-word")
	w.must(urlA, `CREATE TABLE people (name text); INSERT INTO people VALUES ('ann')`)
	for who, address := range map[string]string{"another run": urlB, "somebody": w.account(w.admin, "")} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/" + a.name
		if err := w.do(u.String(), `SELECT 1`); state(err) != "42501" {
			t.Errorf("%s in the database of a run: %v", who, err)
		}
	}
	for _, statement := range []string{`CREATE DATABASE more`, `CREATE ROLE more`, `ALTER DATABASE ` + b.name + ` OWNER TO ` + a.name, `GRANT CONNECT ON DATABASE ` + b.name + ` TO ` + a.name} {
		if err := w.do(urlA, statement); err == nil {
			t.Errorf("a run may do: %s", statement)
		}
	}
	size, tables, err := a.Describe(t.Context())
	if err != nil || !strings.HasSuffix(size, "kB") && !strings.HasSuffix(size, "MB") {
		t.Errorf("its size is %q, %v", size, err)
	}
	if diff := cmp.Diff([]Table{{"public.people", "16 kB"}}, tables); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}

	// Made once more it has its data, and another password.
	if err := a.Create(t.Context(), "second-word"); err != nil {
		t.Fatal(err)
	}
	if err := w.do(urlA, `SELECT 1`); state(err) != "28P01" {
		t.Errorf("with the former password: %v", err)
	}
	w.must(strings.Replace(urlA, "first-word", "second-word", 1), `INSERT INTO people SELECT 'bob' FROM people`)

	// In use or not, and as often as one likes.
	conn, err := pgx.Connect(t.Context(), urlB)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for range 2 {
		if err := b.Drop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if there, err := b.Exists(t.Context()); there || err != nil {
		t.Errorf("it is still there: %t, %v", there, err)
	}
	if left := w.root.Lines(`SELECT rolname::text FROM pg_roles WHERE rolname = $1`, b.name); len(left) > 0 {
		t.Errorf("its role is still there: %v", left)
	}
	if there, err := a.Exists(t.Context()); !there || err != nil {
		t.Errorf("the other one: %t, %v", there, err)
	}
}

// Whatever name we are given is a name and no statement.
func TestNamesAreNoStatements(t *testing.T) {
	w := setup(t)
	for _, name := range []string{w.unique(`a"; DROP DATABASE postgres; --`), w.unique(`it's`), w.unique(`$1 %s`), w.unique("Größe"), w.unique(strings.Repeat("x", 50))} {
		s := w.hold(name)
		w.create(s, "word")
		if there, err := s.Exists(t.Context()); !there || err != nil {
			t.Errorf("%s: %t, %v", name, there, err)
		}
	}
	var refused *Refused
	if s, err := Hold(t.Context(), w.admin, "a\x00b"); !errors.As(err, &refused) {
		t.Errorf("a name with a zero byte: %v, %v", s, err)
	}
}

// The database's owner can't make a description run what they like.
func TestAHostileDatabase(t *testing.T) {
	w := setup(t)
	s := w.hold(w.unique("run"))
	owner := w.create(s, "word")
	for _, statement := range []string{
		`CREATE FUNCTION public.pg_size_pretty(bigint) RETURNS text LANGUAGE sql AS $$ SELECT 'stolen' $$`,
		`CREATE FUNCTION public.current_database() RETURNS name LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$`,
		`CREATE TABLE public.pg_class (relname text)`,
		`CREATE TABLE public."a""; DROP TABLE x; --
b" ()`,
		`ALTER DATABASE ` + s.name + ` SET search_path = public, pg_catalog`,
	} {
		w.must(owner, statement)
	}
	size, tables, err := s.Describe(t.Context())
	if err != nil || size == "stolen" || len(tables) != 2 {
		t.Errorf("described as %q, %v, %v", size, tables, err)
	}
}

// What the server will always refuse is told from what passes, and names no account.
func TestRefusalsAndWeather(t *testing.T) {
	w := setup(t)
	name, refused := w.unique("run"), new(Refused)
	for what, address := range map[string]string{
		"no URL": "postgres://%zz", "a wrong password": strings.Replace(w.admin, "secret-word", "wrong", 1), "no such account": strings.Replace(w.admin, "admin_", "nobody_", 1),
	} {
		_, err := Hold(t.Context(), address, name)
		if !errors.As(err, &refused) || strings.Contains(err.Error(), "admin_") || strings.Contains(err.Error(), "nobody_") || strings.Contains(err.Error(), "secret-word") {
			t.Errorf("%s: %v", what, err)
		}
	}
	s, err := Hold(t.Context(), w.account(w.admin, "CREATEROLE"), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), "word"); !errors.As(err, &refused) || !strings.Contains(err.Error(), "42501") {
		t.Errorf("without the right to make databases: %v", err)
	}
	if err := s.Drop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	away, err := url.Parse(w.admin)
	if err != nil {
		t.Fatal(err)
	}
	away.Host = "127.0.0.1:1"
	if _, err := Hold(t.Context(), away.String(), name); err == nil || errors.As(err, &refused) || strings.Contains(err.Error(), "secret-word") {
		t.Errorf("a server that is away: %v", err)
	}
}
