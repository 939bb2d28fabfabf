package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"codexk8s.dev/shared/approval/contract"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/webhook"
)

// adapterName is what codex-k8s calls the adapter, in the addresses that it gives out.
const adapterName = "conform"

// A platform is codex-k8s as an adapter sees it. All that is sent goes through RoundTrip, all that comes back through
// ServeHTTP.
type platform struct {
	channel *chat.HTTP
	secret  []byte // none = nobody signs
	server  *http.Server
	schemas map[string]*jsonschema.Schema // by the name that the contract gives them
	// retryAfter is how long an adapter is asked to wait before it repeats a callback.
	retryAfter time.Duration

	// alter changes a request on its way; nil = it is sent as it is.
	alter func(h http.Header, body []byte) []byte
	asked *attempt // the last one

	mu       sync.Mutex
	attempts map[string]*attempt // by the path of their callback
	strays   []string
}

// An attempt is one request, and what came of it.
type attempt struct {
	id, title string
	header    http.Header // as it was sent, and body
	body      []byte
	status    int // of the answer, 0 = none came, and said, its body
	said      []byte
	options   []string // of a question
	atOnce    bool     // it was decided by the answer

	clicked <-chan struct{} // closed when the last click is over; nil = there was none
	calls   chan call
	answers []int           // to callbacks, in their order, the last one for all that follow; none = 200, and 0 hangs up
	hold    <-chan struct{} // callbacks are answered when it is closed; nil = at once
	n       int             // how many callbacks came
}

// A call is one callback.
type call struct {
	at    time.Time
	means chat.Callback
	fault error // why codex-k8s does not believe or understand it
}

// listen opens the address of callbacks.
func listen(env env) (*platform, error) {
	l, err := net.Listen("tcp", env.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for callbacks (LISTEN): %w", err)
	}
	p := &platform{attempts: map[string]*attempt{}, schemas: map[string]*jsonschema.Schema{}, retryAfter: time.Second}
	base := env.CallbackURL
	if base == "" {
		base = "http://" + l.Addr().String()
	}
	adapter := chat.Approver{URL: env.URL}
	if env.Secret != "" {
		p.secret = []byte(env.Secret)
		adapter.Secrets = webhook.Secrets{p.secret}
	}
	client := chat.NewClient()
	client.Transport = p
	p.channel = &chat.HTTP{
		Approvers: map[string]chat.Approver{adapterName: adapter}, Callback: base, Keys: webhook.Secrets{[]byte(l.Addr().String())}, Client: client, Now: time.Now,
	}
	if err := p.compile("ApproverAnswer", "ExecutorAnswer", "ApproverCallback", "ExecutorCallback"); err != nil {
		return nil, err
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(l) }() // until Close
	return p, nil
}

// Close stops listening.
func (p *platform) Close() { _ = p.server.Close() }

// compile reads schemas of the contract.
func (p *platform) compile(names ...string) error {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(contract.JSON()))
	if err != nil {
		return fmt.Errorf("reading the contract: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("contract.json", document); err != nil {
		return fmt.Errorf("reading the contract: %w", err)
	}
	for _, name := range names {
		if p.schemas[name], err = c.Compile("contract.json#/components/schemas/" + name); err != nil {
			return fmt.Errorf("reading the contract: %w", err)
		}
	}
	return nil
}

// fits holds a body against a schema of the contract.
func (p *platform) fits(schema string, body []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	if err := p.schemas[schema].Validate(v); err != nil {
		_, why, _ := strings.Cut(err.Error(), "\n") // the first line names a file
		return fmt.Errorf("no %s: %s", schema, strings.Join(strings.Fields(why), " "))
	}
	return nil
}

// RoundTrip sends a request of codex-k8s, changed if it is to be.
func (p *platform) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a, err := p.expect(body)
	if err != nil {
		return nil, err
	}
	p.asked = a
	sent := r.Clone(r.Context())
	if p.alter != nil {
		body = p.alter(sent.Header, body)
	}
	a.header, a.body = sent.Header.Clone(), body
	sent.Body, sent.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res, err := http.DefaultTransport.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	a.status = res.StatusCode
	if a.said, err = io.ReadAll(io.LimitReader(res.Body, 1<<20)); err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(a.said))
	return res, nil
}

// expect takes callbacks of a request from now on.
func (p *platform) expect(body []byte) (*attempt, error) {
	var request struct {
		ID       string `json:"correlation_id"`
		Callback struct {
			URL string `json:"url"`
		} `json:"callback"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, fmt.Errorf("reading what is sent: %w", err)
	}
	back, err := url.Parse(request.Callback.URL)
	if err != nil {
		return nil, fmt.Errorf("reading what is sent: %w", err)
	}
	a := &attempt{id: request.ID, calls: make(chan call, 100)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempts[back.Path] = a
	return a, nil
}

// sign puts a signature on a body.
func sign(h http.Header, body, secret []byte, at time.Time) {
	if len(secret) == 0 {
		return
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	h[chat.HeaderTimestamp], h[chat.HeaderSignature] = []string{stamp}, []string{webhook.Sign(secret, []byte(stamp+"."+string(body)))}
}

// ServeHTTP takes a callback.
func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	a := p.attempts[r.URL.Path]
	status := http.StatusOK
	if a == nil {
		p.strays = append(p.strays, r.Method+" "+r.URL.Path)
	} else if len(a.answers) > 0 {
		status = a.answers[min(a.n, len(a.answers)-1)]
		a.n++
	}
	p.mu.Unlock()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, chat.MaxCallback))
	if a == nil || err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	c := p.read(r, body)
	a.calls <- c
	if a.hold != nil {
		select {
		case <-a.hold:
		case <-r.Context().Done():
		}
	}
	said := answers[status]
	var unfit *chat.Unfit
	switch {
	case errors.As(c.fault, &unfit):
		status, said = unfit.Status, chat.CallbackRefused(unfit.Status, unfit.Reason, unfit.Said).Body
	case status == 0:
		panic(http.ErrAbortHandler)
	case status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(int(p.retryAfter.Seconds())))
	}
	w.WriteHeader(status)
	_, _ = w.Write(said)
}

// answers are what codex-k8s says with a status.
var answers = map[int][]byte{
	http.StatusOK:       []byte(`{"status":"resolved"}`),
	http.StatusNotFound: []byte(`{"status":"finished","error":"Too late: it was answered elsewhere."}`),
}

// read is what codex-k8s makes of a callback.
func (p *platform) read(r *http.Request, body []byte) call {
	c := call{at: time.Now()}
	if r.Method != http.MethodPost {
		c.fault = fmt.Errorf("it calls back with %s, want POST", r.Method)
		return c
	}
	schema := "ApproverCallback"
	if strings.HasPrefix(r.URL.Path, "/executors/") {
		schema = "ExecutorCallback"
	}
	if c.means, c.fault = p.channel.Read(r, body, c.at); c.fault == nil {
		c.fault = p.fits(schema, body)
	}
	if c.fault != nil {
		c.fault = fmt.Errorf("%w; it called back %.300s", c.fault, body)
	}
	return c
}
