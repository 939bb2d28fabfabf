package local

import (
	"fmt"

	"codexk8s.dev/test/local/manifest"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// revision is what a Service's program is started from: its manifest, and the release that this is of.
type revision struct {
	service *servingv1.Service
	set     *manifest.Set
}

func (p *Platform) revision(host string) revision {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.revisions[host]
}

// release is that of Options.Next, or the one that the platform was started with.
func (p *Platform) release(next bool) (*manifest.Set, error) {
	if !next {
		return p.set, nil
	}
	if p.next == nil {
		return nil, fmt.Errorf("the platform was started without another release")
	}
	return p.next, nil
}

// Apply brings roles, ConfigMaps and accounts to those of the release: what of `kubectl apply` comes before the
// Services.
func (p *Platform) Apply(next bool) error {
	set, err := p.release(next)
	if err != nil {
		return err
	}
	return p.fill(p.Kube.Store, set)
}

// Roll replaces a Service's program by that of the release, as a rollout does: the running one finishes what it has in
// hand, the next request starts the other. Of the manifest the pod counts; concurrency, time-out and scale stay. A
// release that lacks the Service leaves it as it is.
func (p *Platform) Roll(service string, next bool) error {
	set, err := p.release(next)
	if err != nil {
		return err
	}
	for _, s := range set.Services {
		if s.Name == service {
			p.mu.Lock()
			p.revisions[hostOf(s)] = revision{s, set}
			p.mu.Unlock()
			return p.Restart(service)
		}
	}
	return nil
}

// Connect replaces every Broker's Triggers by those of the release, which come last.
func (p *Platform) Connect(next bool) error {
	set, err := p.release(next)
	if err != nil {
		return err
	}
	for _, b := range p.set.Brokers {
		var triggers []*eventingv1.Trigger
		for _, t := range set.Triggers {
			if t.Namespace == b.Namespace && t.Spec.Broker == b.Name {
				triggers = append(triggers, t)
			}
		}
		if err := p.brokers[b.Name+"."+b.Namespace].SetTriggers(triggers); err != nil {
			return fmt.Errorf("broker %s: %w", b.Name, err)
		}
	}
	return nil
}
