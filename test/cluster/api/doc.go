// Package api asks a real API server what it thinks of the manifests, the rights and the objects of runs: what no
// library can say, and what needs no node. Built with the tag apiserver; make check runs it where a cluster kit is.
//
// KUBECONFIG names the API server, and without one the tests fail. Nothing of ours needs to run there, nor Knative:
// where its resources are not defined, they are taken from its module, and removed afterwards with all else that the
// tests made. What a platform that is deployed there already has stays as it is.
package api
