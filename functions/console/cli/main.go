// Command codexk8s is the console for the command line: what its pages do, by the same API.
//
// Each operation of the contract is one command, named after what it is about and what it does: runs list, approvals
// approve. A test holds that none lacks its command. Who asks comes from `auth login`, which keeps a token made at
// /tokens in a file of the person's, or from CODEXK8S_HOST and CODEXK8S_TOKEN.
//
// For people it prints tables, and for programs with -o json the API's own answers. A command that changes something
// says first what would come of it and asks, if it is at a terminal; it is done only if that still holds. The ways it
// ends are numbers that scripts can tell apart: see the exit codes.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(a.run(ctx, os.Args[1:]))
}
