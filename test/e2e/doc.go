// Package e2e holds the tests of the whole: the real function binaries from the real manifests, real Git and the real
// Codex CLI, with only GitHub, OpenAI, Knative and Kubernetes played (package stack).
package e2e
