// Package cluster plays the product as it is shipped on a real Kubernetes with real Knative: the manifests of config/
// and eventing/ with the overlays try, full-env and agent-sandbox, the images that ko builds, deployed by make deploy.
// What is played is the world outside: GitHub (with Git), OpenAI and two chats run in the test's process, on an address
// that pods reach. agent-sandbox's controller is installed where the cluster has none.
//
//	test process, on the host                            cluster
//	┌────────────────────────┐  webhook (public URL)    ┌──────────────────────────────────────────┐
//	│ fake GitHub  ──────────┼─────────────────────────►│ webhook-adapter ─► Broker ─► functions   │
//	│   ▲   ▲                │  REST                    │                      │                   │
//	│   │   └────────────────┼──────────────────────────┤ github-caller, ...   ▼                   │
//	│   └────────────────────┼──── clone, push ─────────┤ run namespaces: Job agent (Codex CLI)    │
//	│ fake OpenAI ◄──────────┼──────────────────────────┤ llm-caller                               │
//	│ fake chats  ◄──────────┼──────────────────────────┤ approval-notifier                        │
//	│             ───────────┼─ callback (public URL) ─►│ approval-callback                        │
//	│ assertions ────────────┼── kubectl port-forward ─►│ Postgres                                 │
//	└────────────────────────┘                          └──────────────────────────────────────────┘
//
// The tests share one deployment, each has repositories of its own. They are built with the tag cluster and run by
// make test-cluster; what they need is read from the environment and what is missing is named:
//
//	KUBECONFIG            a cluster with Knative Serving and Eventing that may be changed
//	KO_DOCKER_REPO        where ko pushes; KO_DEFAULTBASEIMAGE for clusters without the internet
//	AGENT_BASE            what make agent-image made; it is made first when the registry has none
//	TEST_HOST_IP          address of this machine as pods reach it
//	TEST_INGRESS          address of Knative's ingress, where this machine can't resolve the cluster's domain
//	TEST_GATEWAY_PEERS    the ingress' pods for agents' NetworkPolicies, as GATEWAY_PEERS; empty = as shipped
//	POSTGRES_IMAGE        what make postgres-image made, for a cluster without Docker Hub; made first for the one on
//	                      this machine
//	KEEP                  a directory: the deployment and the state of the fakes stay, the next start goes on with them
//
// A test says in its name what holds. The tier that needs only an API server is package api.
package cluster
