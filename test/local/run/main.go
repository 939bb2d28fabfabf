// Command run is the whole platform on this machine, for people: `make run` to play with it, `make demo` (-demo) to see
// a work item go from label to approved pull request, or an agent ask people in chats (-story approval), a run reach
// its budget (-story budget), or an idea go through all stages (-story idea-to-ops).
//
// It starts package stack, prints every event that passes the broker, and stops on Ctrl-C with all that it started; a
// second Ctrl-C does not wait. make run keeps its state in .state (STATE_DIR), which FRESH=1 removes first, and uses
// real systems for which the environment has credentials. make demo always uses the fakes, free ports and a temporary
// directory, so it can be run beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"codexk8s.dev/test/local/lock"
	"codexk8s.dev/test/local/stack"
	"github.com/kelseyhightower/envconfig"
)

func main() {
	demo := flag.Bool("demo", false, "play the demonstration and exit")
	story := flag.String("story", "", "which one: approval, budget, idea-to-ops, or none for the way of one pull request")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	ctx := interruptible()
	play := run
	if *demo {
		play = func(ctx context.Context) error { return runDemo(ctx, *story) }
	}
	if err := play(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// errInterrupted is the cause of a context that Ctrl-C has ended.
var errInterrupted = errors.New("interrupted")

// interruptible ends at the first SIGINT or SIGTERM; the second ends the process at once, and its guard the children.
func interruptible() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		fmt.Fprintln(os.Stderr, "\nstopping; once more to stop at once")
		cancel(errInterrupted)
		<-signals
		os.Exit(130)
	}()
	return ctx
}

// env is what make run reads itself; the systems outside are stack.Outside.
type env struct {
	StateDir string `envconfig:"STATE_DIR" default:".state"` // where make run keeps its state
	Fresh    bool   `envconfig:"FRESH"`                      // 1 = remove that state first
}

// run starts the platform and shows what happens until it is interrupted.
func run(ctx context.Context) error {
	var env env
	if err := envconfig.Process("", &env); err != nil {
		return fmt.Errorf("reading the environment: %w", err)
	}
	outside, err := stack.FromEnvironment()
	if err != nil {
		return err
	}
	if env.Fresh {
		if err := removeState(env.StateDir); err != nil {
			return err
		}
		sayWhatStays(os.Stdout, outside)
	}
	codex, err := stack.FindCodex()
	if err != nil {
		return err
	}
	if err := installMissing(ctx, os.Stdout, outside.DatabaseURL); err != nil {
		return err
	}
	fmt.Println("Building the functions and starting them.")
	ready := sayItTakesTime(os.Stdout)
	defer ready()
	trace := stack.NewTrace(os.Stdout)
	defer trace.Close()
	s, err := stack.Start(ctx, stack.Options{
		Dir: env.StateDir, FixedPorts: true, Outside: outside, Codex: codex, OnDelivery: trace.Delivery,
	})
	if err != nil {
		if errors.Is(context.Cause(ctx), errInterrupted) {
			return errInterrupted
		}
		return err
	}
	defer s.Stop()
	ready()
	printGuide(os.Stdout, s, trace.Elapsed())
	<-ctx.Done()
	return nil
}

// patience is how long nothing may be said.
const patience = 30 * time.Second

// sayItTakesTime says now and then that the start goes on, until what it returns is called.
func sayItTakesTime(w io.Writer) (ready func()) {
	began, done := time.Now(), make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(patience):
				_, _ = fmt.Fprintf(w, "… %.0f s; the first build takes a few minutes\n", time.Since(began).Seconds())
			}
		}
	}()
	return sync.OnceFunc(func() { close(done) })
}

// sayWhatStays names what FRESH=1 does not touch: it removes only what make run has made.
func sayWhatStays(w io.Writer, o stack.Outside) {
	if o.DatabaseURL != "" {
		_, _ = fmt.Fprintln(w, "FRESH=1: the database of DATABASE_URL is yours and stays as it is, with its runs; give an empty one to start over.")
	}
	if o.Kubeconfig != "" {
		_, _ = fmt.Fprintln(w, "FRESH=1: what runs have left in the cluster of KUBECONFIG stays; see kubectl get namespaces -l app.kubernetes.io/managed-by=codexk8s")
	}
}

// removeState removes the state directory. One that holds something else is left alone: STATE_DIR may be a slip.
func removeState(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the state directory: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "stack.json")); err != nil {
		return fmt.Errorf("%s does not look like a state directory (it has no stack.json), so FRESH=1 does not remove it", dir)
	}
	held, err := lock.Take(filepath.Join(dir, "lock"))
	if err != nil {
		return fmt.Errorf("%s is in use by a platform that runs, so FRESH=1 does not remove it; stop that one first: %w", dir, err)
	}
	defer func() { _ = held.Close() }()
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing the state directory: %w", err)
	}
	return nil
}
