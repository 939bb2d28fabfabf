package serving

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"codexk8s.dev/test/local/child"
)

// instance is one started program. inFlight and draining are guarded by the Service's lock.
type instance struct {
	process *child.Process
	address string
	ready   chan struct{} // closed when it may get requests
	failed  chan struct{} // closed when it has ended, ready before or not
	err     error         // why; set before failed is closed

	inFlight int
	draining chan struct{} // to be closed when inFlight falls to 0; nil while nobody waits for that
}

// start starts the program. The caller holds the lock.
func (s *Service) start() (*instance, error) {
	port, err := child.FreePort()
	if err != nil {
		return nil, fmt.Errorf("starting service %s: %w", s.options.Name, err)
	}
	cmd, err := s.options.Command()
	if err != nil {
		return nil, fmt.Errorf("starting service %s: %w", s.options.Name, err)
	}
	cmd.Env = append(cmd.Env, fmt.Sprintf("PORT=%d", port))
	if s.options.Log != nil {
		cmd.Stdout, cmd.Stderr = s.options.Log, s.options.Log
	}
	process, err := child.Start(cmd, s.options.Guard, syscall.SIGKILL)
	if err != nil {
		return nil, fmt.Errorf("starting service %s: %w", s.options.Name, err)
	}
	s.starts++
	i := &instance{
		process: process,
		address: fmt.Sprintf("127.0.0.1:%d", port),
		ready:   make(chan struct{}),
		failed:  make(chan struct{}),
	}
	go i.watch(s.options)
	return i, nil
}

// watch waits for readiness and then for the end.
func (i *instance) watch(o Options) {
	ctx, cancel := context.WithTimeout(context.Background(), o.ReadyWithin)
	defer cancel()
	for !i.answers(ctx, o.ReadyPath) {
		select {
		case <-i.process.Done():
			i.fail(fmt.Errorf("service %s ended before it was ready, with code %d", o.Name, i.process.ExitCode()))
			return
		case <-ctx.Done():
			i.process.Stop(syscall.SIGTERM, o.Grace)
			i.fail(fmt.Errorf("service %s was not ready within %s", o.Name, o.ReadyWithin))
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
	close(i.ready)
	<-i.process.Done()
	i.fail(fmt.Errorf("service %s ended with code %d", o.Name, i.process.ExitCode()))
}

func (i *instance) fail(err error) {
	i.err = err
	close(i.failed)
}

// answers probes once.
func (i *instance) answers(ctx context.Context, path string) bool {
	if path == "" {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", i.address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.address+path, nil)
	if err != nil {
		return false
	}
	req.Header.Set("User-Agent", "kube-probe/1.35") // what a Drainer and access logs know a probe by
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode >= 200 && resp.StatusCode < 300
}

// ended reports whether the process is gone, at once rather than when watch has noticed.
func (i *instance) ended() bool {
	select {
	case <-i.process.Done():
		return true
	default:
		return false
	}
}

func (i *instance) kill() { i.process.Stop(syscall.SIGKILL, time.Second) }

func (i *instance) stop(grace time.Duration) { i.process.Stop(syscall.SIGTERM, grace) }
