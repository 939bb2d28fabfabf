package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/llm"
	"codexk8s.dev/shared/price"
	"codexk8s.dev/shared/runauth"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/variables"
)

// patience is how long a model may think before its answer begins: just below the ten minutes that Knative allows a
// request.
const patience = 9*time.Minute + 30*time.Second

// handler answers pods (gateway) and events.
type handler struct {
	db      *store.DB
	gate    *runauth.Gate
	apiKey  string   // OpenAI's
	base    *url.URL // OpenAI's, without a slash at its end
	client  *http.Client
	prices  *price.List
	room    *room
	outages outages
	slow    time.Duration                               // how long a request may lag behind minSpeed
	send    func(context.Context, ...event.Event) error // to the Broker
}

// newHandler checks the settings.
func newHandler(env env, db *store.DB) (*handler, error) {
	gate, err := runauth.NewGate(env.RunTokenKey, db)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(strings.TrimRight(env.BaseURL, "/"))
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("OPENAI_BASE_URL %q is not a URL like https://api.openai.com/v1", env.BaseURL)
	}
	prices, err := price.Default()
	if err == nil {
		prices, err = variables.FromFile("PRICES_FILE", env.PricesFile, prices, price.Parse)
	}
	if err != nil {
		return nil, err
	}
	if env.APIKey == "" {
		slog.Warn("OPENAI_API_KEY is not set: model calls are answered 503 until the secret codexk8s-openai has a key")
	}
	return &handler{
		db: db, gate: gate, apiKey: env.APIKey, base: base, prices: prices,
		client: &http.Client{
			Transport: llm.NewTransport(patience),
			// A redirect is OpenAI's answer like any other; the key must not follow it.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		room: newRoom(maxBodies),
		slow: slowStart,
	}, nil
}

func (h *handler) routes(s *serve.Server) {
	h.send = s.Send
	s.Handle("POST /v1/responses", h.gateway(llm.Responses))
	s.Handle("POST /v1/chat/completions", h.gateway(llm.Chat))
	s.Handle("GET /v1/models", http.HandlerFunc(h.models))
	s.Handle("/v1/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, refusal{status: http.StatusNotFound, code: "unknown_url",
			message: r.Method + " " + r.URL.Path + " is not offered here: use POST /v1/responses, POST /v1/chat/completions or GET /v1/models"})
	}))
	serve.On(s, h.requested)
}

// gateway answers one endpoint for pods.
func (h *handler) gateway(endpoint llm.Endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		run, err := h.caller(r)
		if err != nil {
			refuse(w, r, err)
			return
		}
		leave, err := h.room.enter(run.ID)
		if err != nil {
			refuse(w, r, err)
			return
		}
		defer leave()
		c := &call{h: h, run: run, endpoint: endpoint, body: body{room: h.room, run: run.ID}}
		defer c.body.drop()
		if err = c.body.read(w, r, h.slow); err == nil {
			err = c.check()
		}
		if err == nil {
			err = c.paused(r.Context())
		}
		if err == nil {
			err = c.begin(r.Context())
		}
		if err == nil {
			err = c.seal()
		}
		if err != nil {
			refuse(w, r, err)
			return
		}
		c.forward(w, r)
	})
}

// models lists what the run may use, in OpenAI's form.
func (h *handler) models(w http.ResponseWriter, r *http.Request) {
	run, err := h.caller(r)
	if err != nil {
		refuse(w, r, err)
		return
	}
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		OwnedBy string `json:"owned_by"`
	}
	list := []model{}
	for _, id := range allowed(run) {
		list = append(list, model{ID: id, Object: "model", OwnedBy: "openai"})
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": list})
}

// allowed are the models that a run may use: the one that it was admitted with.
func allowed(run store.AgentRun) []string { return []string{run.Model} }

// refusals say in OpenAI's terms why a run may not call models.
var refusals = map[runauth.Kind]refusal{
	runauth.BadToken:   {status: http.StatusUnauthorized, code: "invalid_api_key"},
	runauth.RunMissing: {status: http.StatusServiceUnavailable, code: "run_not_found"},
	runauth.RunEarly:   {status: http.StatusServiceUnavailable, code: "run_not_begun"},
	runauth.RunOver:    {status: http.StatusForbidden, code: "run_not_active"},
}

// caller finds the run whose pod asks, if it is at work.
func (h *handler) caller(r *http.Request) (store.AgentRun, error) {
	run, err := h.gate.Caller(r.Context(), r.Header.Get("Authorization"))
	if err == nil {
		err = runauth.AtWork(run)
	}
	if err != nil && run.State == string(stage.Waiting) {
		return store.AgentRun{}, refusal{status: http.StatusForbidden, code: "run_not_active", waits: run.ID, message: err.Error()}
	}
	if known := new(runauth.Refusal); errors.As(err, &known) {
		answer := refusals[known.Kind]
		answer.message = known.Message
		return store.AgentRun{}, answer
	}
	return run, err
}

