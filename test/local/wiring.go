package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/test/local/broker"
	"codexk8s.dev/test/local/child"
	"codexk8s.dev/test/local/manifest"
	"codexk8s.dev/test/local/pod"
	"codexk8s.dev/test/local/serving"
	"codexk8s.dev/test/local/source"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/clientcmd"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// listen makes every Service listen. Their programs are started later, when all addresses are known.
func (p *Platform) listen() error {
	before, err := p.readPorts()
	if err != nil {
		return err
	}
	for _, manifest := range p.set.Services {
		if _, ok := p.services[hostOf(manifest)]; ok {
			return fmt.Errorf("there are two services %s", hostOf(manifest))
		}
		if err := p.listenFor(revision{manifest, p.set}, before); err != nil {
			return err
		}
	}
	if p.next != nil {
		for _, manifest := range p.next.Services {
			if _, ok := p.services[hostOf(manifest)]; ok {
				continue
			}
			if err := p.listenFor(revision{manifest, p.next}, before); err != nil {
				return err
			}
		}
	}
	for name := range p.options.Ports {
		if _, err := p.Service(name); err != nil && name != "broker" && name != "kubernetes" {
			return fmt.Errorf("a port is set for %s, which is no service", name)
		}
	}
	return p.writePorts()
}

// listenFor has a Service listen where it did before, if it may.
func (p *Platform) listenFor(r revision, before map[string]int) error {
	host := hostOf(r.service)
	o, err := p.serviceOptions(r.service)
	if err != nil {
		return fmt.Errorf("service %s: %w", r.service.Name, err)
	}
	fixed := o.Port
	if fixed == 0 {
		o.Port = before[host]
	}
	s, err := serving.Listen(o)
	if err != nil && o.Port != fixed {
		o.Port = 0 // somebody else listens there
		s, err = serving.Listen(o)
	}
	if err != nil {
		return err
	}
	p.services[host], p.revisions[host] = s, r
	p.cluster.Addresses[host] = s.Address()
	return nil
}

func hostOf(s *servingv1.Service) string { return s.Name + "." + s.Namespace }

