package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
)

var pods = resource("", "pods")

const askForRights = "look whether the API server answers (kubectl get --raw /readyz); make deploy gives the doctor its rights"

func (h *handler) checkCluster(ctx context.Context) []check {
	if h.noCluster != nil {
		return []check{failed("cluster", "run it in the cluster (make doctor), or set KUBECONFIG", h.noCluster)}
	}
	r, err := thisRelease()
	if err != nil {
		return []check{failed("cluster", "build the doctor anew: make deploy", err)}
	}
	var checks []check
	for _, p := range parts {
		checks = append(checks, h.ready(ctx, p, r.names(p)))
	}
	return append(checks, h.checkSettings(ctx, r.names(configMap)), h.checkPods(ctx), h.checkNamespaces(ctx, h.db.Now()))
}

// ready checks whether the objects of a kind exist and are ready, at least those with these names.
func (h *handler) ready(ctx context.Context, p part, names []string) check {
	name := p.resource.Resource
	found, err := kube.List[duckv1.KResource](ctx, h.cluster, p.resource, namespace, "")
	if apierrors.IsNotFound(err) {
		return failed(name, "install Knative Serving and Eventing: https://knative.dev/docs/install/", err)
	}
	if err != nil {
		return failed(name, askForRights, err)
	}
	c := check{Name: name}
	var there []string
	well := 0
	for i := range found {
		o := &found[i]
		there = append(there, o.Name)
		do := fmt.Sprintf("kubectl -n %s describe %s %s; if it does not come by itself, make deploy", namespace, p.short, o.Name)
		switch ready := o.Status.GetCondition(apis.ConditionReady); {
		case ready == nil || o.Status.ObservedGeneration < o.Generation:
			c.fault(do, "%s: Knative has not looked at it yet", o.Name)
		case ready.Status != corev1.ConditionTrue:
			c.fault(do, "%s: %s", o.Name, strings.Trim(ready.Reason+": "+ready.Message, ": "))
		default:
			well++
		}
	}
	for _, name := range names {
		if !slices.Contains(there, name) && !slices.Contains(h.without, name) {
			c.fault("make deploy", "%s: missing", name)
		}
	}
	c.Saw = fmt.Sprintf("%d ready", well)
	return c
}

func (h *handler) checkSettings(ctx context.Context, names []string) check {
	c := check{Name: configMap.resource.Resource}
	there := 0
	for _, name := range names {
		found, err := kube.Get[corev1.ConfigMap](ctx, h.cluster, configMap.resource, namespace, name)
		if err != nil {
			return failed(c.Name, askForRights, err)
		}
		switch {
		case found != nil:
			there++
		case !slices.Contains(h.without, name):
			c.fault("make deploy", "%s: missing", name)
		}
	}
	c.Saw = fmt.Sprintf("%d there", there)
	return c
}

// stuck are the reasons why a container waits that do not pass by themselves.
// https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/kubelet/images/types.go and .../container/sync_result.go
var stuck = map[string]string{
	"ErrImagePull":               "look whether the cluster can pull from the registry that ko pushed to; make deploy pushes again",
	"ImagePullBackOff":           "look whether the cluster can pull from the registry that ko pushed to; make deploy pushes again",
	"InvalidImageName":           "set KO_DOCKER_REPO to a registry, then make deploy",
	"CreateContainerConfigError": "make the Secret or ConfigMap that is named; config/100-namespace.yaml lists them",
	"CreateContainerError":       "kubectl -n codexk8s describe pod says what the node refuses",
	"RunContainerError":          "kubectl -n codexk8s describe pod says what the node refuses",
	"CrashLoopBackOff":           "kubectl -n codexk8s logs says why it stops, mostly a setting",
}

// checkPods finds what keeps pods from running, including missing Secrets: none of our accounts may read Secrets, but
// the kubelet says which one is missing.
func (h *handler) checkPods(ctx context.Context) check {
	found, err := kube.List[corev1.Pod](ctx, h.cluster, pods, namespace, "")
	if err != nil {
		return failed("pods", askForRights, err)
	}
	c := check{Name: "pods"}
	for i := range found {
		status := found[i].Status
		for _, s := range slices.Concat(status.InitContainerStatuses, status.ContainerStatuses) {
			if w := s.State.Waiting; w != nil && stuck[w.Reason] != "" {
				c.fault(stuck[w.Reason], "%s, container %s: %s: %s", found[i].Name, s.Name, w.Reason, w.Message)
			}
		}
	}
	c.Saw = fmt.Sprintf("%d there", len(found))
	return c
}

const (
	// overTime is how long a namespace may stay after its expiry: agent-launcher looks again after an hour if a Job was
	// still at work.
	overTime = 2 * time.Hour
	// leaving is how long Kubernetes may take to remove one.
	leaving = 15 * time.Minute
)

// checkNamespaces looks for runs' namespaces that should be gone.
func (h *handler) checkNamespaces(ctx context.Context, now time.Time) check {
	found, err := kube.List[corev1.Namespace](ctx, h.cluster, gvr.Namespaces, "", agentpod.LabelManagedBy+"="+agentpod.ManagedBy)
	if err != nil {
		return failed("run namespaces", askForRights, err)
	}
	c := check{Name: "run namespaces", Saw: fmt.Sprintf("%d there", len(found))}
	var runs []string
	for i := range found {
		if id, err := uuid.Parse(found[i].Labels[agentpod.LabelRun]); err == nil {
			runs = append(runs, id.String())
		}
	}
	unknown, _ := h.db.UnknownRuns(ctx, runs) // without a database that is the fault to report
	for i := range found {
		ns := &found[i]
		expires, err := time.Parse(time.RFC3339, ns.Annotations[agentpod.AnnotationExpiresAt])
		switch gone := ns.DeletionTimestamp; {
		case gone != nil && now.Sub(gone.Time) > leaving:
			c.fault("kubectl get namespace NAME -o yaml names in status.conditions what keeps it",
				"%s: is being removed since %s", ns.Name, short(now.Sub(gone.Time)))
		case gone != nil:
		case err != nil:
			c.fault("nobody will remove it: kubectl delete namespace NAME when its run has ended",
				"%s: its expiry %q is not a time", ns.Name, ns.Annotations[agentpod.AnnotationExpiresAt])
		case now.Sub(expires) > overTime:
			c.fault("look for environment.expired among the overdue events and dead letters below, and at agent-launcher's log; kubectl delete namespace NAME is safe when its run has ended",
				"%s: expired %s, %s", ns.Name, ago(expires, now), ns.Annotations[agentpod.AnnotationCorrelation])
		case slices.Contains(unknown, ns.Labels[agentpod.LabelRun]):
			c.fault("the database was restored from a backup? GitHub's list of deliveries brings the run back in ten minutes, if it is of the last three days; else kubectl delete namespace NAME",
				"%s: its run %s is not in the database, %s", ns.Name, ns.Labels[agentpod.LabelRun], ns.Annotations[agentpod.AnnotationCorrelation])
		}
	}
	return c
}
