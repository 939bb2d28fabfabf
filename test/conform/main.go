// Command conform tells the author of an HTTP approver or executor what it fails of the contract, which is in
// shared/approval/contract, one line for each check: make conform URL=https://adapter.example.com
//
//	conform ──► POST /approve, POST /execute ──► the adapter ──► a person, or the command PRESS
//	        ◄── callback: answered well, late, with 503, with 404, not at all ◄──┘
//
// It plays codex-k8s: it sends with the code that sends there and reads callbacks with the code that reads them there
// (shared/chat), and changes on the wire what is to be wrong. It judges only what is seen from there. A check is ok;
// weak, if codex-k8s gets along but the contract asks for more; FAIL; or "-", not tried, with what is needed to try it.
// One FAIL makes the exit code 1.
//
// Somebody has to decide what is asked. Without PRESS the program says what to press and waits. PRESS is a command that
// does what a person would do, so that the checks can run by themselves. Its environment says what: ID, the
// correlation_id; ACT, which is approve, deny, option or words; OPTION, from 1 on; and TEXT, the reason or the words:
//
//	PRESS='curl -fsS adapter.example.com/test/$ID -d act=$ACT -d option=$OPTION --data-urlencode text="$TEXT"'
//
// It fails if there is nothing to press any more, as after a click. RESTART is a command that restarts the adapter and
// comes back once it is up.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"codexk8s.dev/shared/variables"
)

type env struct {
	URL         string        `envconfig:"URL" required:"true"`               // of the adapter, without /approve
	Secret      string        `envconfig:"SECRET"`                            // that both sides sign with; empty = nobody signs
	Press       string        `envconfig:"PRESS"`                             // command that decides as a person does; empty = you are asked to
	Restart     string        `envconfig:"RESTART"`                           // command that restarts the adapter
	Listen      string        `envconfig:"LISTEN" default:"127.0.0.1:0"`      // where callbacks are taken
	CallbackURL string        `envconfig:"CALLBACK_URL"`                      // by which the adapter reaches that; empty = the address listened on
	Patience    time.Duration `envconfig:"PATIENCE" default:"1m"`             // how long a callback may take after a click
	Quiet       time.Duration `envconfig:"QUIET" default:"5s"`                // how long nothing must come that should not
	Again       time.Duration `envconfig:"CALLED_AGAIN_WITHIN" default:"15s"` // how long a callback that was not heard is waited for
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var env env
	err := variables.Read(&env)
	if err == nil {
		err = run(ctx, env, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run does the checks that the environment asks for.
func run(ctx context.Context, env env, out io.Writer) error {
	p, err := listen(env)
	if err != nil {
		return err
	}
	defer p.Close()
	s := &session{platform: p, out: out, press: command(env.Press), restart: restarter(env.Restart), patience: env.Patience, quiet: env.Quiet, again: env.Again}
	if env.Press == "" {
		s.byHand, s.press = true, s.instruct
	}
	return s.checkAll(ctx)
}

var errFailed = errors.New("the adapter fails the contract")

// checkAll does every check for both halves of the contract, and prints what came of each.
func (s *session) checkAll(ctx context.Context) error {
	counts := map[string]int{}
	for _, s.half = range halves {
		for i, c := range checks {
			err := c.do(ctx, s)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			grade := s.print(c.name, err)
			counts[grade]++
			if i == 0 && grade != good {
				break // it takes no request, or has no such half
			}
		}
	}
	if counts[good] == 0 && counts[bad] == 0 {
		counts[bad] += s.fail("it has neither /approve nor /execute")
	}
	if len(s.strays) > 0 {
		counts[bad] += s.fail(fmt.Sprintf("it calls addresses that nobody gave it: %s", s.strays))
	}
	_, _ = fmt.Fprintf(s.out, "\n%d ok, %d weak, %d failed, %d not tried\n", counts[good], counts[weakly], counts[bad], counts[not])
	if counts[bad] > 0 {
		return errFailed
	}
	return nil
}

// How a check ended.
const (
	good   = "ok"
	weakly = "weak"
	bad    = "FAIL"
	not    = "-"
)

// weak says that codex-k8s gets along, untried that a check could not be made.
type (
	weak    string
	untried string
)

func (w weak) Error() string    { return string(w) }
func (u untried) Error() string { return string(u) }

// print writes the line of a check and returns its grade.
func (s *session) print(name string, err error) (grade string) {
	var w weak
	var u untried
	switch {
	case err == nil:
		_, _ = fmt.Fprintf(s.out, "%-4s  %s  %s\n", good, s.half.name, name)
		return good
	case errors.As(err, &w):
		grade = weakly
	case errors.As(err, &u):
		grade = not
	default:
		grade = bad
	}
	_, _ = fmt.Fprintf(s.out, "%-4s  %s  %s: %v\n", grade, s.half.name, name, err)
	return grade
}

// fail prints what is wrong with the adapter as a whole.
func (s *session) fail(what string) int {
	_, _ = fmt.Fprintf(s.out, "%-4s  %s\n", bad, what)
	return 1
}
