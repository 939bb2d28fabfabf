package checkout

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const token = "run-token-0123456789"

// place is a server's repository and a checkout of it.
type place struct {
	*Repository
	t      *testing.T
	server string
}

// seed is what the repository holds before an agent comes.
const seed = `echo '# shop' >README.md; mkdir src greetings; echo 'package shop' >src/price.go; echo Hello >greetings/english.txt; printf '*.o\nbuild/\n' >.gitignore`

// newPlace makes the server's repository with a shell script that writes its files, and checks it out.
func newPlace(t *testing.T, more string) *place {
	t.Helper()
	p := &place{t: t, server: filepath.Join(t.TempDir(), "server.git")}
	dir := t.TempDir()
	p.sh(dir, "git init -q --bare --initial-branch=main "+p.server+"; git init -q --initial-branch=main\n"+seed+"\n"+more+
		"\ngit add -A && git commit -qm seed && git push -q "+p.server+" main")
	p.open()
	return p
}

func (p *place) open() { p.t.Helper(); p.openAt("") }

// openAt opens it for a run that is to begin at the commit.
func (p *place) openAt(from string) { p.t.Helper(); p.openOn("main", from) }

func (p *place) openOn(base, from string) {
	p.t.Helper()
	dir := p.t.TempDir()
	p.t.Cleanup(func() { _ = removeAll(dir) })
	var err error
	p.Repository, err = Open(p.t.Context(), Options{
		Dir: filepath.Join(dir, "repo"), GitDir: filepath.Join(dir, "git"), URL: p.server, From: from, RetryFor: time.Second,
		Access: func(context.Context) ([]string, error) { return nil, nil },
		Clean:  func(s string) string { return strings.ReplaceAll(s, token, "[redacted]") },
		Secrets: func(b []byte) []string {
			if bytes.Contains(b, []byte(token)) {
				return []string{token}
			}
			return nil
		},
	}, base, "codexk8s/issue-1")
	if err != nil {
		p.t.Fatal(err)
	}
}

// sh runs a script as a person or an agent would, and returns its output.
func (p *place) sh(dir, script string) string {
	p.t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (p *place) agent(script string) { p.t.Helper(); p.sh(p.Dir, script) }

// collect takes the work.
func (p *place) collect() *Work {
	p.t.Helper()
	work, err := p.Take(p.t.Context(), MaxFile)
	if err != nil {
		p.t.Fatal(err)
	}
	return work
}

// ended takes the work when the agent has ended.
func (p *place) ended() *Work {
	p.t.Helper()
	if err := p.Renew(); err != nil {
		p.t.Fatal(err)
	}
	return p.collect()
}

// pushes brings the work to the server and returns what the commit changes there: "A path" and the like.
func (p *place) pushes(work *Work) string {
	p.t.Helper()
	commit, err := p.Commit(p.t.Context(), work, "work")
	if err != nil {
		p.t.Fatal(err)
	}
	if commit, err = p.Push(p.t.Context(), "main", commit); err != nil {
		p.t.Fatal(err)
	}
	p.sh(p.server, "git fsck --strict --no-dangling")
	return p.sh(p.server, "git -c core.quotePath=true diff-tree -r --no-renames --name-status --ignore-submodules=none main "+commit+" | tr '\t' ' '")
}

const french = "echo Bonjour >greetings/french.txt; "

// Whatever an agent does to its .git, its files come out, and nothing else.
func TestTheAgentsGitHasNoPartInIt(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"removed":           french + "rm -rf .git",
		"begun anew":        french + "rm -rf .git; git init -q; git add -A; git commit -qm mine",
		"bare":              french + "git config core.bare true",
		"another work tree": french + "git config core.worktree /tmp",
		"pruned":            french + "git add -A; rm -f .git/objects/info/alternates; git gc -q --prune=now || true",
		"locked index":      french + "touch .git/index.lock",
		"no index":          french + "rm .git/index",
		"a file":            french + "rm -rf .git; echo nonsense >.git",
		"a pipe":            french + "rm -rf .git; mkfifo .git",
		"skipped files":     "git update-index --skip-worktree greetings/english.txt; " + french,
		"excluded files":    french + "echo '*' >.git/info/exclude",
		"a filter": french + `echo '* filter=x ident' >.git/info/attributes; git config filter.x.clean 'sed s/o/0/g'; git config filter.x.required true
			git config include.path ../evil; git config core.attributesFile /tmp/none`,
		"hooks":                                  french + "printf '#!/bin/sh\\nexit 1\\n' | tee .git/hooks/pre-push >.git/hooks/pre-commit; chmod +x .git/hooks/*",
		"another server":                         french + "git config url./tmp/elsewhere.insteadOf \"$(git remote get-url origin)\"; git config http.proxy http://127.0.0.1:9; git config push.pushOption x",
		"tags":                                   french + "git config push.followTags true; git add -A; git commit -qm x; git tag -a v9 -m release",
		"another branch":                         french + "git switch -q -c other; git add -A; git commit -qm x",
		"grafts":                                 french + "git rev-parse HEAD >.git/info/grafts; git rev-parse HEAD >.git/shallow",
		"a hostile index":                        french + "git update-index --add --cacheinfo 100644,$(git hash-object -w README.md),src/evil.go",
		"its own attributes in a filter's place": french + "git config core.autocrlf true; git config core.eol crlf; git config core.fileMode false; git config core.ignoreCase true",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, "")
			p.agent(script)
			work := p.ended()
			if diff := cmp.Diff([]string{"greetings/french.txt"}, work.Changed); diff != "" || len(work.Notes) > 0 {
				t.Errorf("changed (-want +got):\n%snotes %q", diff, work.Notes)
			}
			if got := p.pushes(work); got != "A greetings/french.txt" {
				t.Errorf("the commit has:\n%s", got)
			}
			if refs := p.sh(p.server, "git for-each-ref --format='%(refname)'"); refs != "refs/heads/codexk8s/issue-1\nrefs/heads/main" {
				t.Errorf("the server has refs:\n%s", refs)
			}
		})
	}
}