// check decides whether the call is allowed, and turns the body into what is sent.
func (c *call) check() error {
	if c.h.apiKey == "" {
		return refusal{status: http.StatusServiceUnavailable, code: "no_upstream_key",
			message: "the platform has no OpenAI key: an administrator has to set OPENAI_API_KEY of llm-caller"}
	}
	asked, err := llm.Inspect(c.endpoint, c.body.data)
	if err != nil {
		return refusal{status: http.StatusBadRequest, code: "invalid_request", message: err.Error()}
	}
	if models := allowed(c.run); !slices.Contains(models, asked.Model) {
		return refusal{status: http.StatusForbidden, code: "model_not_allowed", param: "model",
			message: fmt.Sprintf("this run may not use the model %q; allowed: %s", asked.Model, strings.Join(models, ", "))}
	}
	if _, priced := c.h.prices.Cost(asked.Model, "", price.Usage{}); priced {
		if _, priced := c.h.prices.Cost(asked.Model, asked.Tier, price.Usage{}); !priced {
			return refusal{status: http.StatusForbidden, code: "tier_not_allowed", param: "service_tier",
				message: fmt.Sprintf("the service tier %.60q has no price in the price list, so what it costs could not be recorded", asked.Tier)}
		}
	}
	for _, tool := range asked.Hosted {
		if err := c.mayUse(tool); err != nil {
			return err
		}
	}
	c.asked = asked
	return nil
}

// mayUse says whether OpenAI may run the tool for the run: if its project allows it by name and we know its cost. Such
// a tool has OpenAI's network, whatever network the pod has.
func (c *call) mayUse(tool string) error {
	if !slices.Contains(c.run.HostedTools, tool) {
		return refusal{status: http.StatusForbidden, code: "tool_not_allowed", param: "tools",
			message: fmt.Sprintf("the tool %.60q runs at OpenAI, outside of the run's network: the project has to allow it in its settings, as hostedTools: [%.60s]", tool, tool)}
	}
	if _, known := c.h.prices.Fee(tool, 0); !known {
		return refusal{status: http.StatusForbidden, code: "tool_not_allowed", param: "tools",
			message: fmt.Sprintf("the tool %.60q has no fee in the price list, so what it costs could not be recorded", tool)}
	}
	return nil
}

// forward makes the call and passes the answer on.
func (c *call) forward(w http.ResponseWriter, r *http.Request) {
	res, err := c.send(r)
	if err != nil {
		status := http.StatusBadGateway
		if r.Context().Err() != nil {
			status = statusClientGone
		}
		c.end(r.Context(), status, llm.Result{}, c.sent.Load())
		err = fmt.Errorf("calling OpenAI: %w", err)
		if r.Context().Err() == nil {
			was := c.standIn
			if err = cmp.Or(c.limited(r.Context(), nil), err); c.standIn != was {
				c.repeat(w, r)
				return
			}
		}
		refuse(w, r, err)
		return
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusUnauthorized {
		c.end(r.Context(), http.StatusUnauthorized, llm.Result{}, false)
		slog.ErrorContext(r.Context(), "OpenAI refuses the platform's key: check OPENAI_API_KEY", "run", c.run.ID)
		refuse(w, r, refusal{status: http.StatusBadGateway, code: "upstream_key_refused",
			message: "OpenAI refuses the platform's key (401): an administrator has to check OPENAI_API_KEY of llm-caller"})
		return
	}
	was := c.standIn
	err = c.limited(r.Context(), res)
	if err != nil || c.standIn != was {
		c.end(r.Context(), res.StatusCode, llm.Result{}, false)
	}
	switch {
	case err != nil:
		refuse(w, r, err)
		return
	case c.standIn != was:
		c.repeat(w, r)
		return
	}
	c.body.drop() // OpenAI has it
	answer := open(res, c.h.db.Now())
	passHeaders(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	meter := llm.NewMeter(res.Header.Get("Content-Type"))
	err = llm.Pass(w, answer, meter, c.enough(meter))
	result := meter.Result()
	if result == (llm.Result{}) && res.StatusCode < http.StatusBadRequest { // nothing that a meter can read: use an estimate
		result.Shown = answer.passed
	}
	status, broken := res.StatusCode, false
	switch {
	case err == nil, result.Reported, status >= http.StatusBadRequest: // all that matters has passed
	case errors.Is(err, llm.ErrEnough):
		status, broken = http.StatusPaymentRequired, true
	case errors.Is(err, llm.ErrClientGone), r.Context().Err() != nil:
		status, broken = statusClientGone, true
	default:
		status, broken = http.StatusBadGateway, true
	}
	c.end(r.Context(), status, result, broken)
	if err != nil && status != statusClientGone {
		// The pod must see that the answer is broken off, and not take a part for the whole.
		panic(http.ErrAbortHandler)
	}
}

// repeat makes the call of the model that stands in, as a call of its own.
func (c *call) repeat(w http.ResponseWriter, r *http.Request) {
	c.sent.Store(false)
	asked, err := llm.Inspect(c.endpoint, c.body.data) // which was sealed
	if err == nil {
		c.asked, c.asked.Model = asked, c.standIn
		err = c.begin(r.Context())
	}
	if err == nil {
		err = c.seal()
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	c.forward(w, r)
}

// send makes the request to OpenAI, once, with those headers of the pod that OpenAI may see. It ends when the pod
// leaves, so that nothing is generated that nobody reads.
func (c *call) send(r *http.Request) (*http.Response, error) {
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{WroteHeaders: func() { c.sent.Store(true) }})
	// A bytes.Reader can be sent again when an idle connection turns out to be closed before anything was written.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.h.base.String()+"/"+string(c.endpoint), bytes.NewReader(c.body.data))
	if err != nil {
		return nil, err
	}
	for name, values := range r.Header {
		if sentOn(name) {
			req.Header[name] = values
		}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("Authorization", "Bearer "+c.h.apiKey)
	return c.h.client.Do(req)
}
