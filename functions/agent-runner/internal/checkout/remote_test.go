package checkout

import (
	"errors"
	"strings"
	"testing"
)

// What git says, and what is to be made of it. Words of hooks and of paths decide nothing.
func TestRefusalsAndWeatherAreToldApart(t *testing.T) {
	t.Parallel()
	const at = "!\tc0ffee:refs/heads/codexk8s/issue-1\t"
	for _, c := range []struct {
		said, told string
		want       verdict
	}{
		{"remote: Write access to repository not granted.\nfatal: unable to access 'https://github.com/acme/shop/': The requested URL returned error: 403", "", noAccess},
		{"remote: This repository was archived so it is read-only.\nfatal: unable to access 'https://github.com/acme/shop/': The requested URL returned error: 403", "", noAccess},
		{"remote: Repository not found.\nfatal: repository 'https://github.com/acme/shop/' not found", "", noAccess},
		{"fatal: Authentication failed for 'https://github.com/acme/timeout.git/'", "", noAccess},
		{"fatal: unable to access 'https://github.com/acme/timeout/': The requested URL returned error: 451", "", noAccess},
		{"error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413\nsend-pack: unexpected disconnect while reading sideband packet\nfatal: the remote end hung up unexpectedly", "", noPush},
		{"fatal: unable to access 'https://github.com/acme/shop/': The requested URL returned error: 422", "", noPush},
		{"fatal: unable to access 'https://github.com/acme/shop/': The requested URL returned error: 429", "", temporary},
		{"fatal: unable to access 'https://github.com/acme/403/': The requested URL returned error: 503", "", temporary},
		{"error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502", "", temporary},
		{"error: RPC failed; curl 56 GnuTLS recv error (-54): Error in the pull function.", "", temporary},
		{"fatal: unable to access 'https://github.com/acme/shop/': Could not resolve host: github.com", "", temporary},
		{"fatal: unable to access 'https://github.com/acme/shop/': Failed to connect to github.com port 443 after 1 ms: Couldn't connect to server", "", temporary},
		{"fatal: could not read Username for 'https://github.com': terminal prompts disabled", "", temporary},
		{"fatal: bad object c0ffee", "", unknown},
		{"remote: error: File src/timeout/data.bin is 120.00 MB; this exceeds GitHub's file size limit of 100.00 MB\nremote: error: GH001: Large files detected.", at + "[remote rejected] (pre-receive hook declined)", noPush},
		{"remote: connection timed out, RPC failed, returned error: 503", at + "[remote rejected] (pre-receive hook declined)", noPush},
		{"remote: error: GH006: Protected branch update failed for refs/heads/codexk8s/issue-1.", at + "[remote rejected] (protected branch hook declined)", noPush},
		{"", at + "[remote rejected] (refusing to allow a GitHub App to create or update workflow `.github/workflows/timeout.yml` without `workflows` permission)", noPush},
		{"", at + "[remote rejected] (push declined due to repository rule violations)", noPush},
		{"", at + "[remote rejected] (cannot lock ref 'refs/heads/codexk8s/issue-1': 'refs/heads/codexk8s' exists; cannot create 'refs/heads/codexk8s/issue-1')", noPush},
		{"", at + "[remote rejected] (directory file conflict)", noPush},
		{"", at + "[remote rejected] (cannot lock ref 'refs/heads/codexk8s/issue-1': is at " + strings.Repeat("a", 40) + " but expected " + strings.Repeat("b", 40) + ")", moved},
		{"", at + "[remote rejected] (cannot lock ref 'refs/heads/codexk8s/issue-1': Unable to create '/x/main.lock': File exists.)", temporary},
		{"", at + "[remote rejected] (Internal Server Error)", temporary},
		{"", at + "[remote rejected] (failed to update ref)", temporary},
		{"remote: Resolving deltas: 100% (3/3), completed with 3 local objects.\nremote: fatal error in commit_refs        \nTo github.com:acme/shop.git", at + "[remote rejected] (failure)", temporary},
		{"remote: commit_refs is no name for a file", at + "[remote rejected] (failure)", noPush},
		{"", at + "[remote rejected] (n/a (unpacker error))", temporary},
		{"", at + "[remote rejected] (unable to migrate objects to permanent storage)", temporary},
		{"", at + "[remote rejected] (incorrect old value provided)", moved},
		{"", at + "[remote rejected] (reference does not exist)", moved},
		{"", at + "[remote rejected] (refname conflict)", noPush},
		{"", at + "[rejected] (stale info)", moved},
		{"", at + "[rejected] (fetch first)", moved},
	} {
		if got := judge(&gitError{said: c.said, told: c.told}); got != c.want {
			t.Errorf("judged %d, want %d: %s %s", got, c.want, c.said, c.told)
		}
	}
}

func TestARefusalHasTheServersWords(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "")
	p.sh(p.server, `printf '#!/bin/sh\necho "error: File src/timeout/data.bin is 120.00 MB"\necho "error: GH001: Large files detected."\nexit 1\n' >hooks/pre-receive; chmod +x hooks/pre-receive`)
	p.agent(french)
	commit, err := p.Commit(t.Context(), p.collect(), "work")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Push(t.Context(), "main", commit)
	var refused *Refused
	if !errors.As(err, &refused) || refused.Access {
		t.Fatalf("pushed: %v", err)
	}
	if want := "error: File src/timeout/data.bin is 120.00 MB\nerror: GH001: Large files detected.\n[remote rejected] (pre-receive hook declined)"; refused.Words != want {
		t.Errorf("words:\n%s\nwant:\n%s", refused.Words, want)
	}
}

