package job

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"syscall"
	"time"

	"codexk8s.dev/test/local/child"
	"codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/pod"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/rand"
)

// runPod makes a pod of the Job's template, runs its containers one after the other and returns how it ended. When ctx
// ends, the process is ended and its pod removed.
func (c *Controller) runPod(ctx context.Context, job *batchv1.Job) ending {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := newPod(job)
	running := &process{namespace: p.Namespace, name: p.Name, cancel: cancel}
	// Under the lock, so that a deletion of the pod finds it here.
	c.mu.Lock()
	err := c.store(p, true)
	c.pods[p.UID] = running
	c.mu.Unlock()
	if err != nil {
		slog.Error("job: no pod", "namespace", job.Namespace, "name", job.Name, "error", err)
		return ending{pod: p.Name, code: 1}
	}
	if o, err := c.options.Store.Get(kube.Jobs, job.Namespace, job.Name); err != nil || o.GetUID() != job.UID {
		cancel() // the Job went while its pod was made, so nobody would ever delete the pod
	}
	defer func() {
		c.mu.Lock()
		delete(c.pods, p.UID)
		c.mu.Unlock()
	}()
	c.status(job, func(s *batchv1.JobStatus) { s.Active, s.Ready = 1, new(int32) })
	end := c.runContainers(ctx, job, p, running)
	if ctx.Err() != nil {
		zero := int64(0)
		_, _ = c.options.Store.Delete(kube.Pods, p.Namespace, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero})
		end.deleted = true
		return end
	}
	p.Status.Phase = corev1.PodSucceeded
	if end.code != 0 {
		p.Status.Phase = corev1.PodFailed
	}
	_ = c.store(p, false)
	return end
}

// runContainers runs the init containers and then the first container; a pod of ours has one.
func (c *Controller) runContainers(ctx context.Context, job *batchv1.Job, p *corev1.Pod, running *process) ending {
	for i := range p.Spec.InitContainers {
		container := &p.Spec.InitContainers[i]
		code := c.runContainer(ctx, p, container, &p.Status.InitContainerStatuses, running, nil)
		if code != 0 || ctx.Err() != nil {
			return ending{pod: p.Name, container: container.Name, code: code}
		}
	}
	container := &p.Spec.Containers[0]
	code := c.runContainer(ctx, p, container, &p.Status.ContainerStatuses, running, func() {
		p.Status.Phase = corev1.PodRunning
		one := int32(1)
		c.status(job, func(s *batchv1.JobStatus) { s.Ready = &one })
	})
	return ending{pod: p.Name, container: container.Name, code: code}
}

// runContainer runs one container's process to its end and returns its exit code. started is called, before the pod is
// stored with the container running, unless it is nil.
func (c *Controller) runContainer(ctx context.Context, p *corev1.Pod, container *corev1.Container, statuses *[]corev1.ContainerStatus, running *process, started func()) int {
	*statuses = append(*statuses, corev1.ContainerStatus{Name: container.Name, Image: container.Image})
	status := &(*statuses)[len(*statuses)-1]
	cmd, err := c.awaitCommand(ctx, p, container, status)
	if err != nil {
		return 137
	}
	log, err := os.OpenFile(c.LogFile(p.Namespace, p.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		slog.Error("job: no log", "pod", p.Name, "error", err)
		return 128
	}
	defer func() { _ = log.Close() }()
	out := io.MultiWriter(log, &child.Output{Prefix: p.Namespace + "/" + p.Name + " | ", To: c.log})
	cmd.Stdout, cmd.Stderr = out, out
	proc, err := child.Start(cmd, c.options.Guard, syscall.SIGTERM)
	if err != nil {
		_, _ = fmt.Fprintln(out, err)
		return 128
	}
	c.mu.Lock()
	running.child = proc
	c.mu.Unlock()
	began := metav1.Now()
	status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}}
	status.Ready = true
	if started != nil {
		started()
	}
	_ = c.store(p, false)
	select {
	case <-proc.Done():
	case <-ctx.Done():
		proc.Stop(syscall.SIGTERM, grace(p))
	}
	c.mu.Lock()
	running.child = nil
	c.mu.Unlock()
	status.Ready = false
	status.State = corev1.ContainerState{Terminated: terminated(proc.ExitCode(), began)}
	return proc.ExitCode()
}