// serviceOptions reads what of a Knative Service is played: the first container, its readiness probe,
// containerConcurrency, timeoutSeconds and the min-scale annotation.
func (p *Platform) serviceOptions(manifest *servingv1.Service) (serving.Options, error) {
	spec := &manifest.Spec.Template.Spec
	if len(spec.Containers) != 1 {
		return serving.Options{}, fmt.Errorf("it has %d containers, one is played here", len(spec.Containers))
	}
	file, err := os.OpenFile(filepath.Join(p.dir, "logs", manifest.Name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return serving.Options{}, fmt.Errorf("opening its log: %w", err)
	}
	p.logs = append(p.logs, file)
	o := serving.Options{
		Name:      manifest.Name,
		Command:   func() (*exec.Cmd, error) { return p.serviceCommand(hostOf(manifest)) },
		Host:      p.options.Hosts[manifest.Name],
		Port:      p.options.Ports[manifest.Name],
		IdleAfter: p.options.IdleAfter,
		Grace:     p.options.Grace,
		Log:       child.NewShared(io.MultiWriter(file, &child.Output{Prefix: manifest.Name + " | ", To: p.output})),
		Guard:     p.guard,
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	if probe := spec.Containers[0].ReadinessProbe; probe != nil && probe.HTTPGet != nil {
		o.ReadyPath = probe.HTTPGet.Path
	}
	if spec.ContainerConcurrency != nil {
		o.Concurrency = int(*spec.ContainerConcurrency)
	}
	if spec.TimeoutSeconds != nil {
		o.Timeout = time.Duration(*spec.TimeoutSeconds) * time.Second
	}
	for _, annotation := range []string{"autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/minScale"} {
		if value, ok := manifest.Spec.Template.Annotations[annotation]; ok {
			if o.MinScale, err = strconv.Atoi(value); err != nil {
				return o, fmt.Errorf("annotation %s: %w", annotation, err)
			}
		}
	}
	return o, nil
}

// serviceCommand is the program of a Service with all that Kubernetes, Knative and a SinkBinding give it.
func (p *Platform) serviceCommand(host string) (*exec.Cmd, error) {
	r := p.revision(host)
	manifest := r.service
	template := &manifest.Spec.Template
	container := template.Spec.Containers[0].DeepCopy()
	dir := filepath.Join(p.dir, "services", manifest.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of service %s: %w", manifest.Name, err)
	}
	access, err := p.access(r.set, dir, manifest.Namespace, template.Spec.ServiceAccountName, template.Spec.AutomountServiceAccountToken)
	if err != nil {
		return nil, err
	}
	extra := map[string]string{
		"K_SERVICE":       manifest.Name,
		"K_CONFIGURATION": manifest.Name,
		"K_REVISION":      manifest.Name + "-00001",
	}
	bound, err := p.binding(r)
	if err != nil {
		return nil, err
	}
	maps.Copy(extra, access)
	maps.Copy(extra, bound)
	maps.Copy(extra, p.options.Env[""])
	maps.Copy(extra, p.options.Env[manifest.Name])
	// What is set from outside need not be found in the manifest's Secrets.
	container.Env = slices.DeleteFunc(container.Env, func(e corev1.EnvVar) bool { _, ok := extra[e.Name]; return ok })
	id := pod.Identity{
		Namespace: manifest.Namespace, Name: manifest.Name + "-00001-local", ServiceAccount: template.Spec.ServiceAccountName,
		Labels: template.Labels, Annotations: template.Annotations,
	}
	return p.cluster.Command(dir, id, &template.Spec.PodSpec, container, extra)
}

// access returns KUBECONFIG, the way to the cluster that a pod has by its account's token: none if neither the pod nor
// the account wants the token mounted. With a cluster from outside it is the way that the person has who gave it.
func (p *Platform) access(set *manifest.Set, dir, namespace, account string, automount *bool) (map[string]string, error) {
	account = cmp.Or(account, "default")
	for _, a := range set.Accounts {
		if a.Namespace == namespace && a.Name == account && automount == nil {
			automount = a.AutomountServiceAccountToken
		}
	}
	if automount != nil && !*automount {
		return nil, nil
	}
	if p.options.Kubeconfig != "" {
		return map[string]string{"KUBECONFIG": p.options.Kubeconfig}, nil
	}
	file := filepath.Join(dir, "kubeconfig")
	if err := p.Kube.WriteAccountConfig(file, namespace, account); err != nil {
		return nil, err
	}
	return map[string]string{"KUBECONFIG": file}, nil
}

// binding returns K_SINK and K_CE_OVERRIDES if a SinkBinding selects the Service.
func (p *Platform) binding(r revision) (map[string]string, error) {
	manifest := r.service
	for _, b := range r.set.SinkBindings {
		subject := b.Spec.Subject
		if b.Namespace != manifest.Namespace || subject.Kind != "Service" || !strings.HasPrefix(subject.APIVersion, "serving.knative.dev/") {
			continue
		}
		if subject.Name != "" && subject.Name != manifest.Name {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(subject.Selector)
		if err != nil {
			return nil, fmt.Errorf("sinkbinding %s: %w", b.Name, err)
		}
		if subject.Name == "" && !selector.Matches(labels.Set(manifest.Labels)) {
			continue
		}
		sink, err := p.resolve(&b.Spec.Sink, b.Namespace)
		if err != nil {
			return nil, fmt.Errorf("sinkbinding %s: %w", b.Name, err)
		}
		overrides := ""
		if b.Spec.CloudEventOverrides != nil {
			encoded, err := json.Marshal(b.Spec.CloudEventOverrides)
			if err != nil {
				return nil, fmt.Errorf("sinkbinding %s: %w", b.Name, err)
			}
			overrides = string(encoded)
		}
		return map[string]string{"K_SINK": sink, "K_CE_OVERRIDES": overrides}, nil
	}
	return nil, nil
}

// resolve returns the local URL of a destination: a Knative Service, a Broker, or a URI of its own; a URI beside a
// reference is relative to it.
func (p *Platform) resolve(d *duckv1.Destination, namespace string) (string, error) {
	if d.Ref == nil {
		if d.URI == nil {
			return "", errors.New("it has neither ref nor uri")
		}
		return p.cluster.Rewrite(d.URI.String()), nil
	}
	if d.Ref.Namespace != "" {
		namespace = d.Ref.Namespace
	}
	host := d.Ref.Name + "." + namespace
	var base *url.URL
	switch {
	case d.Ref.Kind == "Service" && strings.HasPrefix(d.Ref.APIVersion, "serving.knative.dev/") && p.services[host] != nil:
		base = &url.URL{Scheme: "http", Host: p.services[host].Address()}
	case d.Ref.Kind == "Broker" && p.brokers[host] != nil:
		parsed, err := url.Parse(p.brokers[host].URL())
		if err != nil {
			return "", fmt.Errorf("reading the broker's address: %w", err)
		}
		base = parsed
	default:
		return "", fmt.Errorf("there is no %s %s (%s) in namespace %s among the manifests", d.Ref.Kind, d.Ref.Name, d.Ref.APIVersion, namespace)
	}
	if d.URI != nil {
		base = base.ResolveReference(d.URI.URL())
	}
	return base.String(), nil
}

// startEventing starts the brokers and then the sources, which send to them.
func (p *Platform) startEventing(ctx context.Context) error {
	used := 0
	for _, manifest := range p.set.Brokers {
		var triggers []*eventingv1.Trigger
		for _, t := range p.set.Triggers {
			if t.Namespace == manifest.Namespace && t.Spec.Broker == manifest.Name {
				triggers = append(triggers, t)
			}
		}
		used += len(triggers)
		port := p.options.Ports["broker"]
		if len(p.brokers) > 0 {
			port = 0
		}
		b, err := broker.Start(broker.Options{
			Broker: manifest, Triggers: triggers, Resolve: p.resolve, Port: port, OnDelivery: p.options.OnDelivery,
		})
		if err != nil {
			return fmt.Errorf("broker %s: %w", manifest.Name, err)
		}
		p.brokers[manifest.Name+"."+manifest.Namespace] = b
		// The multi-tenant broker's ingress: one host for all brokers, told apart by path. With one broker that holds.
		p.cluster.Addresses["broker-ingress.knative-eventing"] = b.Address()
	}
	if used != len(p.set.Triggers) {
		return fmt.Errorf("of %d triggers only %d name a broker that is among the manifests", len(p.set.Triggers), used)
	}
	return p.startSources(ctx)
}

func (p *Platform) startSources(ctx context.Context) error {
	for _, manifest := range p.set.PingSources {
		sink, err := p.resolve(&manifest.Spec.Sink, manifest.Namespace)
		if err != nil {
			return fmt.Errorf("pingsource %s: %w", manifest.Name, err)
		}
		every := p.options.PingEvery
		if every < 0 {
			every = 100 * 365 * 24 * time.Hour
		}
		ping, err := source.StartPing(manifest, sink, every)
		if err != nil {
			return err
		}
		p.pings = append(p.pings, ping)
	}
	for _, manifest := range p.set.APIServerSources {
		sink, err := p.resolve(&manifest.Spec.Sink, manifest.Namespace)
		if err != nil {
			return fmt.Errorf("apiserversource %s: %w", manifest.Name, err)
		}
		watch, err := p.watchAPIServer(ctx, manifest, sink)
		if err != nil {
			return err
		}
		p.watches = append(p.watches, watch)
	}
	return nil
}

// watchAPIServer starts the source with the rights of its account, or on the cluster from outside.
func (p *Platform) watchAPIServer(ctx context.Context, manifest *sourcesv1.ApiServerSource, sink string) (*source.APIServer, error) {
	dir := filepath.Join(p.dir, "sources", manifest.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of apiserversource %s: %w", manifest.Name, err)
	}
	always := true // its pod is Knative's, which mounts the token
	access, err := p.access(p.set, dir, manifest.Namespace, manifest.Spec.ServiceAccountName, &always)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", access["KUBECONFIG"])
	if err != nil {
		return nil, fmt.Errorf("apiserversource %s: reading the kubeconfig: %w", manifest.Name, err)
	}
	return source.StartAPIServer(ctx, manifest, config, sink)
}
