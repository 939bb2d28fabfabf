// Command llm-caller is the only holder of the OpenAI key. It has two sides.
//
// For agent pods it is the part of the API that a run needs: POST /v1/responses, POST /v1/chat/completions, GET
// /v1/models, with the run token in place of the API key.
//
//	run token → genuine? → run active? → room? → model, tools, parameters? → written down → OpenAI → in pieces to the pod
//	                                                                              ↑ completed with what was used ↲
//
// Only what is known passes: parameters and types of tools that the gateway does not know are refused, and so is
// everything that refers to data outside the request. A tool that OpenAI runs itself has OpenAI's network; a project
// allows it by name (hostedTools), and its fee is counted.
//
// A call is written into llm_calls before it is made (status 0) and completed when it has ended, so that no call that
// cost money is unknown, whatever crashes meanwhile; if it can't be written it is not made. It is made once. Its usage
// is what OpenAI reports at the end of its answer. Without a report, because the answer was broken off (status 499: the
// pod left, 502: OpenAI left) or ends unusually, the row is an estimate and marked as such: one token for four bytes of
// what was sent and received. Leaving early is not free.
//
// OpenAI's answers pass unchanged, errors and waiting times included, with three exceptions: if OpenAI refuses the
// platform's own key, which says nothing about the pod's token, the answer is 502; a rate limit that names no wait gets
// a Retry-After; compressed answers are unpacked.
//
// Memory for requests is shared fairly between runs (room.go): a pod that sends much, or slowly, delays no other.
//
// A run with budgets (package budget) has each call hold what it may use at most, in the statement that writes it down.
// The answer is bounded by that, and cut off if the server does not obey. A call that does not fit is refused, people
// are asked, and the pod is told that its run waits (agentapi.WaitsHeader).
//
// For functions it answers the event llm.requested with llm.answered or llm.failed. The call is planned in actions
// before it is made, so that a redelivery meanwhile does not make it twice.
package main

import (
	"context"
	"log/slog"

	_ "golang.org/x/crypto/x509roots/fallback" // an image without CA certificates can still call OpenAI

	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

type env struct {
	DatabaseURL string `envconfig:"DATABASE_URL" required:"true"`                        // Postgres, postgres://user:password@host/name
	RunTokenKey string `envconfig:"RUN_TOKEN_KEY" required:"true"`                       // signs run tokens; the same in agent-launcher and agent-gateway
	APIKey      string `envconfig:"OPENAI_API_KEY"`                                      // OpenAI's key; without one every model call is answered 503
	BaseURL     string `envconfig:"OPENAI_BASE_URL" default:"https://api.openai.com/v1"` // OpenAI, or what speaks its API; ends in /v1
	PricesFile  string `envconfig:"PRICES_FILE"`                                         // a price list of the form of shared/price/prices.yaml; empty = that one
}

func main() { serve.Main("llm-caller", run) }

func run(ctx context.Context, s *serve.Server, env env) error {
	db, err := store.Open(ctx, "llm-caller", env.DatabaseURL)
	if err != nil {
		return err
	}
	s.OnStop(db.Close)
	h, err := newHandler(env, db)
	if err != nil {
		return err
	}
	if age := h.prices.Old(db.Now()); age != "" {
		slog.Warn(age)
	}
	metrics.PricesAge.Set(ctx, h.prices.Age(db.Now()).Seconds())
	h.routes(s)
	s.SendDue(db.Due)
	s.Postpone(db.Postpone)
	return nil
}
