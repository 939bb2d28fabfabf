package fakegithub

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// patience is how long GitHub waits for an answer to a webhook.
const patience = 10 * time.Second

// job is a webhook on its way: where to, and what will be recorded.
type job struct {
	hook        *hook // only to note the outcome, under the mutex
	secret      string
	contentType string
	target      string // X-GitHub-Hook-Installation-Target-Type
	targetID    int64
	d           Delivery
}

// dispatcher sends webhooks: per hook in order, by one goroutine that lives as long as there is something to send.
type dispatcher struct {
	s      *Server
	client *http.Client
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	queues  map[int64][]job // by hook; the key is there while its goroutine runs
	pending int
	idle    chan struct{} // closed when pending falls to 0
	senders sync.WaitGroup
}

func newDispatcher(s *Server, dial func(ctx context.Context, network, address string) (net.Conn, error)) *dispatcher {
	if dial == nil {
		dial = (&net.Dialer{Timeout: patience}).DialContext
	}
	d := &dispatcher{s: s, queues: map[int64][]job{}, idle: make(chan struct{})}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.client = &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, DialContext: dial},
		Timeout:   patience,
		// GitHub does not follow redirects either.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return d
}

// add queues a webhook; it never waits.
func (d *dispatcher) add(j job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending == 0 {
		d.idle = make(chan struct{})
	}
	d.pending++
	queue, running := d.queues[j.d.Hook]
	d.queues[j.d.Hook] = append(queue, j)
	if !running {
		d.senders.Add(1)
		go d.run(j.d.Hook)
	}
}

func (d *dispatcher) run(hook int64) {
	defer d.senders.Done()
	for {
		d.mu.Lock()
		queue := d.queues[hook]
		if len(queue) == 0 {
			delete(d.queues, hook)
			d.mu.Unlock()
			return
		}
		d.queues[hook] = queue[1:]
		d.mu.Unlock()
		d.attempt(queue[0])
		d.mu.Lock()
		if d.pending--; d.pending == 0 {
			close(d.idle)
		}
		d.mu.Unlock()
	}
}

func (d *dispatcher) flush(ctx context.Context) error {
	for {
		d.mu.Lock()
		pending, idle := d.pending, d.idle
		d.mu.Unlock()
		if pending == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("%d not sent yet: %w", pending, ctx.Err())
		}
	}
}

// close gives up what is being sent and queued; each is recorded as failed, so a receiver that reads the list
// of deliveries later learns of it.
func (d *dispatcher) close() {
	d.cancel()
	d.senders.Wait()
	d.client.CloseIdleConnections()
}

// attempt sends once and records how it went.
func (d *dispatcher) attempt(j job) {
	start := time.Now()
	j.d.DeliveredAt = d.s.stamp()
	body, headers := encode(j)
	j.d.RequestHeaders = headers
	d.post(&j, body)
	j.d.Duration = float64(time.Since(start).Milliseconds()) / 1000
	if err := d.s.attempts.append(j.d); err != nil {
		d.s.log.Error("fake github: recording a delivery failed", "error", err)
	}
	if !j.d.OK() {
		d.s.log.Info("fake github: webhook not taken", "event", j.d.Event, "delivery", j.d.GUID, "status", j.d.Status)
	}
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	j.hook.LastCode, j.hook.LastStatus = j.d.StatusCode, j.d.Status
}

func (d *dispatcher) post(j *job, body []byte) {
	req, err := http.NewRequestWithContext(d.ctx, http.MethodPost, j.d.URL, bytes.NewReader(body))
	if err != nil {
		j.d.Status, j.d.StatusCode = "failed to connect to host", http.StatusBadGateway
		return
	}
	for k, v := range j.d.RequestHeaders {
		req.Header.Set(k, v)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		j.d.Status, j.d.StatusCode = "failed to connect to host", http.StatusBadGateway
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			j.d.Status, j.d.StatusCode = "timed out", http.StatusGatewayTimeout
		}
		return
	}
	defer func() { _ = resp.Body.Close() }()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what came before an error is what there is
	j.d.ResponseBody, j.d.StatusCode, j.d.Status = string(answer), resp.StatusCode, "OK"
	j.d.ResponseHeaders = map[string]string{}
	for k, v := range resp.Header {
		j.d.ResponseHeaders[k] = strings.Join(v, ", ")
	}
	if !j.d.OK() {
		j.d.Status = "Invalid HTTP Response: " + strconv.Itoa(resp.StatusCode)
	}
}

// encode writes the body in the hook's content type, and the headers of
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers.
func encode(j job) ([]byte, map[string]string) {
	body, kind := []byte(j.d.Payload), "application/json"
	if j.contentType == "form" {
		body, kind = []byte(url.Values{"payload": {string(j.d.Payload)}}.Encode()), "application/x-www-form-urlencoded"
	}
	h := map[string]string{
		"Accept": "*/*", "Content-Type": kind, "User-Agent": "GitHub-Hookshot/fa4e000", "X-GitHub-Event": j.d.Event,
		"X-GitHub-Delivery": j.d.GUID, "X-GitHub-Hook-ID": strconv.FormatInt(j.d.Hook, 10),
		"X-GitHub-Hook-Installation-Target-Type": j.target, "X-GitHub-Hook-Installation-Target-ID": strconv.FormatInt(j.targetID, 10),
	}
	if j.secret != "" {
		h["X-Hub-Signature"] = "sha1=" + sign(sha1.New, j.secret, body)
		h["X-Hub-Signature-256"] = "sha256=" + sign(sha256.New, j.secret, body)
	}
	return body, h
}

func sign(algorithm func() hash.Hash, secret string, body []byte) string {
	m := hmac.New(algorithm, []byte(secret))
	m.Write(body)
	return fmt.Sprintf("%x", m.Sum(nil))
}