// What hides from git diff does not hide from the check.
func TestNothingHidesAChange(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ more, script, want string }{
		"replaced base commit": {"", `echo evil >src/price.go; git add -A; git replace HEAD $(git commit-tree $(git write-tree) -m x)`, "src/price.go"},
		"replaced base tree":   {"", `echo evil >src/price.go; git add -A; git replace HEAD^{tree} $(git write-tree)`, "src/price.go"},
		"poisoned objects": {"", `evil=$(sed 's/shop/evil/' src/price.go | git hash-object -w --stdin); git update-index --cacheinfo 100644,$evil,src/price.go; tree=$(git write-tree); git reset -q
			head=$(git rev-parse HEAD^{tree}); mkdir -p ../git/objects/$(echo $head | cut -c1-2); cp -f .git/objects/$(echo $tree | sed 's,^..,&/,') ../git/objects/$(echo $head | sed 's,^..,&/,'); echo Bonjour >greetings/french.txt`, "greetings/french.txt"},
		"moved submodule": {"git init -q sub; git -C sub commit -q --allow-empty -m x; git add sub; rm -rf sub/.git; printf '[submodule \"sub\"]\\n\\tpath = sub\\n\\turl = http://x\\n\\tignore = all\\n' >.gitmodules",
			`git init -q sub; git -C sub commit -q --allow-empty -m y`, "sub"},
		"removed submodule":  {"git init -q sub; git -C sub commit -q --allow-empty -m x; git add sub; rm -rf sub/.git", "rmdir sub", "sub"},
		"mode only":          {"", "chmod +x src/price.go", "src/price.go"},
		"same size and time": {"", `touch -r src/price.go /tmp/at.$$; printf 'package evil\n' >src/price.go; touch -r /tmp/at.$$ src/price.go; rm /tmp/at.$$`, "src/price.go"},
		"ignored but there":  {"echo x >a.c; git add -f a.c", "echo '*' >.gitignore; echo y >a.c; echo z >new.c", ".gitignore,a.c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, c.more)
			p.agent(c.script)
			work := p.ended()
			if got := strings.Join(work.Changed, ","); got != c.want {
				t.Errorf("changed %q, want %q", got, c.want)
			}
			if got := strings.ReplaceAll(regexp.MustCompile(`(?m)^. `).ReplaceAllString(p.pushes(work), ""), "\n", ","); got != c.want {
				t.Errorf("the commit has %q, want %q", got, c.want)
			}
		})
	}
}

