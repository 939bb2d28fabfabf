// Command webhook-adapter receives GitHub's deliveries (POST /github) and CloudEvents of other systems (POST /events),
// and acknowledges them only once they are in Postgres.
//
//	request → genuine? → readable? → queue → one commit for all that wait → answer
//	                                                         └→ Broker, in the background
//
// Once a request is answered 202 its event is in the log for good. It is sent to the Broker in the background. If that
// fails, or this process dies right after the commit, its rows in pending stay and timekeeper sends it. So webhooks are
// accepted while the Broker is down, which matters because GitHub does not try again.
//
// A commit costs the same for one delivery as for a hundred, nearly all of it waiting for the disk. So one goroutine
// commits all that has gathered while it was busy, and in a burst waits some milliseconds for the next requests of
// those that it has just answered: a single delivery waits for nobody, a burst shares the cost.
//
// Everything genuine is stored. What no function consumes (a ping, a star) is stored as ignored.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/webhook"
)

type env struct {
	DatabaseURL    string `envconfig:"DATABASE_URL" required:"true"`           // Postgres, postgres://user:password@host/name
	WebhookSecrets string `envconfig:"GITHUB_WEBHOOK_SECRETS" required:"true"` // secrets of the hooks, each on a line of its own or separated by commas: two while one is being changed
	SourcesFile    string `envconfig:"EVENT_SOURCES_FILE"`                     // YAML of the other systems that may send CloudEvents; empty = none may
	Senders        int    `envconfig:"SENDERS" default:"8"`                    // how many events are under way to the Broker at once
}

func main() { serve.Main("webhook-adapter", run) }

// init lets the heap, a few megabytes here, grow fivefold between collections, which saves a third of the CPU time of
// an acknowledgement. The soft limit undoes that when large payloads fill it. Go's own variables take precedence.
func init() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(128 << 20)
	}
}

func run(ctx context.Context, s *serve.Server, env env) error {
	secrets, err := webhook.ParseSecrets(env.WebhookSecrets)
	if err != nil {
		return err
	}
	sources, err := loadSources(env.SourcesFile)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, "webhook-adapter", env.DatabaseURL)
	if err != nil {
		return err
	}
	sender := newSender(s.Send, env.Senders)
	commits := newCommitter(db.Receive, sender.offer)
	s.OnStop(db.Close) // closed last
	s.OnStop(sender.stop)
	s.OnStop(commits.stop)
	newHandler(secrets, sources, commits).routes(s)
	return nil
}
