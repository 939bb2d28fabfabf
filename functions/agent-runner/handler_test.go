package main

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/exitcode"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// finishedOnce fails unless the run ended with one branch, one commit, one pull request and one kind of report.
func (w *world) finishedOnce() {
	w.t.Helper()
	pulls := w.github.PullRequests(testRepo)
	if len(pulls) != 1 {
		w.t.Fatalf("there are %d pull requests, want 1", len(pulls))
	}
	branches, err := w.github.Branches(testRepo)
	if err != nil {
		w.t.Fatal(err)
	}
	got := w.gateway.report()
	want := &agentapi.ReportRequest{
		Outcome: "succeeded", Branch: "codexk8s/issue-1", HeadSha: branches["codexk8s/issue-1"],
		PullRequest: int32(pulls[0].Number), PullRequestUrl: got.GetPullRequestUrl(),
		ChangedFiles: []string{"greetings/french.txt"}, Summary: got.GetSummary(), ThreadId: got.GetThreadId(),
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		w.t.Errorf("report (-want +got):\n%s", diff)
	}
	text, err := w.github.File(testRepo, "codexk8s/issue-1", "greetings/french.txt")
	if err != nil || !strings.Contains(text, "Bonjour") {
		w.t.Errorf("the file on the branch is %q, %v", text, err)
	}
	for _, part := range []string{"Closes #1", testRun, "<!-- codexk8s:begin -->"} {
		if !strings.Contains(pulls[0].Body, part) {
			w.t.Errorf("the pull request's body lacks %q:\n%s", part, pulls[0].Body)
		}
	}
	if strings.Contains(w.gateway.log(), testToken) || strings.Contains(w.gateway.log(), "acme-token") {
		w.t.Error("a secret is in the run's log")
	}
}

// count returns how many writes of the fake GitHub begin with the text, after the user's name.
func (w *world) count(part string) int {
	n := 0
	for _, line := range w.github.Writes() {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

func TestARunBecomesAPullRequest(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"builtin", "codex"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine)
			if code := w.exit(w.pod(w.codex()...)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			w.finishedOnce()
			for _, part := range []string{"runner: Checked out acme/shop", "runner: tokens:", "runner: Pushed "} {
				if !strings.Contains(w.gateway.log(), part) {
					t.Errorf("the run's log lacks %q:\n%s", part, w.gateway.log())
				}
			}
			progress := 0
			w.gateway.change(func(g *fakeGateway) { progress = len(g.progress) })
			if w.gateway.report().GetThreadId() == "" || progress == 0 {
				t.Error("no thread id or no progress was reported")
			}
		})
	}
}

func TestKilledAnywhereItGoesOnAndOpensOnePullRequest(t *testing.T) {
	t.Parallel()
	const savedDone = "gateway/SaveSnapshot"
	points := []struct {
		name   string
		engine string
		after  bool // kill when the step was carried out but before its answer arrives
		step   string
		nth    int
	}{
		{"before the assignment is known", "builtin", false, "gateway/GetAssignment", 1},
		{"in the clone", "builtin", false, "github POST /acme/shop.git/git-upload-pack", 1},
		{"after the clone", "builtin", false, "gateway/LoadSnapshot", 1},
		{"in the first turn", "builtin", false, "model POST /v1/chat/completions", 1},
		{"after a file was written", "builtin", false, "model POST /v1/chat/completions", 3},
		{"at the end of the engine", "builtin", false, "model POST /v1/chat/completions", 4},
		{"mid engine, codex", "codex", false, "model POST /v1/responses", 3},
		{"before the push", "builtin", false, "github POST /acme/shop.git/git-receive-pack", 1},
		{"after the push", "builtin", true, "github POST /acme/shop.git/git-receive-pack", 1},
		{"after the push, codex", "codex", true, "github POST /acme/shop.git/git-receive-pack", 1},
		{"before the pull request", "builtin", false, "github POST /api/v3/repos/acme/shop/pulls", 1},
		{"after the pull request", "builtin", true, "github POST /api/v3/repos/acme/shop/pulls", 1},
		{"before the report", "builtin", false, "gateway/Report", 1},
		{"after the report", "builtin", true, "gateway/Report", 1},
		{"while a session is saved", "builtin", true, savedDone, 1},
	}
	for _, p := range points {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, p.engine)
			var seen atomic.Int32
			pods := make(chan func(), 1)
			hook := func(step string) {
				if strings.HasPrefix(step, p.step) && int(seen.Add(1)) == p.nth {
					(<-pods)()
				}
			}
			if p.after {
				w.hook(&w.after, hook)
			} else {
				w.hook(&w.before, hook)
			}
			pod := w.pod(w.codex()...)
			pods <- func() { time.Sleep(120 * time.Millisecond); killed(pod); time.Sleep(50 * time.Millisecond) }
			if code := w.exit(pod); code != -1 {
				t.Fatalf("the first pod ended by itself with %d, it should have been killed", code)
			}
			if code := w.exit(w.pod(w.codex()...)); code != 0 {
				t.Fatalf("the second pod's exit code is %d", code)
			}
			w.finishedOnce()
			if n := w.count("open pull request"); n > 1 {
				t.Errorf("%d pull requests were opened", n)
			}
		})
	}
}

