package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codexk8s.dev/functions/console/internal/api"
)

// How the program ends.
const (
	exitDone    = 0
	exitFailed  = 1 // an outage, or a run that was watched to a bad end
	exitUsage   = 2 // the command line, or a request that the contract does not allow
	exitRefused = 3 // the rules say no, or it waits
	exitUnknown = 4 // nobody is signed in
)

// An app is the program: where it reads and writes, and how it was called.
type app struct {
	in       io.Reader
	out, err io.Writer
	output   string // table or json
	host     string
	client   *api.Client
}

// An ending is an error with the number by which the program ends.
type ending struct {
	code int
	error
}

func (e ending) Unwrap() error { return e.error }

// operation is the annotation of a command that names the operation of the contract which it is.
const operation = "operation"

// run does what the arguments say and returns how it ended.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	a.warn("codexk8s: %v\n", err)
	if end := (ending{}); errors.As(err, &end) {
		return end.code
	}
	return exitUsage // what cobra refuses
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "codexk8s", Short: "See and steer what agents do", SilenceErrors: true, SilenceUsage: true,
		Long: `See and steer what agents do, by the console's API.

Sign in first: make a token at https://<console>/tokens, then codexk8s auth login https://<console>

Exit codes: 0 done, 1 failed, 2 wrong command line, 3 refused or waiting, 4 not signed in.`,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != "table" && a.output != "json" {
				return ending{exitUsage, fmt.Errorf("-o %s: want table or json", a.output)}
			}
			return nil
		},
	}
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "table", "table, or json: the API's own answer")
	root.PersistentFlags().StringVar(&a.host, "host", os.Getenv("CODEXK8S_HOST"), "the console's address; else CODEXK8S_HOST, or where you signed in last")
	root.AddCommand(a.auth(), a.runs(), a.logs(), a.approvals(), a.issues(), a.commands(), a.tokens(), a.audit(), a.raw())
	return root
}

// open makes the client for whom the person signed in as. Requests carry their token.
func (a *app) open() error {
	host, token, err := a.credentials()
	if err != nil {
		return err
	}
	a.client, err = api.NewClient(host, api.WithHTTPClient(&http.Client{Timeout: time.Minute}), api.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}))
	if err != nil {
		return ending{exitUsage, fmt.Errorf("the address %q: %w", host, err)}
	}
	return nil
}

// mostAnswer is the largest answer that is read whole.
const mostAnswer = 64 << 20

// ask sends a request and reads the answer into a value, if there is one, and prints it if that is what the person
// wants: it reports whether it did.
func (a *app) ask(send func() (*http.Response, error), into any) (printed bool, err error) {
	if a.client == nil {
		if err := a.open(); err != nil {
			return false, err
		}
	}
	resp, err := send()
	if err != nil {
		return false, ending{exitFailed, fmt.Errorf("the console does not answer: %w", err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return false, ending{exitFailed, fmt.Errorf("reading the console's answer: %w", err)}
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return false, refusal(resp, body)
	}
	if into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			return false, ending{exitFailed, fmt.Errorf("this is no console of ours, or a much later one: %w", err)}
		}
	}
	if a.output != "json" || into == nil {
		return false, nil
	}
	return true, a.json(body)
}

// json prints JSON with its names in the API's order.
func (a *app) json(body []byte) error {
	var indented strings.Builder
	encoder := json.NewEncoder(&indented)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(json.RawMessage(body)); err != nil {
		return ending{exitFailed, err}
	}
	a.say("%s", indented.String())
	return nil
}

// refusal is an answer that is none: the console's own words, and the number that fits.
func refusal(resp *http.Response, body []byte) error {
	var p api.Problem
	if json.Unmarshal(body, &p) != nil || p.Title == "" {
		return ending{exitFailed, fmt.Errorf("the console answers %s", resp.Status)}
	}
	said := p.Title
	if p.Reason != "" {
		said += " (" + p.Reason + ")"
	}
	if p.Detail != "" {
		said += ": " + p.Detail
	}
	for _, e := range p.Errors {
		said += " [" + e.Pointer + "]"
	}
	code := map[int]int{400: exitUsage, 401: exitUnknown, 403: exitRefused, 409: exitRefused, 412: exitRefused, 422: exitRefused}[p.Status]
	if code == 0 {
		code = exitFailed
	}
	return ending{code, errors.New(said)}
}
