package local

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/test/local/job"
	"codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/manifest"
	"codexk8s.dev/test/local/pod"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// startCluster starts the API server with the manifests' objects in it, and the node that runs Jobs.
func (p *Platform) startCluster(binaries map[string]string) error {
	store, err := kube.Open(filepath.Join(p.dir, "kube.json"))
	if err != nil {
		return err
	}
	if p.Kube, err = kube.Serve(store, p.options.Ports["kubernetes"]); err != nil {
		return err
	}
	if err := p.Kube.WriteConfig(p.Kubeconfig()); err != nil {
		return err
	}
	p.cluster = &pod.Cluster{Secret: store.Data, ConfigMap: store.ConfigMap, Binaries: binaries, Addresses: map[string]string{}}
	if err := p.fill(store, p.set); err != nil {
		return err
	}
	p.Jobs, err = job.Start(job.Options{
		Store: store, Cluster: p.cluster, Dir: p.dir, RetryDelay: p.options.JobRetryDelay, Log: p.output, Guard: p.guard,
		Env: p.options.JobEnv,
	})
	if err != nil {
		return err
	}
	p.Kube.Logs = p.Jobs.Logs
	return nil
}

// fill puts namespaces, accounts, roles, ConfigMaps and Secrets into the store: those of the manifests, with what
// Options say on top.
func (p *Platform) fill(store *kube.Store, set *manifest.Set) error {
	namespace := p.namespace()
	for _, name := range []string{"default", "kube-system", agentpod.DatabasesNamespace, namespace} {
		if err := ensure(store, kube.Namespaces, "v1", "", name, nil); err != nil {
			return err
		}
	}
	for _, a := range set.Accounts {
		if err := ensure(store, kube.Accounts, "v1", a.Namespace, a.Name, nil); err != nil {
			return err
		}
	}
	if err := store.SetRules(namespace, set.Rules); err != nil {
		return err
	}
	configMaps := map[string]map[string]string{}
	for _, c := range set.ConfigMaps {
		configMaps[c.Name] = c.Data
	}
	secrets := map[string]map[string]string{}
	for _, s := range set.Secrets {
		secrets[s.Name] = map[string]string{}
		for key, value := range s.Data {
			secrets[s.Name][key] = string(value)
		}
		for key, value := range s.StringData {
			secrets[s.Name][key] = value
		}
	}
	merge(configMaps, p.options.ConfigMaps)
	merge(secrets, map[string]map[string]string{cmp.Or(p.options.Database.Secret, "database"): {cmp.Or(p.options.Database.Key, "DATABASE_URL"): p.database}})
	merge(secrets, p.options.Secrets)
	for name, data := range configMaps {
		if err := ensure(store, kube.ConfigMaps, "v1", namespace, name, data); err != nil {
			return err
		}
	}
	for name, data := range secrets {
		encoded := map[string]string{}
		for key, value := range data {
			encoded[key] = base64.StdEncoding.EncodeToString([]byte(value))
		}
		if err := ensure(store, kube.Secrets, "v1", namespace, name, encoded); err != nil {
			return err
		}
	}
	return nil
}

// namespace is the platform's: that of its first Service.
func (p *Platform) namespace() string {
	for _, s := range p.set.Services {
		return s.Namespace
	}
	return "codexk8s"
}

func merge(objects, more map[string]map[string]string) {
	for name, data := range more {
		if objects[name] == nil {
			objects[name] = map[string]string{}
		}
		for key, value := range data {
			objects[name][key] = value
		}
	}
}

// ensure makes an object, or replaces its data; a nil data leaves one that is there as it is.
func ensure(store *kube.Store, r *kube.Resource, apiVersion, namespace, name string, data map[string]string) error {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": r.Kind}}
	o.SetName(name)
	o.SetNamespace(namespace)
	if data != nil {
		_ = unstructured.SetNestedStringMap(o.Object, data, "data")
	}
	_, err := store.Create(r, o)
	if apierrors.IsAlreadyExists(err) && data != nil {
		_, err = store.Update(r, o, false)
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making %s %s: %w", r.Kind, name, err)
	}
	return nil
}

// runManifestJobs runs the Jobs of the manifests, which bring the database up to date, one after the other, afresh at
// each start. One that fails is not tried again: Postgres answers by now, so waiting would only hide the reason.
func (p *Platform) runManifestJobs(ctx context.Context) error {
	store := p.Kube.Store
	background := metav1.DeletePropagationBackground
	for _, manifest := range p.set.Jobs {
		_, err := store.Delete(kube.Jobs, manifest.Namespace, manifest.Name, metav1.DeleteOptions{PropagationPolicy: &background})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing the last job %s: %w", manifest.Name, err)
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(manifest)
		if err != nil {
			return fmt.Errorf("job %s: %w", manifest.Name, err)
		}
		changes, stop := store.Watch()
		if _, err := store.Create(kube.Jobs, &unstructured.Unstructured{Object: content}); err != nil {
			stop()
			return fmt.Errorf("making job %s: %w", manifest.Name, err)
		}
		err = p.awaitJob(ctx, manifest, changes)
		stop()
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Platform) awaitJob(ctx context.Context, manifest *batchv1.Job, changes <-chan kube.Change) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("job %s has not finished: %w\n%s", manifest.Name, ctx.Err(), p.jobLog(manifest))
		case c := <-changes:
			if c.Resource != kube.Jobs || c.Object.GetName() != manifest.Name || c.Object.GetNamespace() != manifest.Namespace {
				continue
			}
			var job batchv1.Job
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(c.Object.Object, &job); err != nil {
				return fmt.Errorf("reading job %s: %w", manifest.Name, err)
			}
			if job.Status.Failed > 0 {
				return fmt.Errorf("job %s failed:\n%s", manifest.Name, p.jobLog(manifest))
			}
			if job.Status.Succeeded > 0 {
				return nil
			}
		}
	}
}

// jobLog is the end of what the Job's newest pod has written.
func (p *Platform) jobLog(manifest *batchv1.Job) string {
	files, _ := filepath.Glob(p.Jobs.LogFile(manifest.Namespace, manifest.Name+"-*"))
	newest, at := "", time.Time{}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.ModTime().After(at) {
			newest, at = file, info.ModTime()
		}
	}
	content, err := os.ReadFile(newest)
	if err != nil {
		return "it has written nothing"
	}
	return strings.TrimSpace(string(content[max(0, len(content)-2000):]))
}
