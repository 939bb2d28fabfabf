//go:build upgrade

package chaos

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local"
	"codexk8s.dev/test/local/build"
	"codexk8s.dev/test/local/manifest"
	"codexk8s.dev/test/local/stack"
)

var from = flag.String("from", "HEAD~1", "the release to upgrade from, and to go back to: a revision of this repository")

// TestAnUpgradeAndTheWayBackLoseAndDoubleNothing does what config/observability/README.md says under "Upgrade and
// rollback", to a platform at work: the manifests and programs of an earlier revision first, then those of this tree,
// then the earlier ones again.
//
//	earlier release   one issue in review, one run waits for people, two agents at work, one run queued
//	migrations        its functions go on with the new schema: one run is stopped, the queued one begins
//	function by function, a label between any two, a review in the middle
//	this release      all of it is finished, people answer the run that waits
//	function by function back, with an agent at work, a run that waits and a label between any two; the schema stays
//	earlier release   all of it is finished, people answer that run, and one run more from its label to its end
//
// It is built with the tag upgrade and run by make test-upgrade: it needs the history of the repository.
func TestAnUpgradeAndTheWayBackLoseAndDoubleNothing(t *testing.T) {
	r := prepare(t)
	services := r.services()
	w := start(t, 5+2*len(services), 1, func(o *local.Options) {
		// The file that an operator has written stays what it is.
		file := write(t, t.TempDir(), "process.yaml", process(t, r.source))
		o.Env["stage-router"]["PROCESS_FILE"], o.Env["agent-gateway"]["PROCESS_FILE"] = file, file
		o.Next, o.ManifestDirs, o.Module, o.Binaries = o.ManifestDirs, r.dirs, r.source, r.current
	})
	inReview, atWork, stopped, queued, last := 1, 2, 3, 4, 5
	waitsUp, waitsBack := len(w.issues)+1, len(w.issues)+2
	w.openAsking(waitsUp)
	w.openAsking(waitsBack)
	_, err := w.db.Exec(t.Context(), `UPDATE projects SET settings = settings || '{"parallel": 2}'`)
	w.do(err)
	normal, busy := model.Behaviour{}, model.Behaviour{Mode: model.Overloaded, RetryAfter: time.Second}

	w.stack.Model.Behave(normal)
	w.run(inReview)
	w.awaitGood(inReview)
	w.run(waitsUp)
	w.awaitWaiting(waitsUp)
	w.stack.Model.Behave(busy)
	w.run(atWork)
	w.run(stopped)
	w.awaitAtWork(atWork)
	w.awaitAtWork(stopped)
	w.run(queued)
	w.eventually("a queued run", func(ctx context.Context) error {
		return w.db.QueryRow(ctx, `SELECT 1 FROM runs WHERE issue = $1 AND state = 'queued'`, w.issues[queued-1]).Scan(new(int))
	})

	r.migrate(t, w, r.fresh)
	w.abort(stopped)
	w.awaitAtWork(queued)

	next := 6
	for i, service := range services {
		if i == 0 {
			w.do(w.stack.Platform.Apply(true))
		}
		r.install(t, r.fresh, service)
		w.do(w.stack.Platform.Roll(service, true))
		w.run(next)
		next++
		if i == len(services)/2 {
			w.review(inReview)
		}
	}
	w.do(w.stack.Platform.Connect(true))
	w.run(stopped)
	w.stack.Model.Behave(normal)
	w.settleFor(next-1, last)
	w.do(w.waiting(waitsUp))
	w.click(waitsUp)
	w.awaitGood(waitsUp)
	t.Logf("upgraded from %s: %d issues are as they should be", *from, next-1)

	w.run(waitsBack)
	w.awaitWaiting(waitsBack)
	w.stack.Model.Behave(busy)
	w.run(next)
	w.awaitAtWork(next)
	next++
	w.do(w.stack.Platform.Apply(false))
	r.migrate(t, w, r.earlier) // what make deploy of the earlier release does: nothing
	for i, service := range services {
		r.install(t, r.earlier, service)
		w.do(w.stack.Platform.Roll(service, false))
		if i > 0 {
			w.run(next)
			next++
		}
	}
	w.do(w.stack.Platform.Connect(false))
	w.stack.Model.Behave(normal)
	w.settleFor(next-1, last)
	w.do(w.waiting(waitsBack))
	w.click(waitsBack)
	w.run(last)
	w.settle()
	t.Logf("back to %s: all %d issues are as they should be", *from, len(w.issues))

	w.everyWebhookIsKnown()
	w.passTimers(t.Context(), 3*time.Hour) // reminders are further away than what drainTimers lets pass
	w.drainTimers()
	w.verifyAudit()
	w.noDeadLetters()
}

// releases are the earlier one and that of this tree.
type releases struct {
	source  string   // the earlier one's files
	dirs    []string // its manifests
	earlier string   // programs of the one,
	fresh   string   // of the other,
	current string   // and those that are installed
	before  *manifest.Set
	after   *manifest.Set
}

