// Package pod turns a container of a pod's manifest into a process of this machine: its binary, arguments, environment
// and files.
//
// The process sees what the container would see, with two translations. A volume becomes a directory of its own below
// the pod's directory, and a value that is a path into the volume's mount point is rewritten to it. An address of the
// cluster, http://<service>.<namespace>.svc.cluster.local, is rewritten to the local listener that plays it. Of this
// process's own environment only what a machine needs (Inherited) is handed on, so a variable that the manifest forgot
// is missing here as it would be in the cluster.
package pod

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Inherited are the variables that a process gets from ours: where programs, certificates and the way out are, and
// where coverage goes.
var Inherited = []string{"PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
	"http_proxy", "https_proxy", "no_proxy", "GOCOVERDIR", "GORACE"}

// ErrMissing says that a Secret or ConfigMap, or a key of it, that the pod needs is not there. In a cluster the pod
// would wait for it.
var ErrMissing = errors.New("not found")

// Cluster is what a pod's manifest may refer to.
type Cluster struct {
	// Secret and ConfigMap return the data of an object, or ok false when there is none.
	Secret    func(namespace, name string) (data map[string][]byte, ok bool)
	ConfigMap func(namespace, name string) (data map[string]string, ok bool)
	// Binaries are the paths of the built programs by image, ko://… included.
	Binaries map[string]string
	// Addresses are the local host:port by cluster host name, <service>.<namespace>.
	Addresses map[string]string
}

// Identity is what a pod knows about itself.
type Identity struct {
	Namespace, Name, ServiceAccount string
	Labels, Annotations             map[string]string
}

// Command returns the command of a container, with everything but its output and process attributes set. The pod's
// files are made below dir, which must exist. extra is added to the environment and wins over the manifest.
func (c *Cluster) Command(dir string, id Identity, spec *corev1.PodSpec, container *corev1.Container, extra map[string]string) (*exec.Cmd, error) {
	binary, ok := c.Binaries[container.Image]
	if !ok {
		return nil, fmt.Errorf("container %s: there is no program for image %q; images here are ko://<import path> of a built one", container.Name, container.Image)
	}
	mounts, err := c.mount(dir, id, spec, container)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", container.Name, err)
	}
	env, err := c.environment(id, container)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", container.Name, err)
	}
	for name, value := range env {
		env[name] = c.Rewrite(mounts.rewrite(value))
	}
	for name, value := range extra {
		env[name] = c.Rewrite(value) // a path in it is one of this machine already
	}
	work := filepath.Join(dir, "work")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return nil, fmt.Errorf("making the working directory: %w", err)
	}
	if _, ok := env["HOME"]; !ok {
		env["HOME"] = work
	}
	line := container.Args
	if len(container.Command) > 0 {
		// ko's images hold one program, their entry point; another one in the image could not be found here.
		if filepath.Base(container.Command[0]) != filepath.Base(binary) {
			return nil, fmt.Errorf("container %s: command %q is not the program of image %s", container.Name, container.Command[0], container.Image)
		}
		line = slices.Concat(container.Command[1:], container.Args)
	}
	args := make([]string, 0, len(line))
	for _, arg := range line {
		args = append(args, c.Rewrite(mounts.rewrite(expand(arg, env))))
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir = work
	if container.WorkingDir != "" {
		cmd.Dir = mounts.rewrite(container.WorkingDir)
	}
	cmd.Env = list(env)
	return cmd, nil
}

