package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"codexk8s.dev/functions/console/internal/api"
)

// A manner is how a command is given.
type manner struct {
	dry, yes bool
	key      string
	wait     int // seconds
}

// flags are those of every command that changes something.
func (m *manner) flags(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&m.dry, "dry-run", false, "say what would come of it, and do nothing")
	c.Flags().BoolVarP(&m.yes, "yes", "y", false, "do not ask")
	c.Flags().StringVar(&m.key, "key", "", "makes it one command, however often it is sent; else a new one")
	c.Flags().IntVar(&m.wait, "wait", 10, "seconds to wait for the outcome, 10 at most")
	return c
}

// A sending is one of the API's commands, with what all of them take.
type sending func(ctx context.Context, p api.CancelRunParams) (*http.Response, error)

// order gives a command. At a terminal it says what would come of it first and asks; what is done then is that, or
// nothing.
func (a *app) order(ctx context.Context, m manner, send sending) error {
	p := api.CancelRunParams{IdempotencyKey: m.key, Prefer: "wait=" + strconv.Itoa(m.wait)}
	if p.IdempotencyKey == "" {
		p.IdempotencyKey = rand.Text()
	}
	if asks := a.isTerminal() && !m.yes; m.dry || asks {
		p.DryRun = true
		var is api.Command
		printed, err := a.ask(func() (*http.Response, error) { return send(ctx, p) }, &is)
		if err != nil {
			return err
		}
		if !printed {
			a.foreseen(is)
		}
		switch {
		case is.Does == "nothing":
			return ending{exitRefused, fmt.Errorf("nothing would come of it (%s): %s", is.Reason, plain(is.Detail))}
		case m.dry:
			return nil
		case !a.agrees():
			return ending{exitRefused, fmt.Errorf("nothing was done")}
		}
		p.DryRun, p.IfMatch = false, is.Etag
	}
	var is api.Command
	printed, err := a.ask(func() (*http.Response, error) { return send(ctx, p) }, &is)
	if err != nil {
		return err
	}
	if !printed {
		a.outcome(is)
	}
	if is.State != "done" {
		return ending{exitRefused, fmt.Errorf("it is %s: codexk8s commands view %s", is.State, is.Id)}
	}
	return nil
}

func (a *app) foreseen(is api.Command) {
	a.say("%s %s on %s#%d: %s\n", is.Command, strings.TrimSpace(is.Label+" "+is.Run), is.Repository, is.Issue, is.Does)
	for _, l := range is.LabelsOn {
		a.say("  +%s\n", plain(l))
	}
	for _, l := range is.LabelsOff {
		a.say("  -%s\n", plain(l))
	}
	if is.Position > 0 {
		a.say("  number %d of those that wait for a place\n", is.Position)
	}
}

func (a *app) outcome(is api.Command) {
	a.say("%s\n", strings.TrimSpace(fmt.Sprintf("%s %s on %s#%d %s", is.Command, is.State, is.Repository, is.Issue, is.Run)))
	if is.Reason != "" {
		a.say("  %s: %s\n", is.Reason, plain(is.Detail))
	}
}

// agrees asks the person.
func (a *app) agrees() bool {
	a.warn("Do it? [y/N] ")
	line, _ := bufio.NewReader(a.in).ReadString('\n') // no answer is a no
	return strings.EqualFold(strings.TrimSpace(line), "y") || strings.EqualFold(strings.TrimSpace(line), "yes")
}

func (a *app) cancel() *cobra.Command {
	var m manner
	return m.flags(&cobra.Command{
		Use: "cancel RUN", Short: "End a run; what it has pushed stays", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "cancelRun"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.order(cmd.Context(), m, func(ctx context.Context, p api.CancelRunParams) (*http.Response, error) {
				return a.client.CancelRun(ctx, args[0], &p)
			})
		},
	})
}

func (a *app) rerun() *cobra.Command {
	var m manner
	return m.flags(&cobra.Command{
		Use: "rerun RUN", Short: "Start the stage of a run again", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "rerunRun"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.order(cmd.Context(), m, func(ctx context.Context, p api.CancelRunParams) (*http.Response, error) {
				q := api.RerunRunParams(p)
				return a.client.RerunRun(ctx, args[0], &q)
			})
		},
	})
}

func (a *app) revise() *cobra.Command {
	var m manner
	var body api.Revise
	c := m.flags(&cobra.Command{
		Use: "revise RUN", Short: "Have the pull request of a run's stage reworked", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "reviseRun"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.order(cmd.Context(), m, func(ctx context.Context, p api.CancelRunParams) (*http.Response, error) {
				q := api.ReviseRunParams(p)
				return a.client.ReviseRun(ctx, args[0], &q, body)
			})
		},
	})
	c.Flags().StringVarP(&body.Text, "text", "m", "", "what to change; else the newest review says")
	return c
}

func (a *app) start() *cobra.Command {
	var m manner
	var text string
	c := m.flags(&cobra.Command{
		Use: "start OWNER/NAME#NUMBER LABEL", Short: "Start what a label starts", Args: cobra.ExactArgs(2), Annotations: map[string]string{operation: "startRun"},
		Example: "  codexk8s runs start acme/shop#12 run:dev --dry-run",
		RunE: func(cmd *cobra.Command, args []string) error {
			owner, name, issue, err := issueOf(args[0])
			if err != nil {
				return err
			}
			body := api.Start{Repository: owner + "/" + name, Issue: issue, Label: args[1], Text: text}
			return a.order(cmd.Context(), m, func(ctx context.Context, p api.CancelRunParams) (*http.Response, error) {
				q := api.StartRunParams(p)
				return a.client.StartRun(ctx, &q, body)
			})
		},
	})
	c.Flags().StringVarP(&text, "text", "m", "", "of a revise: what to change")
	return c
}

// issueOf reads owner/name#number.
func issueOf(text string) (owner, name string, issue int, err error) {
	repository, number, _ := strings.Cut(text, "#")
	owner, name, _ = strings.Cut(repository, "/")
	if issue, err = strconv.Atoi(number); err != nil || issue < 1 || owner == "" || name == "" {
		return "", "", 0, ending{exitUsage, fmt.Errorf("%q is no issue: write owner/name#12", text)}
	}
	return owner, name, issue, nil
}

func (a *app) commands() *cobra.Command {
	commands := &cobra.Command{Use: "commands", Short: "What you asked of the platform"}
	commands.AddCommand(&cobra.Command{
		Use: "view COMMAND", Short: "What has become of a command of yours", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "getCommand"},
		RunE: func(cmd *cobra.Command, args []string) error {
			var is api.Command
			printed, err := a.ask(func() (*http.Response, error) { return a.client.GetCommand(cmd.Context(), args[0]) }, &is)
			if err == nil && !printed {
				a.outcome(is)
			}
			return err
		},
	})
	return commands
}
