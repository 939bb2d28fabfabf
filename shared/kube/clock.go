package kube

import (
	"net/http"
	"sync"
	"time"
)

// clock is the API server's, by its last answer. Clocks of nodes differ, so a pod's age has to be measured by the clock
// that stamped it.
type clock struct {
	mu    sync.Mutex
	date  time.Time // zero: nothing was heard yet
	heard time.Time
}

// Now is the time by the API server's clock, to about a second; before its first answer, by our own.
func (c *Client) Now() time.Time {
	c.clock.mu.Lock()
	defer c.clock.mu.Unlock()
	if c.clock.date.IsZero() {
		return time.Now()
	}
	return c.clock.date.Add(time.Since(c.clock.heard))
}

// listening passes requests on and remembers the answers' Date.
// https://www.rfc-editor.org/rfc/rfc9110#field.date
func (c *clock) listening(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil {
			return resp, err
		}
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			c.mu.Lock()
			c.date, c.heard = date, time.Now()
			c.mu.Unlock()
		}
		return resp, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
