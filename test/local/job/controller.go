// Package job plays Kubernetes' job controller and kubelet: a batch/v1 Job in the store becomes a Pod in the store and
// a process of this machine.
//
//	Job ─► wait for its service account ─► Pod Pending ─► wait for its Secrets ─► Running ─► exit code
//	        ▲                                                                                │
//	        └── pause, 10 s doubled each time ◄── failure that podFailurePolicy and backoffLimit allow
//
// The rules are those of the Job documentation (https://kubernetes.io/docs/concepts/workloads/controllers/job/): one
// Pod at a time, restartPolicy Never, backoffLimit, podFailurePolicy on exit codes, activeDeadlineSeconds from the
// first start, ttlSecondsAfterFinished. A process belongs to its Pod, not to its Job: it is ended when the Pod is
// deleted, and the Pod is gone when the process is. A process gets a directory of its own, its emptyDir volumes are in
// it and go with the Pod; its output is kept in a file.
//
// A Job that was active when the platform stopped has lost its process: its old Pod is removed, not counted as a
// failure, and it gets a new one.
package job

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"codexk8s.dev/test/local/child"
	"codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/pod"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// Options say where Jobs come from and how they are run.
type Options struct {
	Store   *kube.Store
	Cluster *pod.Cluster
	// Dir holds the pods' directories (pods/) and logs (logs/).
	Dir string
	// RetryDelay is the pause before the first retry, doubled for each further one; 0 means Kubernetes' 10 s.
	RetryDelay time.Duration
	// Log gets the output of all processes, each line with its pod's name; nil discards it.
	Log   io.Writer
	Guard *child.Guard
	// Env are variables by name of a Job, which win over its manifest's: what the machine has in place of an image,
	// say.
	Env map[string]map[string]string
}

// Controller runs the Jobs of one store.
type Controller struct {
	options Options
	log     *child.Shared
	stop    context.CancelFunc
	all     sync.WaitGroup

	mu   sync.Mutex
	jobs map[types.UID]context.CancelFunc // ends the making of further pods
	pods map[types.UID]*process
}

// process is a pod's process, in so far as somebody wants to end it.
type process struct {
	namespace, name string
	cancel          context.CancelFunc // ends it gracefully
	child           *child.Process     // nil before it runs
}

// Start begins to run the store's Jobs, those that it holds already and those to come.
func Start(o Options) (*Controller, error) {
	if o.RetryDelay == 0 {
		o.RetryDelay = 10 * time.Second
	}
	for _, dir := range []string{"pods", "logs"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("making the directory of pods: %w", err)
		}
	}
	c := &Controller{options: o, log: child.NewShared(o.Log), jobs: map[types.UID]context.CancelFunc{}, pods: map[types.UID]*process{}}
	c.removeLeftovers()
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	changes, stopWatch := o.Store.Watch()
	c.all.Go(func() {
		defer stopWatch()
		for {
			select {
			case <-ctx.Done():
				return
			case change, ok := <-changes:
				if !ok {
					return
				}
				c.see(ctx, change)
			}
		}
	})
	return c, nil
}

// Stop ends every process, SIGTERM first, and returns when all are gone. The objects stay as they are, so that a later
// Start takes the Jobs up again.
func (c *Controller) Stop() {
	c.stop()
	c.all.Wait()
}

// Kill sends SIGKILL to the processes of the namespace's pods, as a node that dies or runs out of memory does, and
// returns how many there were.
func (c *Controller) Kill(namespace string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, p := range c.pods {
		if p.namespace == namespace && p.child != nil {
			_ = p.child.Signal(syscall.SIGKILL)
			n++
		}
	}
	return n
}

// Running is the number of processes.
func (c *Controller) Running() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, p := range c.pods {
		if p.child != nil {
			n++
		}
	}
	return n
}

// LogFile is where the output of a pod is kept.
func (c *Controller) LogFile(namespace, name string) string {
	return filepath.Join(c.options.Dir, "logs", namespace+"_"+name+".log")
}

// Logs opens the log of a pod.
func (c *Controller) Logs(namespace, name string) (io.ReadCloser, error) {
	return os.Open(c.LogFile(namespace, name))
}

func (c *Controller) podDir(namespace, name string) string {
	return filepath.Join(c.options.Dir, "pods", namespace+"_"+name)
}

// removeLeftovers removes the pods whose processes ended with the platform that made them.
func (c *Controller) removeLeftovers() {
	zero := int64(0)
	list, _ := c.options.Store.List(kube.Pods, "", labels.Everything())
	for _, o := range list {
		switch phase, _, _ := unstructured.NestedString(o.Object, "status", "phase"); phase {
		case string(corev1.PodRunning), string(corev1.PodPending):
			_, _ = c.options.Store.Delete(kube.Pods, o.GetNamespace(), o.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &zero})
			_ = os.RemoveAll(c.podDir(o.GetNamespace(), o.GetName()))
		}
	}
}

// see acts on one change of the store.
func (c *Controller) see(ctx context.Context, change kube.Change) {
	o := change.Object
	switch {
	case change.Resource == kube.Jobs && change.Type == watch.Deleted:
		c.mu.Lock()
		defer c.mu.Unlock()
		if cancel, ok := c.jobs[o.GetUID()]; ok {
			cancel()
		}
	case change.Resource == kube.Jobs:
		c.begin(ctx, o)
	case change.Resource == kube.Pods && change.Type == watch.Deleted:
		_ = os.RemoveAll(c.podDir(o.GetNamespace(), o.GetName()))
	case change.Resource == kube.Pods && o.GetDeletionTimestamp() != nil:
		c.mu.Lock()
		defer c.mu.Unlock()
		if p, ok := c.pods[o.GetUID()]; ok {
			p.cancel()
		}
	}
}

// begin starts to run the Job unless it is run already, suspended, or being deleted; a finished one is removed when its
// time has come.
func (c *Controller) begin(ctx context.Context, o *unstructured.Unstructured) {
	var job batchv1.Job
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &job); err != nil {
		slog.Error("job: unreadable", "namespace", o.GetNamespace(), "name", o.GetName(), "error", err)
		return
	}
	if job.Spec.Suspend != nil && *job.Spec.Suspend || job.DeletionTimestamp != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.jobs[job.UID]; ok {
		return
	}
	jobCtx, cancel := context.WithCancel(ctx)
	c.jobs[job.UID] = cancel
	c.all.Go(func() {
		defer cancel()
		if !finished(&job) {
			c.run(ctx, jobCtx, &job)
		}
		c.expire(jobCtx, &job)
	})
}

// expire deletes a finished Job when it asks for it.
func (c *Controller) expire(ctx context.Context, job *batchv1.Job) {
	if job.Spec.TTLSecondsAfterFinished == nil || !finished(job) {
		return
	}
	at := time.Now()
	for _, condition := range job.Status.Conditions {
		if isEnd(condition.Type) {
			at = condition.LastTransitionTime.Time
		}
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(time.Until(at.Add(time.Duration(*job.Spec.TTLSecondsAfterFinished) * time.Second))):
	}
	background := metav1.DeletePropagationBackground
	_, _ = c.options.Store.Delete(kube.Jobs, job.Namespace, job.Name, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &job.UID},
	})
}

func isEnd(t batchv1.JobConditionType) bool {
	return t == batchv1.JobComplete || t == batchv1.JobFailed
}

func finished(job *batchv1.Job) bool {
	for _, condition := range job.Status.Conditions {
		if isEnd(condition.Type) && condition.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