// prepare takes the earlier release's files from the repository and builds both.
func prepare(t *testing.T) *releases {
	t.Helper()
	dir := t.TempDir()
	r := &releases{
		source: filepath.Join(dir, "source"), earlier: filepath.Join(dir, "earlier"),
		fresh: filepath.Join(dir, "fresh"), current: filepath.Join(dir, "current"),
	}
	root := strings.TrimSpace(string(git(t, "rev-parse", "--show-toplevel")))
	git(t, "rev-parse", "--verify", "--quiet", *from+"^{commit}")
	unpack(t, git(t, "-C", root, "archive", "--format=tar", *from), r.source)
	var err error
	load := func(in string) (dirs []string, set *manifest.Set) {
		dirs = []string{filepath.Join(in, "config"), filepath.Join(in, "eventing")}
		if overlay := filepath.Join(in, "config", "overlays", "full-env"); exists(overlay) {
			dirs = append(dirs, overlay)
		}
		set, err = manifest.Load(dirs...)
		if err != nil {
			t.Fatalf("the manifests in %s: %v", in, err)
		}
		return dirs, set
	}
	r.dirs, r.before = load(r.source)
	_, r.after = load(root)
	if _, err = build.Images(t.Context(), r.source, r.earlier, r.before.Images(), false); err != nil {
		t.Fatalf("building %s: %v", *from, err)
	}
	if _, err = build.Images(t.Context(), root, r.fresh, r.after.Images(), false); err != nil {
		t.Fatal(err)
	}
	// What only one release has is there from the start; nobody calls it before its time.
	for _, programs := range []string{r.fresh, r.earlier} {
		files, err := os.ReadDir(programs)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			r.install(t, programs, f.Name())
		}
	}
	return r
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// git runs Git; a revision that isn't there is explained.
func git(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil && slices.Contains(args, "--verify") {
		t.Fatalf("there is no commit %s here to upgrade from. In a shallow clone get it by `git fetch --deepen=1`; another one is given by -from (make test-upgrade RELEASE=…)", *from)
	}
	if err != nil {
		t.Fatalf("git %s: %v: %s (an upgrade is tested in a clone of the repository)", strings.Join(args, " "), err, said.String())
	}
	return out
}

func unpack(t *testing.T, archive []byte, dir string) {
	t.Helper()
	for files := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(files)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, h.Name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, h.Name), content, h.FileInfo().Mode())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// services of both releases, by name.
func (r *releases) services() (names []string) {
	for _, set := range []*manifest.Set{r.before, r.after} {
		for _, s := range set.Services {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// install puts a program in the other's place; one that runs stays what it is, also when it starts itself by its own
// path once more, as a pod keeps its image: the place is a link. agent-launcher's image is told of the agents' image,
// so the two come together.
func (r *releases) install(t *testing.T, programs, name string) {
	t.Helper()
	names := []string{name}
	if name == "agent-launcher" {
		names = append(names, "agent-runner")
	}
	for _, name := range names {
		_, err := os.Stat(filepath.Join(programs, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // the other release's alone
		}
		if err == nil {
			err = os.MkdirAll(r.current, 0o755)
		}
		if err == nil {
			err = os.Symlink(filepath.Join(programs, name), filepath.Join(r.current, name+".new"))
		}
		if err == nil {
			err = os.Rename(filepath.Join(r.current, name+".new"), filepath.Join(r.current, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// migrate runs a release's Job.
func (r *releases) migrate(t *testing.T, w *world, programs string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(programs, "migrate"))
	cmd.Env = append(os.Environ(), "DATABASE_URL="+w.stack.Platform.DatabaseURL())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("migrate of %s: %v\n%s", filepath.Base(programs), err, out)
	}
	var version int
	if err := w.db.QueryRow(t.Context(), `SELECT max(version_id) FROM goose_db_version`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	t.Logf("migrate of the release %s: the schema is at version %d", filepath.Base(programs), version)
}

func (w *world) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// abort stops an issue's run. It is labelled again later.
func (w *world) abort(issue int) {
	w.t.Helper()
	n := w.issues[issue-1]
	w.do(w.stack.GitHub.AddLabel(stack.Repository, n, "run:abort", stack.Owner))
	w.eventually("the run is stopped", func(ctx context.Context) error {
		var state string
		err := w.db.QueryRow(ctx, `SELECT state FROM runs WHERE issue = $1`, n).Scan(&state)
		if err == nil && state != "cancelled" {
			err = fmt.Errorf("it is %s", state)
		}
		if err != nil {
			return err
		}
		is, err := w.stack.GitHub.Issue(stack.Repository, n)
		if err == nil && len(is.Labels) > 0 {
			err = fmt.Errorf("the issue has labels %q", is.Labels)
		}
		return err
	})
	time.Sleep(time.Second) // GitHub's times are seconds: the label set anew within one would be the same act
	want := good
	want.Runs = []string{"dev cancelled aborted Stopped by @" + stack.Owner + ".", "dev succeeded"}
	w.wants[n] = want
}

// review asks for a change, once the pull request is in review.
func (w *world) review(issue int) {
	w.t.Helper()
	n := w.issues[issue-1]
	for _, p := range w.stack.GitHub.PullRequests(stack.Repository) {
		if p.Pull.Head != fmt.Sprintf("codexk8s/issue-%d", n) {
			continue
		}
		_, err := w.stack.GitHub.Review(stack.Repository, p.Number, "REQUEST_CHANGES", "Say more.", nil, stack.Owner)
		w.do(err)
		want := good
		want.Runs = []string{"dev succeeded", "dev succeeded"}
		want.Comments = []string{"codexk8s[bot]: ### `run:dev:revise`: done, ready for review"}
		want.Commits = 2
		w.wants[n] = want
		return
	}
	w.t.Fatalf("issue %d has no pull request", n)
}

// settleFor lets time pass until the first n issues are as they should be, but for one that is not labelled yet.
func (w *world) settleFor(n, except int) {
	w.t.Helper()
	all := w.issues
	defer func() { w.issues = all }()
	w.issues = slices.Concat(all[:except-1], all[except:n])
	w.settle()
}
