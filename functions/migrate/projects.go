package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// projects is the file that says who works on what:
//
//	owners: [alice]                  # of the whole platform
//	projects:
//	  - id: shop
//	    name: The shop
//	    settings: {engine: codex, model: gpt-5.4, parallel: 2, keep: 24h, runtimeClass: gvisor, sandbox: agent-sandbox,
//	      instructions: "Write tests.", modes: {dev: full-env}, servicesFile: deploy/services.yaml, hostedTools: [web_search]}
//	    repositories: [acme/shop]
//	    members: {bob: maintainer}   # owner, admin, maintainer or reader
//
// A login or a repository counts by GitHub's number from its first sight on. "bob@583231" says which account is meant
// where somebody else has the name by now, and "acme/shop@1296269" which repository.
type projects struct {
	Owners   []word    `yaml:"owners"`
	Projects []project `yaml:"projects"`
}

type project struct {
	ID           word          `yaml:"id"`
	Name         word          `yaml:"name"`
	Settings     settings      `yaml:"settings"`
	Repositories []word        `yaml:"repositories"`
	Members      map[word]word `yaml:"members"`
}

// settings are limits and defaults of a project; what is not set is not stored, and the process decides. config/README.md
// has a row for each.
type settings struct {
	Engine       word   `yaml:"engine" json:"engine,omitzero"`
	Model        word   `yaml:"model" json:"model,omitzero"`
	Parallel     *int   `yaml:"parallel" json:"parallel,omitempty"`        // runs at a time
	Keep         word   `yaml:"keep" json:"keep,omitzero"`                 // how long a run's namespace stays, "24h"
	RuntimeClass word   `yaml:"runtimeClass" json:"runtimeClass,omitzero"` // of agents' pods, such as gvisor or kata; the cluster must have it
	Sandbox      word   `yaml:"sandbox" json:"sandbox,omitzero"`           // agent-sandbox: it makes agents' pods, in place of a Job
	Instructions string `yaml:"instructions" json:"instructions,omitempty"`

	Modes        words `yaml:"modes" json:"modes,omitempty"`              // of roles, full-env or code-only
	ServicesFile word  `yaml:"servicesFile" json:"servicesFile,omitzero"` // of full-env roles, its path in the repository

	HostedTools []word `yaml:"hostedTools" json:"hostedTools,omitempty"` // that OpenAI may run for agents, outside of their network
}

// A word is a string that knows its line, for errors that say where.
type word struct {
	text string
	line int
}

// words are names and values.
type words map[word]word

// MarshalJSON is the plain object.
func (ws words) MarshalJSON() ([]byte, error) {
	plain := map[string]string{}
	for name, value := range ws {
		plain[name.text] = value.text
	}
	return json.Marshal(plain)
}

// UnmarshalYAML reads a scalar.
func (w *word) UnmarshalYAML(n *yaml.Node) error {
	w.line = n.Line
	return n.Decode(&w.text)
}

// MarshalJSON is the plain string.
func (w word) MarshalJSON() ([]byte, error) { return json.Marshal(w.text) }

// IsZero reports whether the word was not given.
func (w word) IsZero() bool { return w.text == "" }

