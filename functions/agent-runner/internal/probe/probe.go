// Package probe finds out whether a pod is isolated: whether it can reach what it must, and nothing that it must not.
package probe

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// Settle is how long a network plugin may take to apply the policies of a new pod. Most let the first packets
	// through, or none at all.
	Settle = 10 * time.Second
	// Patience is how long the gateways may take: both may start from zero.
	Patience = time.Minute
	// dialFor is how long a connection may take: the kernel repeats a lost first packet after a second.
	dialFor = 1500 * time.Millisecond
	// pause is between two tries.
	pause = 500 * time.Millisecond
)

// Isolation is what a pod must not reach, and what it must.
//
// Reached means that a connection was made. A refused connection does not count: a plugin may refuse connections
// instead of letting them time out. An ingress has one address for all Services behind it, so the functions, not the
// network, decide who may use them: they accept run tokens, and events that are in the platform's log.
type Isolation struct {
	Forbidden        []string // host:port
	Needed           []string // URLs
	Settle, Patience time.Duration
}

// Examine tries everything at once. reached is empty unless something forbidden can still be reached after the time to
// settle; missing names what is needed and does not answer, with the reason.
func (i Isolation) Examine(ctx context.Context) (reached, missing []string) {
	var wg sync.WaitGroup
	connected, answers := make([]bool, len(i.Forbidden)), make([]error, len(i.Needed))
	for n, address := range i.Forbidden {
		wg.Go(func() { connected[n] = staysOpen(ctx, address, i.Settle) })
	}
	for n, address := range i.Needed {
		wg.Go(func() { answers[n] = answered(ctx, address, i.Patience) })
	}
	wg.Wait()
	for n, yes := range connected {
		if yes {
			reached = append(reached, i.Forbidden[n])
		}
	}
	for n, err := range answers {
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s (%v)", i.Needed[n], err))
		}
	}
	return reached, missing
}

// staysOpen reports whether connections to the address succeed for that long.
func staysOpen(ctx context.Context, address string, long time.Duration) bool {
	d := net.Dialer{Timeout: dialFor}
	for start := time.Now(); time.Since(start) < long; {
		c, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return ctx.Err() != nil // a probe that is ended has shown nothing
		}
		_ = c.Close()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return true
}

// answered waits until the URL's host gives a sensible answer to a health check.
func answered(ctx context.Context, address string, long time.Duration) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("reading its URL: %w", err)
	}
	u.Path, u.RawQuery = "/healthz", ""
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: dialFor}).DialContext}}
	var said error // this says more than "the time is up"
	_, err = backoff.Retry(ctx, func() (bool, error) {
		said = ask(ctx, client, u.String())
		return true, said
	}, backoff.WithBackOff(backoff.NewConstantBackOff(pause)), backoff.WithMaxElapsedTime(long))
	if err != nil && said != nil {
		return said
	}
	return err
}

func ask(ctx context.Context, client *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return backoff.Permanent(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError { // from an ingress with nothing behind it
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}