func TestWorkThatWasFinishedIsNotDoneAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	pods := make(chan func(), 1)
	var pushes atomic.Int32
	w.hook(&w.before, func(step string) {
		if strings.Contains(step, "git-receive-pack") && pushes.Add(1) == 1 {
			(<-pods)()
		}
	})
	first := w.pod()
	pods <- func() { killed(first); time.Sleep(50 * time.Millisecond) }
	if code := w.exit(first); code != -1 {
		t.Fatalf("exit code %d", code)
	}
	asked := len(w.model.Requests())
	if code := w.exit(w.pod()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.finishedOnce()
	if again := len(w.model.Requests()) - asked; again != 0 {
		t.Errorf("the model was asked %d times again", again)
	}
}

func TestTerminatedItSavesTheSessionAndResumesIt(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"builtin", "codex"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine)
			var seen atomic.Int32
			reached := make(chan struct{})
			w.hook(&w.before, func(step string) {
				if strings.HasPrefix(step, "model POST") && seen.Add(1) == 3 {
					close(reached)
					time.Sleep(time.Second)
				}
			})
			pod := w.pod(append(w.codex(), "SNAPSHOT_INTERVAL=1h")...)
			<-reached
			if err := pod.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if code := w.exit(pod); code != exitcode.Terminated {
				t.Fatalf("exit code %d, want %d", code, exitcode.Terminated)
			}
			var thread string
			w.gateway.change(func(g *fakeGateway) { thread = g.snapshot.GetThreadId() })
			if thread == "" {
				t.Fatal("no session was saved")
			}
			if code := w.exit(w.pod(w.codex()...)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			w.finishedOnce()
			if got := w.gateway.report().GetThreadId(); got != thread {
				t.Errorf("the session is %s, want %s resumed", got, thread)
			}
			if !strings.Contains(w.gateway.log(), "Resuming session "+thread+" (files restored: true)") {
				t.Errorf("the log does not tell of resuming:\n%s", w.gateway.log())
			}
		})
	}
}

func TestAskedToStopItSavesTheSessionAndReportsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.hook(&w.before, func(step string) {
		if strings.HasPrefix(step, "model POST") {
			w.gateway.change(func(g *fakeGateway) { g.stop = "cancelled" })
			for told := false; !told; time.Sleep(50 * time.Millisecond) {
				w.gateway.change(func(g *fakeGateway) { told = g.told })
			}
			time.Sleep(300 * time.Millisecond)
		}
	})
	if code := w.exit(w.pod()); code != 0 {
		t.Errorf("exit code %d", code)
	}
	saves := 0
	w.gateway.change(func(g *fakeGateway) { saves = g.saves })
	if w.gateway.report() != nil || saves == 0 || len(w.github.PullRequests(testRepo)) != 0 {
		t.Errorf("report %v, %d saves, %d pull requests; want nothing but the session", w.gateway.report(), saves, len(w.github.PullRequests(testRepo)))
	}
}

func TestReviseResumesTheSessionWithTheReview(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"builtin", "codex"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine)
			if code := w.exit(w.pod(w.codex()...)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			first := w.gateway.report()
			if err := w.github.AddCollaborator(testRepo, "olga", "write"); err != nil {
				t.Fatal(err)
			}
			review, err := w.github.Review(testRepo, int(first.GetPullRequest()), "REQUEST_CHANGES", "Nearly.",
				[]fakegithub.InlineComment{{Path: "greetings/french.txt", Line: 1, Body: `Also say "Salut" please.`}}, "olga")
			if err != nil {
				t.Fatal(err)
			}
			w.gateway.change(func(g *fakeGateway) {
				g.reports = nil
				g.assignment.RunId = "7d4f7f0a-3c55-4d0e-9d5c-5a1f4f9f0a02"
				g.assignment.Revise = true
				if engine == "codex" { // the other one finds it by itself
					g.assignment.Review = &agentapi.Review{Id: review, Author: "olga", Body: "Nearly."}
				}
			})
			if code := w.exit(w.pod(w.codex()...)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			got := w.gateway.report()
			if got.GetOutcome() != "succeeded" || got.GetPullRequest() != first.GetPullRequest() || got.GetThreadId() != first.GetThreadId() || got.GetHeadSha() == first.GetHeadSha() {
				t.Errorf("revised report %v after %v", got, first)
			}
			text, err := w.github.File(testRepo, "codexk8s/issue-1", "greetings/french.txt")
			if err != nil || !strings.Contains(text, "Salut") {
				t.Errorf("the review is not answered: %q, %v", text, err)
			}
		})
	}
}
