package main

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"codexk8s.dev/config"
	"codexk8s.dev/eventing"
)

// A part is a kind of object that the platform consists of.
type part struct {
	resource schema.GroupVersionResource
	kind     string // as in manifests
	short    string // as kubectl takes it
}

// parts are the kinds that say whether they are ready.
var parts = []part{
	{resource("serving.knative.dev", "services"), "Service", "ksvc"},
	{resource("eventing.knative.dev", "brokers"), "Broker", "broker"},
	{resource("eventing.knative.dev", "triggers"), "Trigger", "trigger"},
	{resource("sources.knative.dev", "sinkbindings"), "SinkBinding", "sinkbinding"},
	{resource("sources.knative.dev", "apiserversources"), "ApiServerSource", "apiserversource"},
	{resource("sources.knative.dev", "pingsources"), "PingSource", "pingsource"},
}

var configMap = part{resource("", "configmaps"), "ConfigMap", "configmap"}

func resource(group, plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: "v1", Resource: plural}
}

// A release is the names of its objects, by kind.
type release map[schema.GroupKind][]string

func (r release) names(p part) []string {
	return r[schema.GroupKind{Group: p.resource.Group, Kind: p.kind}]
}

// thisRelease reads the manifests that this program was built with.
func thisRelease() (release, error) {
	r := release{}
	for _, files := range []embed.FS{config.Files, eventing.Files} {
		names, err := fs.Glob(files, "*.yaml")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			data, err := files.ReadFile(name)
			if err != nil {
				return nil, err
			}
			for doc := range bytes.SplitSeq(data, []byte("\n---\n")) {
				var o metav1.PartialObjectMetadata
				if err := yaml.Unmarshal(doc, &o); err != nil {
					return nil, fmt.Errorf("reading the manifest %s: %w", name, err)
				}
				kind := o.GroupVersionKind().GroupKind()
				r[kind] = append(r[kind], o.Name)
			}
		}
	}
	for _, names := range r {
		slices.Sort(names)
	}
	return r, nil
}
