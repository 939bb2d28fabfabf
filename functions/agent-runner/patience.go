package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// patientTransport tries a request again while the server is busy or away, as long as Retry-After asks. go-openai does
// not retry, and its errors do not carry headers.
type patientTransport struct {
	next     http.RoundTripper
	retryFor time.Duration
}

func (p *patientTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	var last *http.Response
	res, err := backoff.Retry(req.Context(), func() (*http.Response, error) {
		if last != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(last.Body, 64<<10))
			_ = last.Body.Close()
			last = nil
		}
		again := req.Clone(req.Context())
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, backoff.Permanent(fmt.Errorf("repeat the request: %w", err))
			}
			again.Body = body
		}
		res, err := p.next.RoundTrip(again)
		if err != nil {
			return nil, err
		}
		if res.StatusCode != http.StatusTooManyRequests && res.StatusCode < 500 {
			return res, nil
		}
		last = res
		busy := fmt.Errorf("%s: %s", req.URL, res.Status)
		if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
			return nil, fmt.Errorf("%w: %w", busy, backoff.RetryAfter(seconds))
		}
		return nil, busy
	}, backoff.WithMaxElapsedTime(p.retryFor))
	if last == nil {
		return res, err
	}
	return last, nil // the caller learns what the server said last
}
