package manifest

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ImagePrefix starts the image of one of our own programs, as ko writes it: ko://<import path of the main package>.
const ImagePrefix = "ko://"

// Images returns the import paths of the programs that the manifests name, sorted, each once. Like ko it looks at
// images and also at environment values, where a function is told which image to put into the pods that it makes.
func (s *Set) Images() []string {
	seen := map[string]bool{}
	note := func(value string) {
		if path, ok := strings.CutPrefix(value, ImagePrefix); ok {
			seen[path] = true
		}
	}
	pods := make([]corev1.PodSpec, 0, len(s.Services)+len(s.Jobs))
	for _, service := range s.Services {
		pods = append(pods, service.Spec.Template.Spec.PodSpec)
	}
	for _, job := range s.Jobs {
		pods = append(pods, job.Spec.Template.Spec)
	}
	for _, pod := range pods {
		for _, container := range slices.Concat(pod.InitContainers, pod.Containers) {
			note(container.Image)
			for _, env := range container.Env {
				note(env.Value)
			}
		}
	}
	for _, configMap := range s.ConfigMaps {
		for _, value := range configMap.Data {
			note(value)
		}
	}
	paths := make([]string, 0, len(seen))
	for path := range seen {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}
