package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"codexk8s.dev/shared/variables"
)

// probeCommand makes this program the Job's first container, see shared/agentpod.
const probeCommand = "probe"

const (
	// settle is how long a network plugin may take to apply the policies of a new pod. Most let the first packets
	// through, or none at all.
	settle = 10 * time.Second
	// patience is how long the gateways may take: both may start from zero.
	patience = time.Minute
	// dialFor is how long a connection may take: the kernel repeats a lost first packet after a second.
	dialFor = 1500 * time.Millisecond
	// pause is between two tries.
	pause = 500 * time.Millisecond
)

// probeEnv is what the probe's container gives, see shared/agentpod.
type probeEnv struct {
	Places
	Forbidden     []string `envconfig:"PROBE_FORBIDDEN" required:"true"` // host:port that must not be reached
	APIServerHost string   `envconfig:"KUBERNETES_SERVICE_HOST"`         // Kubernetes sets it in every container; must not be reached
	APIServerPort string   `envconfig:"KUBERNETES_SERVICE_PORT"`         // its port
}

// isolation is what a pod must not reach, and what it must.
//
// Reached means that a connection came about. Refused is not reached: a plugin may turn connections away rather than
// let them time out. An ingress has one address for all Services behind it, so which of them an agent may use is for the
// functions to say, not for the network: they let in who has a run token, and events that are in the platform's log.
type isolation struct {
	forbidden        []string // host:port
	needed           []string // URLs
	settle, patience time.Duration
}

// probe is the container's whole life. The last line that it writes becomes what a person reads.
func probe(ctx context.Context) int {
	var e probeEnv
	err := variables.Read(&e)
	if err == nil && len(e.Forbidden) == 0 {
		err = errors.New("PROBE_FORBIDDEN is empty")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the probe was not told what to try:", err)
		return exitNever
	}
	reached, missing := e.isolation().examine(ctx)
	switch {
	case len(reached) > 0:
		fmt.Fprintln(os.Stderr, "reachable from it:", strings.Join(reached, ", "))
		return exitNever
	case len(missing) > 0:
		fmt.Fprintln(os.Stderr, "no answer from", strings.Join(missing, ", nor from "))
		return exitAgain
	}
	return exitDone
}

func (e probeEnv) isolation() isolation {
	i := isolation{forbidden: append(e.Forbidden, "kubernetes.default.svc:443"), needed: []string{e.GatewayURL, e.LLMURL}, settle: settle, patience: patience}
	if e.APIServerHost != "" {
		i.forbidden = append(i.forbidden, net.JoinHostPort(e.APIServerHost, e.APIServerPort))
	}
	return i
}

// examine tries everything at once. reached is empty unless something forbidden can still be reached after the time to
// settle; missing names what is needed and does not answer, with why.
func (i isolation) examine(ctx context.Context) (reached, missing []string) {
	var wg sync.WaitGroup
	connected, answers := make([]bool, len(i.forbidden)), make([]error, len(i.needed))
	for n, address := range i.forbidden {
		wg.Go(func() { connected[n] = staysOpen(ctx, address, i.settle) })
	}
	for n, address := range i.needed {
		wg.Go(func() { answers[n] = answered(ctx, address, i.patience) })
	}
	wg.Wait()
	for n, yes := range connected {
		if yes {
			reached = append(reached, i.forbidden[n])
		}
	}
	for n, err := range answers {
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s (%v)", i.needed[n], err))
		}
	}
	return reached, missing
}

// staysOpen reports whether connections to the address come about for as long as that.
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

// answered waits until whoever listens at the URL's host says anything sensible to a question for its health.
func answered(ctx context.Context, address string, long time.Duration) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("read its URL: %w", err)
	}
	u.Path, u.RawQuery = "/healthz", ""
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: dialFor}).DialContext}}
	var said error // more telling than that the time is up
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
	if resp.StatusCode >= http.StatusInternalServerError { // of an ingress that has nobody behind it
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}
