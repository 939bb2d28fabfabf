// Command console is where owners and maintainers see what agents do and did: pages for people, and an API of the same
// operations for programs. Besides webhook-adapter and approval-callback it is what the internet may reach.
//
//	browser ──► who? (session → rights, read now) ──► operation ──► page
//	program ──► the same                              the same  ──► JSON
//
// An operation is one function. It asks package access whether the person may, in the project of what it is about, and
// reads or writes through package store. Pages and API call it and differ in nothing but their form. What is not one's
// own is not found; what one may see and not do is forbidden, with the role that may.
//
// A command (start, cancel, …) is an event that stage-router decides by the rules of labels. What would come of it is
// foreseen here by the same code: a dry run shows that, and a command that would do nothing is refused at once.
//
// People sign in by GitHub, and rights hang on its number of the account. There is no way in without a role: owners
// come from the projects file, members too. A session is a random value in a cookie and its hash in Postgres, without
// rights in it, so taking a role away takes effect with the next request.
//
// A page that is being looked at keeps itself current. One stream per visible tab says that something has changed, and
// the page fetches itself anew; only lines of logs come in the stream itself.
//
//	Postgres ──NOTIFY──► hub (one connection) ──► stream ──"changed"──► tab ──GET──► page
//
// The stream ends when the tab is hidden, when nobody has acted in it for a while, and at the end of a life of minutes;
// so a console that nobody looks at sleeps.
//
// Every page is whole without JavaScript. Nothing is loaded from elsewhere; the style sheet and the scripts are part of
// the program. A page may not be framed, and runs no script but ours.
//
//	api     the contract, openapi.yaml, and what is generated from it
//	graph   where the boxes and arrows of a process are
//	filter  how people say which runs they mean
//	page    templates, style, words in both languages
//	sgr     lines of logs as HTML
//
// No room imports another, but page shows what api defines, and sgr and graph draw.
package main

import (
	"context"

	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/variables"
)

const function = "console"

type env struct {
	DatabaseURL  string `envconfig:"DATABASE_URL" required:"true"`                    // Postgres, postgres://user:password@host/name
	ConsoleURL   string `envconfig:"CONSOLE_URL"`                                     // where people open it, https://host; empty = nobody can sign in
	GitHubAPI    string `envconfig:"GITHUB_API_URL" default:"https://api.github.com"` // as github-caller's
	ProcessFile  string `envconfig:"PROCESS_FILE"`                                    // as stage-router's
	ClientID     string `envconfig:"GITHUB_CLIENT_ID"`                                // of the GitHub App, by which people sign in; empty = nobody can
	ClientSecret string `envconfig:"GITHUB_CLIENT_SECRET"`                            // with it
}

func main() { serve.Main(function, run) }

func run(ctx context.Context, s *serve.Server, env env) error {
	gate, err := newGate(env.ConsoleURL, env.GitHubAPI, env.ClientID, env.ClientSecret)
	if err != nil {
		return err
	}
	process, err := variables.FromFile("PROCESS_FILE", env.ProcessFile, stage.Default(), stage.Parse)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, function, env.DatabaseURL)
	if err != nil {
		return err
	}
	s.OnStop(db.Close)
	db.UseProcess(process)
	h := &handler{db: db, gate: gate, send: s.Send, later: s.Go, hub: newHub(db.Listen), stopping: ctx.Done()}
	s.Handle("/", h.routes())
	s.SendDue(db.Due)
	return nil
}