func TestABranchInTheWayIsSeenBeforeTheWork(t *testing.T) {
	t.Parallel()
	for _, branch := range []string{"codexk8s", "codexk8s/issue-1/draft"} {
		p := newPlace(t, "")
		p.sh(p.server, "git branch "+branch+" main")
		if _, err := Open(t.Context(), p.Options, "main", "codexk8s/issue-1"); !errors.Is(err, ErrInWay) || !strings.Contains(err.Error(), branch) {
			t.Errorf("%s: %v", branch, err)
		}
	}
}

func TestABranchThatWasDeletedDoesNotComeBack(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "")
	p.agent(french)
	p.pushes(p.collect())
	p.open()
	p.agent("echo Salut >greetings/french.txt")
	commit, err := p.Commit(t.Context(), p.collect(), "more")
	if err != nil {
		t.Fatal(err)
	}
	p.sh(p.server, "git branch -q -D codexk8s/issue-1")
	if _, err := p.Push(t.Context(), "main", commit); !errors.Is(err, ErrDeleted) {
		t.Errorf("pushed: %v", err)
	}
	if branches := p.sh(p.server, "git for-each-ref --format='%(refname)'"); branches != "refs/heads/main" {
		t.Errorf("the server has %s", branches)
	}
}

// A branch begins at the commit that the run was given, though the base branch has gone on, and at the head of the base
// branch when that holds the commit no more.
func TestABranchBeginsAtTheCommitOfTheRun(t *testing.T) {
	p := newPlace(t, "")
	given := p.Base
	p.sh(t.TempDir(), "git clone -q "+p.server+" . && echo later >later.txt && git add -A && git commit -qm later && git push -q origin main")
	p.openAt(given)
	if p.Head != given || p.Base == given || p.Holds("later.txt") {
		t.Errorf("the work is made upon %s with the base at %s, want %s", p.Head, p.Base, given)
	}
	p.agent(french)
	p.pushes(p.collect())
	if changed := p.sh(p.server, "git diff --name-only main...codexk8s/issue-1"); changed != "greetings/french.txt" {
		t.Errorf("the pull request would show %q", changed)
	}
	p.sh(p.server, "git branch -q -D codexk8s/issue-1")
	p.sh(t.TempDir(), "git clone -q "+p.server+" . && git checkout -q --orphan anew && git commit -qm rewritten && git push -qf origin anew:main")
	p.openAt(given)
	if p.Head != p.Base {
		t.Errorf("after a force-push the work is made upon %s, the base is at %s", p.Head, p.Base)
	}
}

func TestAPushWhoseAnswerWasLostIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "")
	p.agent(french)
	commit, err := p.Commit(t.Context(), p.collect(), "work")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := p.Push(t.Context(), "main", commit); err != nil || got != commit {
			t.Fatalf("pushed %s: %v", got, err)
		}
	}
}

func TestAConflictNamesItsFiles(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "")
	p.agent(french)
	commit, err := p.Commit(t.Context(), p.collect(), "work")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p.sh(dir, "git clone -q "+p.server+" .; git switch -q -c codexk8s/issue-1; echo Non >greetings/french.txt; git add -A; git commit -qm x; git push -q origin codexk8s/issue-1")
	if _, err := p.Push(t.Context(), "main", commit); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "`greetings/french.txt`") {
		t.Errorf("pushed: %v", err)
	}
}

// A failed command's text is what git says, never what files hold.
func TestErrorsHoldNoContents(t *testing.T) {
	t.Parallel()
	g := &gitError{command: "diff", said: strings.Repeat("x", 1<<20) + "\nfatal: no", told: "contents"}
	if text := g.Error(); strings.Contains(text, "contents") || len(text) > maxSaid+100 || !strings.HasSuffix(text, "fatal: no") {
		t.Errorf("%d bytes: %.100s", len(text), text)
	}
}

func TestAServersWordsAreBounded(t *testing.T) {
	t.Parallel()
	var e ending
	for range 10_000 {
		if _, err := e.Write([]byte("remote: and so on\n")); err != nil {
			t.Fatal(err)
		}
	}
	if text := e.String(); len(text) > 128<<10 || !strings.HasSuffix(text, "so on\n") {
		t.Errorf("%d bytes are kept", len(text))
	}
}

func TestPathsAreShownAsGitShowsThem(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"src/größe.go": "src/größe.go", "with space": "with space", "caf\xe9.txt": `"caf\351.txt"`, "new\nline": `"new\nline"`,
		`quo"te\`: `"quo\"te\\"`, "\u202e.txt": `"\342\200\256.txt"`, "`code`": "`code`",
	} {
		if got := Shown(path); got != want {
			t.Errorf("%q is shown as %s, want %s", path, got, want)
		}
	}
}

func TestNoPathEndsItsMarkdown(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"a.go": "`a.go`", "x` @acme/all": "`` x` @acme/all ``", "`": "`` ` ``", "a``b": "``` a``b ```"} {
		if got := Code(path); got != want {
			t.Errorf("%q becomes %s, want %s", path, got, want)
		}
	}
}
