package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"codexk8s.dev/shared/exitcode"
	"codexk8s.dev/shared/reason"
	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/fakes/model"
)

// does has the agent write a file and run a command.
func (w *world) does(command string) {
	w.script(model.Step{Write: &model.File{Path: "greetings/french.txt", Content: "Bonjour\n"}}, model.Step{Run: command})
}

// A pod of whatever sort leaves its work behind, and the run ends in one.
func TestWhateverTheAgentDoesToItsRepositoryItsWorkArrives(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ command, changed, told string }{
		"no .git":             {"rm -rf .git", "greetings/french.txt", ""},
		"nested repository":   {"git init -q fixture && echo x >fixture/a.txt", "fixture/a.txt greetings/french.txt", "`fixture` is a repository of its own"},
		"a name in Latin-1":   {`printf x >"$(printf 'caf\351.txt')"`, `"caf\351.txt" greetings/french.txt`, ""},
		"a token in a name":   {"touch eyJ" + strings.Repeat("hbGciOiJSUzI1NiJ9.", 3) + "c2ln", "[redacted] greetings/french.txt", ""},
		"something to ignore": {"mkfifo pipe", "greetings/french.txt", "`pipe` is a pipe"},
		"a name that acts":    {"mkfifo 'closes #8'", "greetings/french.txt", "`closes issue 8` is a pipe"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "builtin")
			w.does(c.command)
			if code := w.exit(w.pod()); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			r := w.gateway.report()
			if got := strings.Join(r.GetChangedFiles(), " "); r.GetOutcome() != "succeeded" || got != c.changed {
				t.Errorf("%s with %q, want %q", r.GetOutcome(), got, c.changed)
			}
			if !strings.Contains(r.GetSummary(), c.told) || !strings.Contains(w.github.PullRequests(testRepo)[0].Body, c.told) {
				t.Errorf("%q is not told:\n%s", c.told, r.GetSummary())
			}
		})
	}
}

func TestWhatMustNotBePushedIsRefusedByName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command, reason string
		named           []string
	}{
		"the run token":     {"echo " + testToken + " >greetings/notes.txt", reason.PushRejected, []string{"`greetings/notes.txt`", "secret"}},
		"a GitHub token":    {"printf 'ghs_%s' 0123456789abcdefghijABCDEFGHIJ012345 >notes.txt", reason.PushRejected, []string{"`notes.txt`"}},
		"a large file":      {"truncate -s 101M model.bin", reason.PushRejected, []string{"`model.bin` (101.0 MB)"}},
		"Git LFS":           {"echo '*.bin filter=lfs' >.gitattributes; echo x >b.bin", reason.PushRejected, []string{"`b.bin` (Git LFS)"}},
		"its own folder":    {"rm -rf $PWD", reason.PushRejected, []string{"removed the folder"}},
		"outside, in bytes": {`rm -r greetings; printf x >"$(printf '\351')"`, reason.WriteScope, []string{"`\"\\351\"`"}},
		"another branch":    {"git switch -q -c other; git add -A; git -c user.name=a -c user.email=a@b commit -qm x; git switch -q -", reason.NoChanges, []string{"`other`"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "builtin")
			if c.reason == reason.WriteScope {
				w.gateway.change(func(g *fakeGateway) { g.assignment.WriteScope = []string{"greetings/**"} })
			}
			w.does(c.command)
			w.failsWith(0, c.reason, c.named...)
			if s := w.gateway.report().GetSummary(); !utf8.ValidString(s) || strings.Contains(s, testToken) {
				t.Errorf("summary %q", s)
			}
		})
	}
}

// When the files of a lost pod could not be kept, the run does not end as if the agent had done nothing.
func TestLostWorkIsCalledLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.does("rm -r greetings; head -c 20000000 /dev/urandom >data.bin")
	pods := make(chan func(), 1)
	var pushes atomic.Int32
	w.hook(&w.before, func(step string) {
		if strings.Contains(step, "git-receive-pack") && pushes.Add(1) == 1 {
			(<-pods)()
		}
	})
	first := w.pod()
	pods <- func() { killed(first) }
	if code := w.exit(first); code != -1 {
		t.Fatalf("exit code %d", code)
	}
	w.script(model.Step{List: "."}) // the second pod's agent believes that all is done
	w.failsWith(0, reason.NoChanges, "lost", "`data.bin`")
	if !strings.Contains(w.gateway.log(), "Too large for the snapshot") {
		t.Errorf("the log does not tell of the file:\n%s", w.gateway.log())
	}
}

