package checkout

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// keep packs the work as it is now.
func (p *place) keep(room int64) Kept {
	p.t.Helper()
	work, err := p.Take(p.t.Context(), room)
	if err != nil {
		p.t.Fatal(err)
	}
	k, err := p.Keep(p.t.Context(), work, room)
	if err != nil {
		p.t.Fatal(err)
	}
	return k
}

func TestWorkComesBackInAnotherPod(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "printf 'a\\r\\nb\\r\\n' >old.bat; git add -A; echo '*.bat text' >.gitattributes; printf 'k\\0\\n\\0' >en.strings; echo '*.strings working-tree-encoding=UTF-16LE text' >>.gitattributes")
	p.agent(french + `rm src/price.go; chmod +x README.md; ln -s nowhere link; printf x >"$(printf 'caf\351')"; mkdir -p a/b; printf '\0\1' >a/b/c; printf 'l\0\n\0' >en.strings
		printf 'c\r\n' >>old.bat; rm -rf .git`)
	before := p.collect().Changed
	k := p.keep(1 << 20)
	if again := p.keep(1 << 20); again.Commit != k.Commit || string(again.Pack) != string(k.Pack) || len(k.Lost) > 0 {
		t.Errorf("the same work is packed in two ways, or not whole: %v", k.Lost)
	}
	const look = "od -c en.strings; od -c a/b/c; ls -ld README.md link | cut -c1-10" // old.bat has the ends of lines that it has in the commit
	at := p.Head
	was := p.sh(p.Dir, look)

	p.open()
	if err := p.Restore(t.Context(), at, k); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, p.collect().Changed); diff != "" {
		t.Errorf("changed files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(was, p.sh(p.Dir, look)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if status := p.sh(p.Dir, "git status --porcelain README.md src"); status != "M README.md\n D src/price.go" {
		t.Errorf("the agent's git says:\n%s", status)
	}
}

func TestWorkWithoutRoomIsNamed(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "")
	p.agent(french + "head -c 300000 /dev/urandom >a.bin; head -c 90000 /dev/urandom >b.bin; head -c 50000 /dev/urandom >c.bin")
	k := p.keep(100_000)
	if diff := cmp.Diff([]string{"`a.bin` (0.3 MB)", "`b.bin`"}, k.Lost); diff != "" || len(k.Pack) > 100_000 {
		t.Errorf("a pack of %d bytes; lost (-want +got):\n%s", len(k.Pack), diff)
	}
	if none := p.keep(10); len(none.Pack) > 0 || len(none.Lost) != 4 {
		t.Errorf("kept in no room: %v", none)
	}
	at := p.Head
	p.open()
	if err := p.Restore(t.Context(), at, k); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"c.bin", "greetings/french.txt"}, p.collect().Changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	for _, bad := range []string{strings.Repeat("0", 40), "--batch", ""} {
		if err := p.Restore(t.Context(), bad, k); !errors.Is(err, ErrOtherHistory) {
			t.Errorf("restored upon %q: %v", bad, err)
		}
	}
}

// Work that a pod took while the agent wrote is read again: a file's stamp is believed only when it is old enough.
func TestAWriteRightAfterALookIsSeen(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "")
	for _, word := range []string{"one", "two", "six"} {
		p.agent("printf " + word + " >greetings/french.txt; touch -d @1 greetings/french.txt")
		work := p.collect()
		commit, err := p.Commit(t.Context(), work, word)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.sh(p.GitDir, "git --git-dir=. show "+commit+":greetings/french.txt"); got != word {
			t.Errorf("the commit has %q, want %q", got, word)
		}
	}
}

func TestWhatMustNotBePushedIsNamed(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "echo '*.bin filter=lfs' >.gitattributes; echo '*.pem filter=git-crypt' >>.gitattributes; echo '*.ipynb filter=nbstripout' >>.gitattributes; echo 'fixture "+token+"' >fixture.txt")
	p.agent("head -c 3000 /dev/urandom >b.bin; echo x >k.pem; echo {} >n.ipynb; head -c 70000 /dev/zero >big.txt; echo " + token + " >>big.txt; ln -s " + token + " link; echo more >>fixture.txt; truncate -s 101M large.iso")
	work := p.collect()
	got := &Work{Large: work.Large, Filters: work.Filters, Secret: work.Secret}
	want := &Work{Large: []string{"`large.iso` (101.0 MB)"}, Filters: []string{"`b.bin` (Git LFS)", "`k.pem` (git-crypt)"}, Secret: []string{"`big.txt`", "`link`"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Work{})); diff != "" {
		t.Errorf("work (-want +got):\n%s", diff)
	}
}

func TestAFolderThatIsGoneIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"rm -rf $PWD", "rm -rf $PWD; ln -s /etc $PWD", "rm -rf $PWD; mkfifo $PWD"} {
		p := newPlace(t, "")
		p.agent(script)
		if _, err := p.Take(t.Context(), MaxFile); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", script, err)
		}
	}
}

func TestTheAgentsOtherWorkIsHintedAt(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "")
	p.agent(french + "git add -A; git stash -q; git switch -q -c other; git commit -q --allow-empty -m x; git switch -q -")
	if diff := cmp.Diff([]string{"`other`", "`refs/stash`"}, p.Left(t.Context())); diff != "" || p.collect().New {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// Permissions do not hold for root, so root runs this as somebody else.
func TestWhatCannotBeReadStaysAndIsNamed(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		asNobody(t)
		return
	}
	p := newPlace(t, "mkdir closed blind; echo a >closed/a; echo b >blind/b")
	p.agent(french + "echo x >secret.key; chmod 0 secret.key closed src/price.go; chmod 444 blind; mkdir new; echo n >new/n; chmod 0 new")
	work := p.collect()
	want := []string{"`blind` cannot be read: permission denied", "`closed` cannot be read: permission denied", "`new` cannot be read: permission denied",
		"`secret.key` cannot be read: permission denied", "`src/price.go` cannot be read: permission denied"}
	if diff := cmp.Diff(want, work.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if got := p.pushes(work); got != "A greetings/french.txt" {
		t.Errorf("the commit has:\n%s", got)
	}
	p.sh(p.Dir, "chmod 755 blind closed new")
}

// asNobody runs the calling test again in a process of another user.
func asNobody(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nobody") // t.TempDir is below a folder that only we may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = removeAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 65532
	copied := filepath.Join(dir, "test")
	syscall.ForkLock.RLock() // a child that is begun now would hold the file open for writing, and nobody could execute it
	err = os.WriteFile(copied, program, 0o755)
	syscall.ForkLock.RUnlock()
	if err := errors.Join(err, os.Chmod(dir, 0o755), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir, "TMPDIR="+dir, "GOCOVERDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v: %s", err, out)
	}
}
