// Package project reads projects.yaml, the file that says who works on what:
//
//	owners: [alice]                  # of the whole platform
//	projects:
//	  - id: shop
//	    name: The shop
//	    settings: {engine: codex, model: gpt-5.4, parallel: 2, keep: 24h, runtimeClass: gvisor, sandbox: agent-sandbox,
//	      instructions: "Write tests.", modes: {dev: full-env}, servicesFile: deploy/services.yaml,
//	      hostedTools: [web_search]}
//	    repositories: [acme/shop]
//	    members: {bob: maintainer}   # owner, admin, maintainer or reader
//	    process: |                   # in place of the installation's; what package stage reads
//	      version: 1
//	      ...
//	    prompts:                     # parts of prompts in place of the installation's; see package prompt
//	      ru:
//	        goal dev: |
//	          ...
//
// Once a login or a repository has been seen, GitHub's number identifies it. "bob@583231" says which account is meant
// if somebody else has the name by now, and "acme/shop@1296269" which repository.
//
// The package is pure. One error lists all faults, each with its line.
package project

import (
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/yamlfile"
)

// File is what projects.yaml says.
type File struct {
	Owners   []Name // logins
	Projects []Project
}

// Project is one project with its repositories and its members.
type Project struct {
	ID           string // 1 to 40 lower-case letters, digits and inner hyphens
	Name         string // for people; the ID unless given
	Settings     Settings
	Process      Block // the project's own, in the form of shared/stage/process.yaml; zero = the installation's
	Prompts      prompt.Parts
	Repositories []Name // owner/name
	Members      []Member
}

// Block is a text of several lines in the file.
type Block struct {
	Text string
	Line int // of the file where the text begins
}

// Name is a login or a repository's owner/name, in lower case, because GitHub ignores case.
type Name struct {
	Text   string
	Number int64 // GitHub's number of the account or repository that is meant; 0 = the first one seen with the name
	Line   int   // of the file
}

// Member is a person's role in a project.
type Member struct {
	Login Name
	Role  access.Role
}

// written is the file as written.
type written struct {
	Owners   []string         `yaml:"owners"`
	Projects []writtenProject `yaml:"projects"`
}

type writtenProject struct {
	ID           string            `yaml:"id"`
	Name         string            `yaml:"name"`
	Settings     Settings          `yaml:"settings"`
	Process      string            `yaml:"process"`
	Prompts      prompt.Parts      `yaml:"prompts"`
	Repositories []string          `yaml:"repositories"`
	Members      map[string]string `yaml:"members"`
}

