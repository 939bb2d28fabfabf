package main

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"codexk8s.dev/functions/agent-runner/internal/session"
	"codexk8s.dev/shared/exitcode"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/test/fakes/model"
)

// failsWith runs one pod and compares its report.
func (w *world) failsWith(code int, reason string, named ...string) {
	w.t.Helper()
	if got := w.exit(w.pod()); got != code {
		w.t.Errorf("exit code %d, want %d", got, code)
	}
	r := w.gateway.report()
	if r.GetOutcome() != "failed" || r.GetReason() != reason {
		w.t.Fatalf("report %v, want failed with %s", r, reason)
	}
	for _, part := range named {
		if !strings.Contains(r.GetSummary(), part) {
			w.t.Errorf("the summary lacks %q:\n%s", part, r.GetSummary())
		}
	}
	if n := w.count("push"); n != 0 {
		w.t.Errorf("%d pushes were made:\n%s", n, strings.Join(w.github.Writes(), "\n"))
	}
}

func (w *world) script(steps ...model.Step) {
	w.model = model.New(model.Options{Keys: []string{testToken}, Scripts: []model.Script{{Name: "test", Steps: steps, Final: "I did it."}}})
	w.llm = w.serve("model", w.model) + "/v1"
}

func TestAFileOutsideOfTheWriteScopeStopsThePush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.gateway.change(func(g *fakeGateway) { g.assignment.WriteScope = []string{"docs/**", "*.md"} })
	w.script(model.Step{Write: &model.File{Path: "docs/a/b.txt", Content: "ok"}}, model.Step{Run: "mv src/price.go prices.go && echo x >> README.md"})
	w.failsWith(0, reason.WriteScope, "`prices.go`", "`src/price.go`", "`docs/**`")
}

func TestNoChangesIsAFailureThatSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.script(model.Step{List: "."})
	w.failsWith(0, reason.NoChanges, "changed no file", "I did it.")
}

func TestReviseWithoutAPullRequestIsFinal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.gateway.change(func(g *fakeGateway) { g.assignment.Revise = true })
	w.failsWith(exitcode.Never, reason.PullRequestMissing, "no open pull request")
}

func TestAMissingBaseBranchIsAFailureThatSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.gateway.change(func(g *fakeGateway) { g.assignment.BaseBranch = "trunk" })
	w.failsWith(0, reason.BaseBranchMissing, "`trunk`")
}

func TestAModelThatRefusesIsAFailureThatSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.gateway.change(func(g *fakeGateway) { g.assignment.Model = "no-such-model" })
	w.failsWith(0, reason.Engine, "no-such-model")
}

func TestABrokenWorkspaceDoesNotMatter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.script(
		model.Step{Write: &model.File{Path: "greetings/french.txt", Content: "Bonjour"}},
		model.Step{Run: "git config user.name agent; git config user.email a@b; git add -A; git commit -qm 'by the agent'; git switch -q -c other; " +
			"mkdir -p .git/hooks; printf '#!/bin/sh\\nexit 1\\n' | tee .git/hooks/pre-push >.git/hooks/pre-commit; chmod +x .git/hooks/*; " +
			"git config core.hooksPath .git/hooks; git remote set-url origin http://127.0.0.1:1/"})
	if code := w.exit(w.pod()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.finishedOnce()
}

func TestABranchThatMovedMeanwhileIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	var moved atomic.Bool
	w.hook(&w.before, func(step string) {
		if strings.HasPrefix(step, "model POST") && moved.CompareAndSwap(false, true) {
			w.pushAs(t, "person.txt", "by a person\n")
		}
	})
	if code := w.exit(w.pod()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.finishedOnce()
	if text, err := w.github.File(testRepo, "codexk8s/issue-1", "person.txt"); err != nil || text != "by a person\n" {
		t.Errorf("the person's commit is lost: %q, %v", text, err)
	}
}

func TestAConflictingPushIsAFailureAndKeepsThePersonsWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	var moved atomic.Bool
	w.hook(&w.before, func(step string) {
		if strings.HasPrefix(step, "model POST") && moved.CompareAndSwap(false, true) {
			w.pushAs(t, "greetings/french.txt", "Non!\n")
		}
	})
	if code := w.exit(w.pod()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if r := w.gateway.report(); r.GetReason() != reason.PushConflict {
		t.Errorf("report %v, want %s", r, reason.PushConflict)
	}
	if text, err := w.github.File(testRepo, "codexk8s/issue-1", "greetings/french.txt"); err != nil || text != "Non!\n" {
		t.Errorf("the person's file is %q, %v", text, err)
	}
}

func TestAnInactiveRunIsRefusedForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.gateway.change(func(g *fakeGateway) {
		g.refuse = connect.NewError(connect.CodePermissionDenied, errors.New("the run is cancelled"))
	})
	if code := w.exit(w.pod()); code != exitcode.Never {
		t.Errorf("exit code %d, want %d", code, exitcode.Never)
	}
}

func TestAGatewayThatIsAwayForAMomentIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.gateway.change(func(g *fakeGateway) { g.refuse = connect.NewError(connect.CodeUnavailable, errors.New("starting")) })
	time.AfterFunc(1500*time.Millisecond, func() {
		w.gateway.change(func(g *fakeGateway) { g.refuse = nil })
	})
	if code := w.exit(w.pod()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.finishedOnce()
}

func TestABusyModelIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"builtin", "codex"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine)
			w.model.Behave(model.Behaviour{Mode: model.RateLimited, Times: 2, RetryAfter: time.Second})
			if code := w.exit(w.pod(w.codex()...)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			w.finishedOnce()
		})
	}
}

func TestAnAppThatIsNotInstalledIsAFailureThatSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.gateway.change(func(g *fakeGateway) {
		g.noCredential = connect.NewError(connect.CodeFailedPrecondition, errors.New("install the platform's App"))
	})
	w.failsWith(0, reason.RepositoryAccess, "install the platform's App")
}

func TestAnUnknownEngineIsAFailureThatSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "oracle")
	w.failsWith(0, reason.Assignment, `"oracle"`)
}

func TestAMissingCodexIsAFailureThatSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "codex")
	if code := w.exit(w.pod("CODEX_BIN=/nowhere/codex")); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if r := w.gateway.report(); r.GetReason() != reason.Engine || !strings.Contains(r.GetSummary(), "CODEX_BIN") {
		t.Errorf("report %v", r)
	}
}

func TestAKeptWorkFolderIsResetAndTheWorkRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	dir := t.TempDir()
	var seen atomic.Int32
	pods := make(chan func(), 1)
	w.hook(&w.before, func(step string) {
		if strings.HasPrefix(step, "model POST") && seen.Add(1) == 4 {
			(<-pods)()
		}
	})
	pod := w.podIn(dir)
	pods <- func() {
		for kept := false; !kept; time.Sleep(20 * time.Millisecond) {
			w.gateway.change(func(g *fakeGateway) {
				stored, err := session.Decode(g.snapshot.GetData())
				kept = err == nil && stored.Work != ""
			})
		}
		killed(pod)
		time.Sleep(50 * time.Millisecond)
	}
	if code := w.exit(pod); code != -1 {
		t.Fatalf("exit code %d", code)
	}
	if code := w.exit(w.podIn(dir)); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.finishedOnce()
	if !strings.Contains(w.gateway.log(), "(files restored: true)") {
		t.Errorf("the files were not restored:\n%s", w.gateway.log())
	}
}
