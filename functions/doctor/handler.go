package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/variables"
)

// namespace is the platform's.
const namespace = "codexk8s"

// errUnwell says that a check found a fault, which is in the report.
var errUnwell = errors.New("the platform is not well")

// patience bounds a whole run; the longest check reads the whole audit.
const patience = 5 * time.Minute

func run(ctx context.Context, e env, args []string, out io.Writer) error {
	command := "check"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it
	format := flags.String("o", "text", "")
	before := flags.Int64("before", 0, "")
	since := flags.String("since", "", "")
	by := flags.String("by", "project", "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("reading the arguments: %w", err)
	}
	if *format != "text" && *format != "json" && (*format != "csv" || command != "usage") {
		return fmt.Errorf("no output format %q: want text or json, or csv of usage", *format)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := store.Open(ctx, "doctor", e.DatabaseURL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close(ctx) }()
	h := &handler{db: db, processFile: e.ProcessFile, without: e.Without, out: out, json: *format == "json"}
	switch {
	case command == "check" && flags.NArg() == 0:
		h.cluster, h.noCluster = kube.Open(e.Kubeconfig)
		return h.check(ctx)
	case command == "dead-letters" && flags.NArg() == 0:
		return h.deadLetters(ctx)
	case command == "replay" && flags.NArg() == 1:
		return h.replay(ctx, flags.Arg(0))
	case command == "link-code" && flags.NArg() == 1:
		return h.linkCode(ctx, flags.Arg(0))
	case command == "labels" && flags.NArg() == 1:
		return h.labels(ctx, flags.Arg(0))
	case command == "explain" && flags.NArg() == 1:
		return h.explain(ctx, flags.Arg(0), *before)
	case command == "simulate" && flags.NArg() == 2:
		return h.simulate(ctx, flags.Arg(0), flags.Arg(1))
	case command == "backtest" && flags.NArg() == 1:
		return h.backtest(ctx, flags.Arg(0), *since)
	case command == "usage" && flags.NArg() == 0:
		return h.usage(ctx, *by, *since, *format)
	}
	return fmt.Errorf("no command %q with %d arguments: want nothing, dead-letters, replay 'function=…&source=…&id=…', link-code LOGIN, labels OWNER/NAME, "+
		"explain owner/repo#12, simulate owner/repo#12 'label run:dev by bob', backtest PROCESS, or usage", command, flags.NArg())
}

type handler struct {
	db          *store.DB
	processFile string
	cluster     *kube.Client
	noCluster   error // why there is no client
	without     []string
	out         io.Writer
	json        bool
}

// check makes the report.
func (h *handler) check(ctx context.Context) error {
	r := report{At: h.db.Now().Truncate(time.Second), Checks: append(h.checkCluster(ctx), h.checkDatabase(ctx)...)}
	r.Well = r.faults() == 0
	var err error
	if h.json {
		err = h.print(r)
	} else {
		_, err = io.WriteString(h.out, r.text())
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if !r.Well {
		return errUnwell
	}
	return nil
}

// show prints what programs or people are to read.
func (h *handler) show(forPrograms any, forPeople string) error {
	if h.json {
		return h.print(forPrograms)
	}
	if _, err := io.WriteString(h.out, forPeople); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

func (h *handler) print(v any) error {
	e := json.NewEncoder(h.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// listed bounds the list; with more entries there is another problem.
const listed = 1000

func (h *handler) deadLetters(ctx context.Context) error {
	letters, err := h.db.DeadLetters(ctx, listed)
	if err != nil {
		return err
	}
	if h.json {
		if letters == nil {
			letters = []store.DeadLetter{}
		}
		return h.print(letters)
	}
	if len(letters) == 0 {
		_, err = fmt.Fprintln(h.out, "No dead letters.")
		return err
	}
	for _, l := range letters {
		state := ""
		if l.ReplayedAt != nil {
			state = ", replayed " + l.ReplayedAt.UTC().Format(time.RFC3339)
		}
		query := url.Values{"function": {l.Function}, "source": {l.Source}, "id": {l.ID}}.Encode()
		if _, err := fmt.Fprintf(h.out, "%s  %s at %s, code %d%s\n    %s\n    make replay QUERY='%s'\n",
			l.DiedAt.UTC().Format(time.RFC3339), l.Type, l.Function, l.Code, state, oneLine(l.Error), query); err != nil {
			return fmt.Errorf("writing the list: %w", err)
		}
	}
	return nil
}

// replay makes the event outstanding again; the next function that is awake sends it.
func (h *handler) replay(ctx context.Context, query string) error {
	q, err := url.ParseQuery(query)
	if err != nil || q.Get("function") == "" || q.Get("source") == "" || q.Get("id") == "" {
		return fmt.Errorf("no dead letter is named by %q: want function=…&source=…&id=… as dead-letters prints it", query)
	}
	e, err := h.db.Replay(ctx, q.Get("function"), q.Get("source"), q.Get("id"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(h.out, "%s %s will be sent to %s again, in a minute or with the next tick.\n", e.Type(), e.ID(), q.Get("function"))
	return err
}

// linkCode prints a one-time code for a member, and what to do with it.
func (h *handler) linkCode(ctx context.Context, login string) error {
	code, err := h.db.LinkCode(ctx, login)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(h.out, "Give this code to @%s alone; it is good once, for %s. From their own account they send\n    to Telegram's bot, in private:  /start %s\n    in Slack:                       /codexk8s link %s\n",
		login, store.CodeFor, code, code)
	return err
}

// useProcess reads the installation's process, for what depends on it.
func (h *handler) useProcess() (*stage.Process, error) {
	process, err := variables.FromFile("PROCESS_FILE", h.processFile, stage.Default(), stage.Parse)
	if err == nil {
		h.db.UseProcess(process)
	}
	return process, err
}

// labels has github-caller make the labels of the repository's process, and put right those that look otherwise.
func (h *handler) labels(ctx context.Context, repository string) error {
	if _, err := h.useProcess(); err != nil {
		return err
	}
	r, err := h.db.Repository(ctx, 0, repository)
	switch {
	case err != nil:
		return err
	case !r.Bound:
		return fmt.Errorf("repository %s belongs to no project: name it in the projects file, then make deploy", repository)
	case r.Process.Fault != "":
		return fmt.Errorf("the process of %s can't be read: %s", r.Name, r.Process.Fault)
	}
	labels := r.Process.Catalogue()
	cause := store.Cause{Source: "doctor", ID: "labels-" + r.Key + "-" + h.db.Now().UTC().Format(time.RFC3339Nano)}
	if _, err := h.db.Emit(ctx, cause, "", func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{
			Emit:  []events.Draft{events.Now(events.GitHubLabelsRequested{Repository: r.Name, RepositoryID: r.ID, Labels: labels})},
			Audit: []events.Record{{Actor: "function:doctor", Action: "labels.requested", Detail: r.Name}},
		}, nil
	}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(h.out, "The %d labels of %s will be made and put right, in a minute or with the next tick.\n", len(labels), r.Name)
	return err
}