var (
	id         = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`) // the same as the table's CHECK
	repository = regexp.MustCompile(`^[a-z0-9_.-]{1,100}/[a-z0-9_.-]{1,100}(@[1-9][0-9]{0,17})?$`)
	login      = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*(\[bot\])?(@[1-9][0-9]{0,17})?$`)
	objectName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`) // of Kubernetes
)

// Parse reads and checks the file.
func Parse(data []byte) (*File, error) {
	w := written{}
	source, err := yamlfile.Read(data, &w)
	if err != nil {
		return nil, err
	}
	c := &checker{File: source, ids: map[string]int{}, bound: map[string]int{}, numbers: map[string]int{}}
	f := &File{}
	for i, o := range w.Owners {
		f.Owners = append(f.Owners, c.name(login, "login", o, "owners", i))
	}
	for i, p := range w.Projects {
		if p.ID == "" {
			c.Bad([]any{"projects", i}, "project %d of %d has no id", i+1, len(w.Projects))
			continue
		}
		f.Projects = append(f.Projects, c.project(p, "projects", i))
	}
	return f, c.Err()
}

// checker collects the faults.
type checker struct {
	*yamlfile.File
	ids, bound, numbers map[string]int // the line on which each appears first
}

func (c *checker) project(w writtenProject, path ...any) Project {
	at := func(steps ...any) []any { return slices.Concat(path, steps) }
	if !id.MatchString(w.ID) {
		c.Bad(at("id"), "project id %q: want 1 to 40 lower-case letters, digits and inner hyphens", w.ID)
	}
	c.once(c.ids, w.ID, "project", at("id")...)
	p := Project{ID: w.ID, Name: w.Name, Settings: w.Settings, Prompts: w.Prompts}
	if p.Name == "" {
		p.Name = p.ID
	}
	c.settings(w.Settings, at("settings")...)
	if w.Process != "" {
		line, ok := c.Block(at("process")...)
		if !ok {
			c.Bad(at("process"), "process: want the process below it, indented, after a vertical bar: process: |")
		}
		p.Process = Block{Text: w.Process, Line: line}
	}
	w.Prompts.Check(c.File, at("prompts")...)
	for i, r := range w.Repositories {
		name := c.name(repository, "repository (owner/name)", r, at("repositories", i)...)
		c.once(c.bound, strings.ToLower(r), "repository", at("repositories", i)...)
		if name.Number != 0 {
			c.once(c.numbers, strconv.FormatInt(name.Number, 10), "the repository with the number", at("repositories", i)...)
		}
		p.Repositories = append(p.Repositories, name)
	}
	logins, accounts := map[string]int{}, map[string]int{}
	for _, who := range slices.Sorted(maps.Keys(w.Members)) {
		role := access.Role(w.Members[who])
		if !slices.Contains(access.Roles, role) {
			c.Bad(at("members", who), "role %q of %s: want one of %s", role, who, listed(access.Roles))
		}
		name := c.name(login, "login", who, at("members", who)...)
		c.once(logins, name.Text, "login", at("members", who)...)
		if name.Number != 0 {
			c.once(accounts, strconv.FormatInt(name.Number, 10), "the account with the number", at("members", who)...)
		}
		p.Members = append(p.Members, Member{Login: name, Role: role})
	}
	return p
}

func (c *checker) settings(s Settings, path ...any) {
	bad := func(key, format string, args ...any) { c.Bad(slices.Concat(path, []any{key}), format, args...) }
	if s.Engine != "" && s.Engine != "codex" && s.Engine != "builtin" {
		bad("engine", "engine %q: want codex or builtin", s.Engine)
	}
	if c.Has(slices.Concat(path, []any{"parallel"})...) && s.Parallel < 1 {
		bad("parallel", "parallel is %d: want at least 1", s.Parallel)
	}
	if d, err := time.ParseDuration(s.Keep); s.Keep != "" && (err != nil || d < 0) {
		bad("keep", "keep %q: want a duration such as 24h", s.Keep)
	}
	if s.RuntimeClass != "" && !objectName.MatchString(s.RuntimeClass) {
		bad("runtimeClass", "runtimeClass %q: want the name of a RuntimeClass, such as gvisor", s.RuntimeClass)
	}
	if s.Sandbox != "" && s.Sandbox != "agent-sandbox" {
		bad("sandbox", "sandbox %q: want agent-sandbox, or leave it out for a Job", s.Sandbox)
	}
	for _, role := range slices.Sorted(maps.Keys(s.Modes)) {
		if mode := s.Modes[role]; mode != "full-env" && mode != "code-only" {
			bad("modes", "mode %q of role %s: want full-env or code-only", mode, role)
		}
	}
	if f := s.ServicesFile; f != "" && (!fs.ValidPath(f) || f == "." || strings.Contains(f, "..")) {
		bad("servicesFile", "servicesFile %q: want a file's path in the repository, such as deploy/services.yaml", f)
	}
	if s.Database != "" && !objectName.MatchString(s.Database) {
		bad("database", "database %q: want the name of a Secret in the namespace codexk8s-databases, such as shop", s.Database)
	}
	if h := s.HiddenText; h != "" && h != MarkHidden && h != DropHidden {
		bad("hiddenText", "hiddenText %q: want mark or drop", h)
	}
	if l := s.Language; l != "" && !slices.Contains(prompt.Languages(), l) {
		bad("language", "language %q: want one of %s", l, strings.Join(prompt.Languages(), ", "))
	}
	for _, who := range slices.Sorted(maps.Keys(s.Learners)) {
		c.name(login, "login", who, slices.Concat(path, []any{"learners", who})...)
	}
	if s.Approvals != nil {
		s.Approvals.Check(c.File, nil, slices.Concat(path, []any{"approvals"})...)
	}
	s.Budgets.Check(c.File, nil, slices.Concat(path, []any{"budgets"})...)
	for _, model := range slices.Sorted(maps.Keys(s.Fallback)) {
		if other := s.Fallback[model]; other == "" || other == model {
			c.Bad(slices.Concat(path, []any{"fallback", model}), "fallback: %q can't stand in for %q: want another model that the process allows", other, model)
		}
	}
	for _, tool := range s.HostedTools {
		if tool != "web_search" && tool != "web_search_preview" {
			bad("hostedTools", "hostedTools: %q is not offered: want web_search or web_search_preview", tool)
		}
	}
}

// name reads "name@number", which says which account or repository of GitHub is meant, or a name alone.
func (c *checker) name(pattern *regexp.Regexp, what, text string, path ...any) Name {
	text = strings.ToLower(text)
	if !pattern.MatchString(text) {
		c.Bad(path, "%q is no %s", text, what)
	}
	name, digits, _ := strings.Cut(text, "@")
	number, _ := strconv.ParseInt(digits, 10, 64) // what the pattern lets pass is a number
	return Name{Text: name, Number: number, Line: c.Line(path...)}
}

func (c *checker) once(seen map[string]int, text, what string, path ...any) {
	if line, twice := seen[text]; twice {
		c.Bad(path, "%s %q is in line %d already", what, text, line)
		return
	}
	seen[text] = c.Line(path...)
}

func listed(roles []access.Role) string {
	var names []string
	for _, r := range roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}