// environment evaluates envFrom and env in the order that Kubernetes does; a later one wins.
func (c *Cluster) environment(id Identity, container *corev1.Container) (map[string]string, error) {
	env := map[string]string{}
	for _, name := range Inherited {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	for _, source := range container.EnvFrom {
		data, err := c.source(id.Namespace, source)
		if err != nil {
			return nil, fmt.Errorf("envFrom: %w", err)
		}
		for key, value := range data {
			env[source.Prefix+key] = value
		}
	}
	for _, e := range container.Env {
		value := expand(e.Value, env)
		if e.ValueFrom != nil {
			var found bool
			var err error
			value, found, err = c.value(id, e.ValueFrom)
			if err != nil {
				return nil, fmt.Errorf("env %s: %w", e.Name, err)
			}
			if !found {
				continue
			}
		}
		env[e.Name] = value
	}
	return env, nil
}

func (c *Cluster) source(namespace string, source corev1.EnvFromSource) (map[string]string, error) {
	switch {
	case source.ConfigMapRef != nil:
		return c.configMap(namespace, source.ConfigMapRef.Name, source.ConfigMapRef.Optional)
	case source.SecretRef != nil:
		return c.secret(namespace, source.SecretRef.Name, source.SecretRef.Optional)
	}
	return nil, errors.New("neither configMapRef nor secretRef")
}

// value evaluates valueFrom; found is false for an optional reference to something that is not there.
func (c *Cluster) value(id Identity, from *corev1.EnvVarSource) (value string, found bool, err error) {
	var data map[string]string
	var key, object string
	var optional *bool
	switch {
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		key, object, optional = ref.Key, "secret "+ref.Name, ref.Optional
		data, err = c.secret(id.Namespace, ref.Name, optional)
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		key, object, optional = ref.Key, "configmap "+ref.Name, ref.Optional
		data, err = c.configMap(id.Namespace, ref.Name, optional)
	case from.FieldRef != nil:
		value, err = id.field(from.FieldRef.FieldPath)
		return value, err == nil, err
	default:
		return "", false, errors.New("this kind of valueFrom is not played here")
	}
	if err != nil {
		return "", false, err
	}
	value, found = data[key]
	if !found && !isTrue(optional) {
		return "", false, fmt.Errorf("key %s of %s in namespace %s: %w", key, object, id.Namespace, ErrMissing)
	}
	return value, found, nil
}

func (c *Cluster) secret(namespace, name string, optional *bool) (map[string]string, error) {
	data, ok := c.Secret(namespace, name)
	if !ok && !isTrue(optional) {
		return nil, fmt.Errorf("secret %s in namespace %s: %w", name, namespace, ErrMissing)
	}
	text := make(map[string]string, len(data))
	for key, value := range data {
		text[key] = string(value)
	}
	return text, nil
}

func (c *Cluster) configMap(namespace, name string, optional *bool) (map[string]string, error) {
	data, ok := c.ConfigMap(namespace, name)
	if !ok && !isTrue(optional) {
		return nil, fmt.Errorf("configmap %s in namespace %s: %w", name, namespace, ErrMissing)
	}
	return data, nil
}

// field evaluates the downward API's paths that make sense for a process.
func (id Identity) field(path string) (string, error) {
	switch path {
	case "metadata.name":
		return id.Name, nil
	case "metadata.namespace":
		return id.Namespace, nil
	case "spec.serviceAccountName":
		return id.ServiceAccount, nil
	case "status.podIP", "status.hostIP":
		return "127.0.0.1", nil
	case "spec.nodeName":
		return "local", nil
	}
	for prefix, values := range map[string]map[string]string{"metadata.labels['": id.Labels, "metadata.annotations['": id.Annotations} {
		if key, ok := strings.CutPrefix(path, prefix); ok {
			return values[strings.TrimSuffix(key, "']")], nil
		}
	}
	return "", fmt.Errorf("the pod's field %s is not played here", path)
}

// clusterHost is a Service's name in cluster DNS, with or without scheme, domain and port.
var clusterHost = regexp.MustCompile(`(https?://)?\b([a-z0-9]([-a-z0-9]*[a-z0-9])?)\.([a-z0-9]([-a-z0-9]*[a-z0-9])?)\.svc(\.cluster\.local)?(:[0-9]+)?\b`)

// Rewrite replaces the cluster's addresses in a value by the local ones. An address of somebody else stays.
func (c *Cluster) Rewrite(value string) string {
	return clusterHost.ReplaceAllStringFunc(value, func(match string) string {
		parts := clusterHost.FindStringSubmatch(match)
		local, ok := c.Addresses[parts[2]+"."+parts[4]]
		if !ok {
			return match
		}
		if parts[1] != "" {
			return "http://" + local // nothing here speaks TLS
		}
		return local
	})
}

var reference = regexp.MustCompile(`\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)`)

// expand replaces $(NAME) by an earlier variable, as Kubernetes does: unknown names stay, $$ is a dollar sign.
func expand(value string, env map[string]string) string {
	return reference.ReplaceAllStringFunc(value, func(match string) string {
		if match == "$$" {
			return "$"
		}
		if known, ok := env[match[2:len(match)-1]]; ok {
			return known
		}
		return match
	})
}

func isTrue(b *bool) bool { return b != nil && *b }

// list is the environment as a process takes it, sorted.
func list(env map[string]string) []string {
	pairs := make([]string, 0, len(env))
	for name, value := range env {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	return pairs
}
