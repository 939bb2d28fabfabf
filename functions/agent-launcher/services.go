package main

import (
	"context"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
)

// serve creates the project's services in parallel and waits for none of them: pulling an image takes time, and the
// agent's first call to a service waits for it. A service that only an earlier run had stays until the namespace goes;
// asleep, it costs nothing.
func (h *handler) serve(ctx context.Context, o agentpod.Objects) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, object := range o.Services {
		g.Go(func() error {
			err := h.cluster.Create(ctx, object.Resource, object.Value)
			if apierrors.IsAlreadyExists(err) {
				err = h.renew(ctx, object.Value.(*servingv1.Service))
			}
			return serviceRefused(object.Value.GetName(), err)
		})
	}
	return g.Wait()
}

// renew updates an existing service if anything changed. Unlike Kubernetes' own objects it can't be overwritten without
// reading it, and Knative keeps annotations on it that must stay.
func (h *handler) renew(ctx context.Context, asked *servingv1.Service) error {
	existing, err := kube.Get[servingv1.Service](ctx, h.cluster, gvr.KnativeServices, asked.Namespace, asked.Name)
	if err != nil {
		return err
	}
	if existing == nil || existing.DeletionTimestamp != nil {
		return h.soon("service %s in namespace %s is being removed", asked.Name, asked.Namespace)
	}
	changed, err := agentpod.RenewService(existing, asked)
	if err != nil || !changed {
		return err
	}
	return h.cluster.Update(ctx, gvr.KnativeServices, existing)
}

// serviceRefused says what to do if the API server, or Knative's webhook, will never accept a service.
func serviceRefused(name string, err error) error {
	if err == nil || !kube.Refused(err) || agentpod.IsQuota(kube.Message(err)) {
		return err
	}
	return agentpod.RefusedService(name, kube.Message(err), apierrors.IsForbidden(err))
}
