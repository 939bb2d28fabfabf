package agentpod

import "codexk8s.dev/shared/reason"

// RefusedObject is what a person can do about an object of the run that the API server will never accept. told are its
// words.
func RefusedObject(told string) *Refusal {
	if IsQuota(told) {
		return refuse(reason.QuotaExceeded, "There is no quota left for this run: %s. Wait for other runs to end, or raise the quota.", told)
	}
	return refuse(reason.KubernetesRefused, "Kubernetes refuses an object of the run: %s. Check agent-launcher's rights (config/200-agent-launcher.yaml) and the cluster's admission policies.", told)
}

// RefusedSandbox is RefusedObject for a Sandbox that the API server doesn't know, or not from us.
func RefusedSandbox(told string) *Refusal {
	return refuse(reason.KubernetesRefused, "Kubernetes refuses the run's Sandbox: %s. To have them, %s", told, sandboxSetup)
}

// RefusedService is RefusedObject for one of the project's services. Forbidden says that it is a matter of rights; else
// Knative's webhook has a word against the service itself.
func RefusedService(name, told string, forbidden bool) *Refusal {
	if forbidden {
		return refuse(reason.KubernetesRefused, "Kubernetes refuses the project's service %s: %s. "+
			"Runs of full-env roles need agent-launcher's rights on Knative Services: install config/overlays/full-env.", name, told)
	}
	return refuse(reason.KubernetesRefused, "Knative refuses the project's service %s: %s. Correct it in the project's list of services.", name, told)
}
