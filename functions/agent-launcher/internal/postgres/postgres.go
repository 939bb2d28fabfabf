// Package postgres makes, describes and drops databases of runs on a Postgres that a project names.
//
// A database and its role have one name, which comes from the run's namespace. The role owns the database, may log in
// and may do nothing else on the server; nobody but it and the server's admin may connect to the database. So two runs
// side by side can't reach each other's. What else is on the server is the operator's to guard: a server for runs alone
// is best.
//
// The admin's account needs CREATEDB and CREATEROLE, and need not be a superuser. What belongs to a run is hostile: a
// session in its database looks for names in pg_catalog alone, and reads nothing of its tables.
//
// Everything may be done again. Whoever changes a database holds its lock on the server (Hold).
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// connectFor bounds a connection being made.
const connectFor = 10 * time.Second

// MaxTables are how many tables a description names.
const MaxTables = 50

// A Refused says that the server will not do it however often it is tried. Message is for people and agents; it holds
// no secret.
type Refused struct{ Message string }

func (r *Refused) Error() string { return r.Message }

// A Session is one database being looked after.
type Session struct {
	name  string
	admin *pgx.Conn
}

// Hold connects to the server with the admin's URL and locks the database of that name, which need not be there. Close
// ends both.
func Hold(ctx context.Context, url, name string) (*Session, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, &Refused{"the Secret of the project's Postgres holds no URL like postgres://user:password@host:5432/postgres"}
	}
	config.ConnectTimeout = connectFor
	admin, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, sorted("connecting to the project's Postgres", err)
	}
	s := &Session{name: name, admin: admin}
	if _, err := admin.Exec(ctx, `SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended('codexk8s ' || $1, 0))`, name); err != nil {
		return nil, errors.Join(sorted("locking database "+name, err), s.Close(ctx))
	}
	return s, nil
}

// Close ends the connection, and with it the lock.
func (s *Session) Close(ctx context.Context) error {
	if err := s.admin.Close(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("leaving the project's Postgres: %w", err)
	}
	return nil
}

// Exists reports whether the database is there.
func (s *Session) Exists(ctx context.Context) (there bool, err error) {
	err = s.admin.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1)`, s.name).Scan(&there)
	return there, sorted("looking for database "+s.name, err)
}

// Create makes the role and the database, and gives the role that password. What is there stays, with its data.
func (s *Session) Create(ctx context.Context, password string) error {
	name := pgx.Identifier{s.name}.Sanitize()
	// The server is given what it would make of the password, which then stands in none of its logs.
	steps := []struct{ known, statement string }{
		{duplicateObject, `CREATE ROLE ` + name + ` LOGIN`},
		{"", `ALTER ROLE ` + name + ` LOGIN PASSWORD '` + verifier(password) + `'`},
		{"", `GRANT ` + name + ` TO CURRENT_USER`}, // who makes a database for a role must be a member of it
		// Nobody gets in before everybody else is shut out.
		{duplicateDatabase, `CREATE DATABASE ` + name + ` OWNER ` + name + ` TEMPLATE template0 ALLOW_CONNECTIONS false`},
		{"", `REVOKE ALL ON DATABASE ` + name + ` FROM PUBLIC`},
		{"", `ALTER DATABASE ` + name + ` ALLOW_CONNECTIONS true`},
	}
	for _, step := range steps {
		if _, err := s.admin.Exec(ctx, step.statement); err != nil && (step.known == "" || state(err) != step.known) {
			return sorted("creating database "+s.name, err)
		}
	}
	return nil
}

// Address is where clients reach the server.
func (s *Session) Address() (host string, port int32) {
	config := s.admin.Config()
	return config.Host, int32(config.Port)
}

// Connection is what a client needs to know to use the database: a URL, and the same as libpq's variables.
// https://www.postgresql.org/docs/current/libpq-envars.html
func (s *Session) Connection(password string) map[string]string {
	config := s.admin.Config()
	port := strconv.Itoa(int(config.Port))
	return map[string]string{
		"url":    "postgres://" + s.name + ":" + password + "@" + net.JoinHostPort(config.Host, port) + "/" + s.name,
		"PGHOST": config.Host, "PGPORT": port, "PGDATABASE": s.name, "PGUSER": s.name, "PGPASSWORD": password,
	}
}

// Drop removes the database with all that is in it, and its role.
func (s *Session) Drop(ctx context.Context) error {
	name := pgx.Identifier{s.name}.Sanitize()
	for _, statement := range []string{`ALTER ROLE ` + name + ` NOLOGIN`, `DROP DATABASE IF EXISTS ` + name + ` WITH (FORCE)`, `DROP ROLE IF EXISTS ` + name} {
		if _, err := s.admin.Exec(ctx, statement); err != nil && state(err) != undefinedObject {
			return sorted("dropping database "+s.name, err)
		}
	}
	return nil
}

// A Table is one of the database's.
type Table struct{ Name, Size string }

// Describe says how large the database is and which tables it has, up to MaxTables and one more. It reads no data.
func (s *Session) Describe(ctx context.Context) (size string, tables []Table, err error) {
	config := s.admin.Config()
	config.Database = s.name
	// The database's owner may have set another path for everybody who connects, with operators of its own.
	config.RuntimeParams["search_path"] = "pg_catalog, pg_temp"
	inside, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return "", nil, sorted("connecting to database "+s.name, err)
	}
	defer func() { err = errors.Join(err, inside.Close(context.WithoutCancel(ctx))) }()
	if err := inside.QueryRow(ctx, `SELECT pg_size_pretty(pg_database_size(current_database()))`).Scan(&size); err != nil {
		return "", nil, sorted("describing database "+s.name, err)
	}
	rows, err := inside.Query(ctx, `
		SELECT n.nspname || '.' || c.relname, pg_size_pretty(pg_total_relation_size(c.oid))
		FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname, 'pg_')
		ORDER BY 1
		LIMIT $1
	`, MaxTables+1)
	if err == nil {
		tables, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Table])
	}
	return size, tables, sorted("describing database "+s.name, err)
}

// Of https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	duplicateDatabase = "42P04"
	duplicateObject   = "42710"
	undefinedObject   = "42704"
)

// passing are the classes of errors that time may mend: connections, transactions that collide, resources, objects in
// use, an operator's intervention, the system, and what Postgres found wrong with itself.
var passing = []string{"08", "25", "40", "53", "55", "57", "58", "XX"}

func state(err error) string {
	if refused := new(pgconn.PgError); errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// sorted tells what the server refuses for good from what passes, by what it says.
func sorted(doing string, err error) error {
	refused := new(pgconn.PgError)
	if err == nil || !errors.As(err, &refused) || len(refused.Code) != 5 {
		if err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
		return nil
	}
	for _, class := range passing {
		if strings.HasPrefix(refused.Code, class) {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	words := cmp.Or(refused.Message, "no reason given")
	if strings.HasPrefix(refused.Code, "28") {
		words = "it does not let the platform in" // the server's words name an account
	}
	return &Refused{fmt.Sprintf("%s: %s (SQLSTATE %s)", doing, words, refused.Code)}
}
