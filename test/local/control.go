package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"codexk8s.dev/test/local/broker"
	"codexk8s.dev/test/local/serving"
)

// Service returns a Service by its name.
func (p *Platform) Service(name string) (*serving.Service, error) {
	for _, s := range p.services {
		if s.Name() == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("there is no service %s among the manifests", name)
}

// Services are the names of all Services whose programs run now.
func (p *Platform) Services() (running []string) {
	for _, s := range p.services {
		if s.Running() {
			running = append(running, s.Name())
		}
	}
	return running
}

// URL is the address of a Service, empty when there is none of that name.
func (p *Platform) URL(service string) string {
	s, err := p.Service(service)
	if err != nil {
		return ""
	}
	return "http://" + s.Address()
}

// Restart replaces the program of a Service, as a rollout does.
func (p *Platform) Restart(service string) error {
	s, err := p.Service(service)
	if err != nil {
		return err
	}
	s.Restart()
	return nil
}

// Kill ends the program of a Service with SIGKILL, reporting whether one ran.
func (p *Platform) Kill(service string) (bool, error) {
	s, err := p.Service(service)
	if err != nil {
		return false, err
	}
	return s.Kill(), nil
}

// Broker is the platform's broker; the first, if there are several. It is nil without any.
func (p *Platform) Broker() *broker.Broker {
	for _, manifest := range p.set.Brokers {
		return p.brokers[manifest.Name+"."+manifest.Namespace]
	}
	return nil
}

// Tick makes every PingSource send one event now.
func (p *Platform) Tick(ctx context.Context) error {
	var failed []error
	for _, ping := range p.pings {
		failed = append(failed, ping.Tick(ctx))
	}
	return errors.Join(failed...)
}

// DatabaseURL is the connection string that the functions get.
func (p *Platform) DatabaseURL() string { return p.database }

// Kubeconfig is the file with which kubectl and client-go reach the API server.
func (p *Platform) Kubeconfig() string { return filepath.Join(p.dir, "kubeconfig") }

// Dir is the state directory.
func (p *Platform) Dir() string { return p.dir }