// Files come out as a person would commit them.
func TestFilesAsAPersonWouldCommitThem(t *testing.T) {
	t.Parallel()
	const nested = "git init -q lib && cd lib && echo 1 >l.c && echo x >x.o"
	for name, c := range map[string]struct{ more, script, want, notes string }{
		"untouched CRLF under text": {"printf 'a\\r\\nb\\r\\n' >old.bat; git add -A; echo '*.bat text' >.gitattributes", french, "A greetings/french.txt", ""},
		"touched CRLF under text":   {"printf 'a\\r\\nb\\r\\n' >old.bat; git add -A; echo '*.bat text' >.gitattributes", french + "cp old.bat x.o; mv x.o old.bat", "A greetings/french.txt", ""},
		"touched, eol=crlf":         {"printf 'a\\nb\\n' >old.bat; echo '*.bat text eol=crlf' >.gitattributes", french + "cp old.bat x.o; mv x.o old.bat", "A greetings/french.txt", ""},
		"an ident":                  {"echo '$Id$' >id.h; echo '*.h ident' >.gitattributes", french + "cp id.h x.o; mv x.o id.h", "A greetings/french.txt", ""},
		"UTF-16, as it was":         {"echo '*.strings working-tree-encoding=UTF-16LE text' >.gitattributes; printf 'k\\0\\n\\0' >en.strings", french + "cp en.strings x.o; mv x.o en.strings", "A greetings/french.txt", ""},
		"names that differ in case": {"echo a >Name.txt; echo b >name.txt", french, "A greetings/french.txt", ""},
		"untouched LFS pointers": {"printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:%064d\\nsize 3\\n' 0 >a.bin; echo '*.bin filter=lfs diff=lfs merge=lfs -text' >.gitattributes",
			french + "mv a.bin b.bin", "D a.bin\nA b.bin\nA greetings/french.txt", ""},
		"a nested repository":        {"", nested, "A lib/l.c", "`lib` is a repository of its own; its files are taken, its history is not"},
		"a nested one with a commit": {"", nested + "; git add -A; git commit -qm x", "A lib/l.c", "`lib` is a repository of its own; its files are taken, its history is not"},
		"not UTF-8":                  {"", `printf x >"$(printf 'caf\351.txt')"`, `A "caf\351.txt"`, ""},
		"names that look like options": {"", `echo a >'-rf'; echo b >':(top)x'; echo c >'a*b'; printf d >'new
line'`, "A -rf\nA :(top)x\nA a*b\nA \"new\\nline\"", ""},
		"a folder in place of a file":  {"", "rm README.md; mkdir README.md; echo x >README.md/a", "D README.md\nA README.md/a", ""},
		"a file in place of a folder":  {"", "rm -r greetings; echo x >greetings", "A greetings\nD greetings/english.txt", ""},
		"a link":                       {"", "ln -s /etc/passwd link; rm -r src; ln -s /etc src", "A link\nA src\nD src/price.go", ""},
		"a program":                    {"", "printf '#!/bin/sh\\n' >run; chmod +x run; test -x run", "A run", ""},
		"an ignored folder":            {"", "mkdir -p build/x; mkfifo build/p; echo y >build/x/y; chmod 0 build/x; " + french, "A greetings/french.txt", ""},
		"pipes":                        {"", "mkfifo .gitattributes pipe; " + french, "A greetings/french.txt", "`.gitattributes` is a pipe, a socket or a device|`pipe` is a pipe, a socket or a device"},
		"a name that is git's":         {"", "mkdir .GIT; echo x >.GIT/config; " + french, "A greetings/french.txt", "`.GIT` has a name that Git refuses"},
		"an encoding that fails":       {"echo '*.strings working-tree-encoding=UTF-16 text' >.gitattributes", `echo '"k" = "v";' >en.strings; ` + french, "A greetings/french.txt", "`en.strings` cannot be converted as its attributes ask: fatal: *"},
		"files in an absent submodule": {"git init -q sub; git -C sub commit -q --allow-empty -m x; git add sub; rm -rf sub/.git", "echo x >sub/a; " + french, "A greetings/french.txt", "`sub` is a submodule that was not checked out; what was written there is not taken"},
		"a new CRLF file under text":   {"echo '* text=auto' >.gitattributes", `printf 'a\r\nb\r\n' >new.txt; test -f new.txt`, "A new.txt", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, c.more)
			p.agent(c.script)
			work := p.ended()
			notes := strings.Join(work.Notes, "|")
			if begin, any := strings.CutSuffix(c.notes, "*"); notes != c.notes && !(any && strings.HasPrefix(notes, begin)) {
				t.Errorf("notes %q, want %q", notes, c.notes)
			}
			if got := p.pushes(work); got != c.want {
				t.Errorf("the commit has:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

// What a branch began upon may reach the base as one new commit: it is no change of the branch's own, and what differs
// from that commit is.
func TestWhatTheBaseHasByNowIsNoChange(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "")
	dir := t.TempDir()
	p.sh(dir, "git clone -q "+p.server+" w && cd w && git checkout -qb codexk8s/issue-1 && echo plan >plan.md && echo old >cost.md && rm README.md && git add -A && git commit -qm plan"+
		" && echo tests >tests.md && git add -A && git commit -qm tests && git push -q origin HEAD"+
		" && git checkout -q main && echo plan >plan.md && echo new >cost.md && rm README.md && git add -A && git commit -qm 'plan (#7)' && git push -q origin main")
	p.open()
	p.agent("echo more >>tests.md")
	if got, want := p.ended().Changed, []string{"cost.md", "tests.md"}; !cmp.Equal(got, want) {
		t.Errorf("changed %q, want %q", got, want)
	}
}
