package checkout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Files of every sort that a file system has come out, or are named.
func TestFilesOfEverySort(t *testing.T) {
	// mk makes so many folders in each other. Further down than a call's longest path leads only moving.
	const mk = `n=$(printf 'n%.0s' $(seq 250)); mk() { (for i in $(seq $1); do mkdir $n; cd $n; done; echo x >f); }; `
	name := strings.Repeat("n", 250)
	for sort, c := range map[string]struct{ script, want, notes string }{
		"links in a circle":           {"ln -s loop loop; ln -s b a; ln -s a b; ln -s .. up", "A a\nA b\nA loop\nA up", ""},
		"a link with a long target":   {"ln -s $(printf %04000d 0) long", "A long", ""},
		"hard links":                  {french + "ln src/price.go copy.go; ln greetings/french.txt greetings/fr.txt", "A copy.go\nA greetings/fr.txt\nA greetings/french.txt", ""},
		"a long name":                 {"touch $(printf 'n%.0s' $(seq 255))", "A " + strings.Repeat("n", 255), ""},
		"a long path":                 {mk + "mk 15", "A " + strings.Repeat(name+"/", 15) + "f", ""},
		"a path longer than any call": {mk + `mkdir t; (cd t; mk 12); mk 12; mv t/$n $(printf "$n/%.0s" $(seq 12)); rmdir t`, "A " + strings.Repeat(name+"/", 12) + "f", "`" + name[:100] + "…` has a path that is too long"},
		"names that differ in case":   {"echo a >Makefile; echo b >makefile; echo c >readme.md", "A Makefile\nA makefile\nA readme.md", ""},
		"a device":                    {french + "mknod odd c 1 5 2>/dev/null || mkfifo odd", "A greetings/french.txt", "`odd` is a pipe, a socket or a device"},
		"attributes of other uses":    {french + "echo '* export-ignore export-subst diff=x merge=x -delta whitespace=fix' >.gitattributes", "A .gitattributes\nA greetings/french.txt", ""},
		"a link to .gitattributes":    {french + "echo '* text' >real; ln -s real .gitattributes", "A .gitattributes\nA greetings/french.txt\nA real", ""},
		"names that Windows takes for .git": {french + `mkdir -p '.git\hooks' 'a\.GIT. '; touch '.git\hooks/x' 'a\.GIT. /x' 'sub\git~1' 'a\b' '.gitx'`,
			"A .gitx\nA \"a\\\\b\"\nA greetings/french.txt", "`\".git\\\\hooks\"` has a name that Git refuses|`\"a\\\\.GIT. \"` has a name that Git refuses|`\"sub\\\\git~1\"` has a name that Git refuses"},
		"links that Windows takes for .gitmodules": {french + `ln -s x .gitmodules.; ln -s x GITMOD~1; ln -s x gi7eba~1; ln -s x g~2; ln -s x 'a\.gitmodules'`,
			"A greetings/french.txt\nA g~2", "`\"a\\\\.gitmodules\"` is a link, which Git refuses under this name|`.gitmodules.` is a link, which Git refuses under this name|" +
				"`GITMOD~1` is a link, which Git refuses under this name|`gi7eba~1` is a link, which Git refuses under this name"},
		"a folder without a file": {french + "mkdir -p empty/empty", "A greetings/french.txt", ""},
	} {
		t.Run(sort, func(t *testing.T) {
			p := newPlace(t, "")
			p.agent(c.script)
			work := p.ended()
			if notes := strings.Join(work.Notes, "|"); notes != c.notes {
				t.Errorf("notes %.300q, want %q", notes, c.notes)
			}
			if got := p.pushes(work); got != c.want {
				t.Errorf("the commit has:\n%.500s\nwant:\n%.500s", got, c.want)
			}
		})
	}
}

// What no disk holds is not read, and what nobody means to push is not listed to its end.
func TestMoreThanAnybodyPushes(t *testing.T) {
	p := newPlace(t, "")
	p.agent(french + "truncate -s 10G disk.img")
	work := p.ended()
	if diff := cmp.Diff([]string{"`disk.img` (10240.0 MB)"}, work.Large); diff != "" {
		t.Errorf("too large (-want +got):\n%s", diff)
	}
	if len(work.changes) != 1 {
		t.Errorf("changes %v", work.Changed)
	}
	p.agent("mkdir many; cd many; seq -f 'f%.0f' 50001 | xargs touch")
	if _, err := p.Take(t.Context(), MaxFile); !errors.Is(err, ErrTooMany) {
		t.Errorf("50001 new files: %v", err)
	}
	p.agent("echo many/ >>.git/info/exclude; echo many/ >>.gitignore")
	if work := p.collect(); strings.Join(work.Changed, " ") != ".gitignore greetings/french.txt" {
		t.Errorf("ignored, and yet changed: %.200q", work.Changed)
	}
}

// A base branch may have any name that Git allows, one that means something else in another place, too.
func TestBaseBranchesOfEveryName(t *testing.T) {
	for _, base := range []string{"release/v1.x", "HEAD", "refs/heads/main", "origin/main", "a|b", "$(x)", "größe", "@", "0123456789012345678901234567890123456789", strings.Repeat("n", 200)} {
		p := newPlace(t, "")
		p.sh(p.server, "git update-ref 'refs/heads/"+base+"' main; git symbolic-ref HEAD 'refs/heads/"+base+"'")
		if base != "main" {
			p.sh(p.server, "git update-ref -d refs/heads/main")
		}
		p.openOn(base, "")
		p.agent(french)
		commit, err := p.Commit(t.Context(), p.ended(), "work")
		if err == nil {
			_, err = p.Push(t.Context(), base, commit)
		}
		if err != nil {
			t.Errorf("%q: %v", base, err)
			continue
		}
		if got := p.sh(p.server, "git diff-tree -r --name-status 'refs/heads/"+base+"' refs/heads/codexk8s/issue-1 | tr '\t' ' '"); got != "A greetings/french.txt" {
			t.Errorf("%q: the commit has %q", base, got)
		}
	}
}

// A pipe in place of a file that git reads holds nothing up, in whatever order the file system lists the folder.
func TestAPipeThatGitWouldRead(t *testing.T) {
	p := newPlace(t, "")
	p.agent(french + "mkdir many; cd many; mkfifo .gitignore; seq -f 'f%.0f' 2500 | xargs touch")
	late := func() bool {
		dir, err := os.Open(filepath.Join(p.Dir, "many"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = dir.Close() }()
		names, err := dir.Readdirnames(-1)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Index(names, ".gitignore") >= atOnce
	}
	if !late() {
		p.agent("cd many; rm .gitignore; mkfifo .gitignore")
	}
	for from := 3000; !late() && from < 40_000; from += 4000 {
		p.agent(fmt.Sprintf("cd many; seq -f 'f%%.0f' %d %d | xargs touch", from, from+4000))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	work, err := p.Take(ctx, MaxFile)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(work.Notes, "|"); notes != "`many/.gitignore` is a pipe, a socket or a device" {
		t.Errorf("notes %q", notes)
	}
	if !slices.Contains(work.Changed, "greetings/french.txt") || !slices.Contains(work.Changed, "many/f2500") {
		t.Errorf("%d files changed", len(work.Changed))
	}
}
