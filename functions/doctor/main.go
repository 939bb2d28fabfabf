// Command doctor says whether the platform is well, and if not, what to do.
//
//	doctor [-o text|json]                        all checks; exit status 1 when one has found something
//	doctor dead-letters [-o text|json]           the events that failed for good and are not handled yet
//	doctor replay 'function=…&source=…&id=…'     have one of them sent again
//	doctor link-code LOGIN                       a one-time code, by which a member links their account of a chat
//	doctor labels OWNER/NAME                     have the labels of a bound repository made and put right
//	doctor explain [-o …] [-before N] ISSUE      what started and stopped on an issue, why, and what would now
//	doctor simulate [-o …] ISSUE EVENT           what an event would do: "label run:dev by bob"
//	doctor backtest [-o …] [-since DAY] PROCESS  what the recorded events would have done by another process, in base64
//	doctor usage [-o …|csv] [-since DAY] [-by …] what was spent, by project, role, model or issue
//
// A check asks the Kubernetes API or Postgres, and reports in one line what it saw and for each fault what is wrong and
// what to do. If it can't ask, that is a fault too, and the other checks continue. Only replay, link-code and
// labels change anything. explain, simulate and backtest call the functions that stage-router decides with, in a
// transaction that may not write.
//
// It is no Service: it must work when nothing else does. In a cluster the suspended
// CronJob "doctor" is its template, and `make doctor` makes a Job of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"codexk8s.dev/shared/variables"
)

type env struct {
	DatabaseURL string `envconfig:"DATABASE_URL" required:"true"` // Postgres, postgres://user:password@host/name
	Kubeconfig  string `envconfig:"KUBECONFIG"`                   // file that names another cluster than the one it runs in
	ProcessFile string `envconfig:"PROCESS_FILE"`                 // as stage-router's
	// Objects of the release that this installation leaves out, by name, separated by commas; set by an overlay.
	Without []string `envconfig:"WITHOUT"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	var e env
	err := variables.Read(&e)
	if err == nil {
		err = run(ctx, e, os.Args[1:], os.Stdout)
	}
	if err != nil {
		if !errors.Is(err, errUnwell) { // the report says so
			fmt.Fprintln(os.Stderr, "doctor:", err)
		}
		os.Exit(1)
	}
}