var (
	projectID  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`) // as the table's CHECK has it
	repository = regexp.MustCompile(`^[a-z0-9_.-]{1,100}/[a-z0-9_.-]{1,100}(@[1-9][0-9]{0,17})?$`)
	login      = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*(\[bot\])?(@[1-9][0-9]{0,17})?$`)
	objectName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`) // of Kubernetes
	roles      = []string{"owner", "admin", "maintainer", "reader"}
)

// parse reads and checks the file; all that is wrong comes in one error, on one line, each with its place. Logins and
// repositories are lower case afterwards, as GitHub does not tell them apart.
func parse(data []byte) (*projects, error) {
	f := &projects{}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	var wrong *yaml.TypeError
	if err := d.Decode(f); errors.As(err, &wrong) {
		return nil, errors.New(strings.Join(wrong.Errors, "; "))
	} else if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("no YAML: %w", err)
	}
	var errs []string
	bad := func(w word, format string, args ...any) {
		errs = append(errs, fmt.Sprintf("line %d: %s", w.line, fmt.Sprintf(format, args...)))
	}
	for i := range f.Owners {
		f.Owners[i].lower(login, "login", bad)
	}
	ids, bound := map[string]int{}, map[string]int{}
	for n := range f.Projects {
		p := &f.Projects[n]
		if p.ID.IsZero() {
			errs = append(errs, fmt.Sprintf("project %d of %d has no id", n+1, len(f.Projects)))
			continue
		}
		p.check(bad)
		once(ids, p.ID, "project", bad)
		for i := range p.Repositories {
			p.Repositories[i].lower(repository, "repository (owner/name)", bad)
			once(bound, p.Repositories[i], "repository", bad)
		}
	}
	if len(errs) > 0 {
		return nil, errors.New(strings.Join(errs, "; "))
	}
	return f, nil
}

func (p *project) check(bad func(word, string, ...any)) {
	if !projectID.MatchString(p.ID.text) {
		bad(p.ID, "project id %q: want 1 to 40 lower-case letters, digits and inner hyphens", p.ID.text)
	}
	if p.Name.IsZero() {
		p.Name = p.ID
	}
	if e := p.Settings.Engine; !e.IsZero() && e.text != "codex" && e.text != "builtin" {
		bad(e, "engine %q: want codex or builtin", e.text)
	}
	if n := p.Settings.Parallel; n != nil && *n < 1 {
		bad(p.ID, "parallel of project %s is %d: want at least 1", p.ID.text, *n)
	}
	if k := p.Settings.Keep; !k.IsZero() {
		if d, err := time.ParseDuration(k.text); err != nil || d < 0 {
			bad(k, "keep %q: want a duration such as 24h", k.text)
		}
	}
	if c := p.Settings.RuntimeClass; !c.IsZero() && !objectName.MatchString(c.text) {
		bad(c, "runtimeClass %q: want the name of a RuntimeClass, such as gvisor", c.text)
	}
	if s := p.Settings.Sandbox; !s.IsZero() && s.text != "agent-sandbox" {
		bad(s, "sandbox %q: want agent-sandbox, or leave it out for a Job", s.text)
	}
	for role, mode := range p.Settings.Modes {
		if mode.text != "full-env" && mode.text != "code-only" {
			bad(mode, "mode %q of role %s: want full-env or code-only", mode.text, role.text)
		}
	}
	if f := p.Settings.ServicesFile; !f.IsZero() && (!fs.ValidPath(f.text) || f.text == "." || strings.Contains(f.text, "..")) {
		bad(f, "servicesFile %q: want a file's path in the repository, such as deploy/services.yaml", f.text)
	}
	for _, tool := range p.Settings.HostedTools {
		if tool.text != "web_search" && tool.text != "web_search_preview" {
			bad(tool, "hostedTools: %q is not offered: want web_search or web_search_preview", tool.text)
		}
	}
	members := map[word]word{}
	seen := map[string]int{}
	for who, role := range p.Members {
		if !slices.Contains(roles, role.text) {
			bad(role, "role %q of %s: want one of %s", role.text, who.text, strings.Join(roles, ", "))
		}
		who.lower(login, "login", bad)
		name, _ := numbered(who.text) // the same login twice is one too many, with a number or without
		once(seen, word{name, who.line}, "login", bad)
		members[who] = role
	}
	p.Members = members
}

func (w *word) lower(pattern *regexp.Regexp, what string, bad func(word, string, ...any)) {
	w.text = strings.ToLower(w.text)
	if !pattern.MatchString(w.text) {
		bad(*w, "%q is no %s", w.text, what)
	}
}

func once(seen map[string]int, w word, what string, bad func(word, string, ...any)) {
	if line, twice := seen[w.text]; twice {
		bad(w, "%s %q is in line %d already", what, w.text, line)
	}
	seen[w.text] = w.line
}

// everywhere is the project id of members of the whole platform.
const everywhere = "*"

// save brings the tables to what the file says, in one transaction.
func (f *projects) save(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("connecting to Postgres: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it is a no-op
	// Two at once with different files would wait for each other's rows crosswise.
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('projects-file', 0))`); err != nil {
		return fmt.Errorf("waiting for another migrate: %w", err)
	}
	for _, o := range f.Owners {
		if err := saveMember(ctx, tx, everywhere, o.text, "owner"); err != nil {
			return err
		}
	}
	for _, p := range f.Projects {
		if err := p.save(ctx, tx); err != nil {
			return fmt.Errorf("storing project %s: %w", p.ID.text, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing the projects: %w", err)
	}
	return nil
}

func (p *project) save(ctx context.Context, tx *sql.Tx) error {
	settings, err := json.Marshal(p.Settings)
	if err != nil {
		return fmt.Errorf("encoding the settings: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO projects (id, name, settings)
		VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE
		SET name = excluded.name, settings = excluded.settings
	`, p.ID.text, p.Name.text, string(settings)); err != nil {
		return err
	}
	for _, r := range p.Repositories {
		if err := saveRepository(ctx, tx, p.ID.text, r.text); err != nil {
			return fmt.Errorf("repository %s: %w", r.text, err)
		}
	}
	for who, role := range p.Members {
		if err := saveMember(ctx, tx, p.ID.text, who.text, role.text); err != nil {
			return err
		}
	}
	return nil
}

// numbered splits "name@number", the form that says which of GitHub's accounts or repositories is meant by the name;
// the number is 0 where none is given.
func numbered(text string) (name string, number int64) {
	name, digits, _ := strings.Cut(text, "@")
	number, _ = strconv.ParseInt(digits, 10, 64) // what the pattern lets pass is a number
	return name, number
}

// saveRepository binds the repository of that number, else the one that is called so now, else the one that was bound by
// this name. A number that is given for a name which another repository has here makes a second one.
func saveRepository(ctx context.Context, tx *sql.Tx, project, repository string) error {
	name, number := numbered(repository)
	result, err := tx.ExecContext(ctx, `
		UPDATE repositories
		SET project_id = $1
		WHERE github_id = $3 OR $3 = 0 AND lower(name) = $2
	`, project, name, number)
	if err != nil {
		return err
	}
	if known, err := result.RowsAffected(); err != nil || known > 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO repositories (full_name, project_id, github_id)
		VALUES (CASE WHEN $3 > 0 AND EXISTS (SELECT 1 FROM repositories WHERE full_name = $2 AND github_id IS NOT NULL)
		             THEN $2 || '@' || $3 ELSE $2 END,
		        $1, nullif($3, 0))
		ON CONFLICT (full_name) DO UPDATE
		SET project_id = excluded.project_id, github_id = coalesce(excluded.github_id, repositories.github_id)
	`, project, name, number)
	return err
}

// saveMember stores the role; a number that is known stays, unless the file gives another one.
func saveMember(ctx context.Context, tx *sql.Tx, project, who, role string) error {
	login, number := numbered(who)
	_, err := tx.ExecContext(ctx, `
		INSERT INTO members (project_id, login, role, github_id)
		VALUES ($1, $2, $3, nullif($4, 0))
		ON CONFLICT (project_id, login) DO UPDATE
		SET role = excluded.role, github_id = coalesce(excluded.github_id, members.github_id)
	`, project, login, role, number)
	if err != nil {
		return fmt.Errorf("storing member %s of %s: %w", login, project, err)
	}
	return nil
}