func TestAZeroByteInTheLastWordsIsNoTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.model = model.New(model.Options{Keys: []string{testToken}, Scripts: []model.Script{{Name: "test",
		Steps: []model.Step{{Write: &model.File{Path: "greetings/french.txt", Content: "Bonjour\n"}}}, Final: "Done\x00 it."}}})
	w.llm = w.serve("model", w.model) + "/v1"
	if code := w.exit(w.pod()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.finishedOnce()
	if s := w.gateway.report().GetSummary(); s != "Done it." {
		t.Errorf("summary %q", s)
	}
}

// answer has the fake GitHub's Git server answer for a while, as middlemen and GitHub itself do.
func (w *world) answer(path string, f http.HandlerFunc) {
	target, err := url.Parse(w.github.URL())
	if err != nil {
		w.t.Fatal(err)
	}
	next := httputil.NewSingleHostReverseProxy(target)
	at := w.serve("github", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RequestURI(), path) {
			f(rw, r)
			return
		}
		next.ServeHTTP(rw, r)
	}))
	w.gateway.change(func(g *fakeGateway) {
		g.assignment.CloneUrl, g.assignment.GithubApiUrl = at+"/"+testRepo+".git", at+"/api/v3/"
	})
}

func TestAPushThatIsRefusedEndsTheRunOnce(t *testing.T) {
	t.Parallel()
	for status, reason := range map[int]string{
		http.StatusUnauthorized: reason.RepositoryAccess, http.StatusForbidden: reason.RepositoryAccess, http.StatusNotFound: reason.RepositoryAccess, http.StatusRequestEntityTooLarge: reason.PushRejected,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "builtin")
			path := "service=git-receive-pack"
			if status == http.StatusRequestEntityTooLarge {
				path = ".git/git-receive-pack"
			}
			w.answer(path, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
				http.Error(rw, "This repository was archived so it is read-only.", status)
			})
			w.failsWith(0, reason, "GitHub says")
		})
	}
}

func TestARenamedRepositoryIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.answer("/acme/old.git/info/refs", func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, strings.Replace(r.URL.RequestURI(), "/acme/old", "/"+testRepo, 1), http.StatusMovedPermanently)
	})
	w.gateway.change(func(g *fakeGateway) {
		g.assignment.CloneUrl = strings.Replace(g.assignment.CloneUrl, testRepo, "acme/old", 1)
	})
	if code := w.exit(w.pod()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.finishedOnce()
}

func TestAMergeWhileTheAgentRevisesIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	if code := w.exit(w.pod()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	first := w.gateway.report()
	if err := w.github.AddCollaborator(testRepo, "olga", "write"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.github.Review(testRepo, int(first.GetPullRequest()), "REQUEST_CHANGES", "Nearly.",
		[]fakegithub.InlineComment{{Path: "greetings/french.txt", Line: 1, Body: "Politer."}}, "olga"); err != nil {
		t.Fatal(err)
	}
	w.gateway.change(func(g *fakeGateway) {
		g.reports, g.assignment.RunId, g.assignment.Revise = nil, "7d4f7f0a-3c55-4d0e-9d5c-5a1f4f9f0a02", true
	})
	w.does("echo Salut >>greetings/french.txt")
	var merged atomic.Bool
	w.hook(&w.before, func(step string) {
		if strings.HasPrefix(step, "model POST") && merged.CompareAndSwap(false, true) {
			if _, err := w.github.Merge(testRepo, int(first.GetPullRequest()), "acme"); err != nil {
				t.Error(err)
			}
		}
	})
	pushes := w.count("codexk8s/issue-1 (")
	if code := w.exit(w.pod()); code != exitcode.Never {
		t.Errorf("exit code %d", code)
	}
	if r := w.gateway.report(); r.GetReason() != reason.PullRequestMissing || !strings.Contains(r.GetSummary(), "merged or closed while the agent worked") || w.count("codexk8s/issue-1 (") != pushes {
		t.Errorf("report %v after %d pushes", r, w.count("codexk8s/issue-1 (")-pushes)
	}
}

// The own git directory is outside of the agent's folder, and no command but fetch and push is given the run token.
func TestTheAgentsGitProgramsAreNotRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	seen := filepath.Join(t.TempDir(), "seen")
	w.does(`echo '* filter=x' >.git/info/attributes; git config filter.x.clean 'sh -c "env >` + seen + `; cat"'; git config core.fsmonitor "env >` + seen + `"; git config url.http://127.0.0.1:9/.insteadOf http; git config http.proxy http://127.0.0.1:9`)
	if code := w.exit(w.pod()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.finishedOnce()
	if env, err := os.ReadFile(seen); err == nil && slices.ContainsFunc(strings.Split(string(env), "\n"), func(v string) bool { return strings.HasPrefix(v, "RUN_TOKEN=") }) {
		t.Errorf("a program of the agent's was run with:\n%s", env)
	}
}