// awaitCommand waits until all that the container refers to is there, showing in the pod what it waits for.
func (c *Controller) awaitCommand(ctx context.Context, p *corev1.Pod, container *corev1.Container, status *corev1.ContainerStatus) (*exec.Cmd, error) {
	dir := c.podDir(p.Namespace, p.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the pod's directory: %w", err)
	}
	id := pod.Identity{Namespace: p.Namespace, Name: p.Name, ServiceAccount: p.Spec.ServiceAccountName, Labels: p.Labels, Annotations: p.Annotations}
	extra := map[string]string{"HOSTNAME": p.Name}
	maps.Copy(extra, c.options.Env[p.Labels["job-name"]])
	for said := ""; ; {
		cmd, err := c.options.Cluster.Command(dir, id, &p.Spec, container, extra)
		if err == nil {
			return cmd, nil
		}
		if said != err.Error() {
			said = err.Error()
			slog.Warn("job: pod waits", "namespace", p.Namespace, "pod", p.Name, "error", err)
			reason := "ErrImagePull"
			if errors.Is(err, pod.ErrMissing) {
				reason = "CreateContainerConfigError"
			}
			status.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: said}}
			_ = c.store(p, false)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(poll):
		}
	}
}

func terminated(code int, began metav1.Time) *corev1.ContainerStateTerminated {
	state := &corev1.ContainerStateTerminated{ExitCode: int32(code), Reason: "Completed", StartedAt: began, FinishedAt: metav1.Now()}
	if code != 0 {
		state.Reason = "Error"
	}
	if code > 128 {
		state.Signal = int32(code - 128)
	}
	return state
}

func grace(p *corev1.Pod) time.Duration {
	if p.Spec.TerminationGracePeriodSeconds == nil {
		return 30 * time.Second
	}
	return time.Duration(*p.Spec.TerminationGracePeriodSeconds) * time.Second
}

// newPod is a pod of the template, with the labels and the owner that the job controller gives it.
func newPod(job *batchv1.Job) *corev1.Pod {
	yes := true
	now := metav1.Now()
	p := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        job.Name + "-" + rand.String(5),
			Namespace:   job.Namespace,
			Labels:      map[string]string{},
			Annotations: job.Spec.Template.Annotations,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "batch/v1", Kind: "Job", Name: job.Name, UID: job.UID, Controller: &yes, BlockOwnerDeletion: &yes,
			}},
		},
		Spec: *job.Spec.Template.Spec.DeepCopy(),
		Status: corev1.PodStatus{
			Phase: corev1.PodPending, StartTime: &now, PodIP: "127.0.0.1", HostIP: "127.0.0.1",
		},
	}
	for name, value := range job.Spec.Template.Labels {
		p.Labels[name] = value
	}
	for _, prefix := range []string{"", "batch.kubernetes.io/"} {
		p.Labels[prefix+"job-name"] = job.Name
		p.Labels[prefix+"controller-uid"] = string(job.UID)
	}
	p.Spec.NodeName = "local"
	if p.Spec.ServiceAccountName == "" {
		p.Spec.ServiceAccountName = "default"
	}
	return p
}

// store writes the pod: the whole of a new one, and takes over its uid; the status of one that is there.
func (c *Controller) store(p *corev1.Pod, create bool) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(p)
	if err != nil {
		return fmt.Errorf("writing pod %s: %w", p.Name, err)
	}
	o := &unstructured.Unstructured{Object: content}
	if !create {
		_, err = c.options.Store.Update(kube.Pods, o, true)
		return err
	}
	if o, err = c.options.Store.Create(kube.Pods, o); err != nil {
		return err
	}
	p.UID = o.GetUID()
	return nil
}
