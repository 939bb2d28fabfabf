# Everything a person needs, by name. `make` alone lists it.

SHELL      := bash
.SHELLFLAGS := -euo pipefail -c
BIN        := $(CURDIR)/.bin
TOOLS_MOD  := -modfile=test/tools.mod
NAMESPACE  := codexk8s
# The vulnerability database: Go's own, or a copy for machines without internet.
VULNDB     ?= $(realpath ../shared/vulndb)
VULNFLAGS  := $(if $(VULNDB),-db file://$(VULNDB))
SUDO       := $(if $(filter 0,$(shell id -u)),,sudo -n)

export KO_CONFIG_PATH := $(CURDIR)/ko.yaml

.DEFAULT_GOAL := help
.PHONY: help run demo tools test check bench generate preflight deploy undeploy status cluster test-cluster dead-letters replay

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## the whole platform on this machine, with a demo repository; FRESH=1 starts over
	go run ./test/local/run

demo: ## play one story from label to approved pull request, and exit
	go run ./test/local/run -demo

# --- tests ---------------------------------------------------------------------

# What tests need besides Go. npm writes the stamp's file itself; touch makes it newer than the lock file.
NPM_STAMP := test/node_modules/.package-lock.json

tools: $(NPM_STAMP) ## install what tests need and this machine lacks: git, Postgres, the Codex CLI
	@missing=; \
	command -v git >/dev/null || missing="$$missing git"; \
	command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$$missing postgresql"; \
	[ -z "$$missing" ] && exit; \
	command -v apt-get >/dev/null || { echo "Missing:$$missing. Install them with your system's package manager." >&2; exit 1; }; \
	$(SUDO) apt-get install -y --no-install-recommends $$missing || \
	  { echo "Can't install here. As root: apt-get update && apt-get install$$missing" >&2; exit 1; }

$(NPM_STAMP): test/package-lock.json
	@command -v npm >/dev/null || { echo "Missing: npm. Install Node.js 20 or newer (Debian: apt-get install npm)." >&2; exit 1; }
	npm ci --prefix test --no-audit --no-fund
	@touch $@

test: tools ## every test that needs no cluster
	go test ./...

# Vet and lint see the race build, so that they and the tests compile everything once.
check: GOFLAGS_RACE := GOFLAGS="$(shell go env GOFLAGS) -race"
check: tools $(BIN)/golangci-lint $(BIN)/govulncheck ## what CI runs: format, vet, lint, vulnerabilities, tidy, race tests
	@out=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); [ -z "$$out" ] || { echo "gofmt these: $$out" >&2; exit 1; }
	go mod tidy -diff
	$(GOFLAGS_RACE) go vet ./...
	$(GOFLAGS_RACE) $(BIN)/golangci-lint run ./...
	$(BIN)/govulncheck $(VULNFLAGS) ./...
	go test -race -p 2 -timeout 15m ./...

$(BIN)/golangci-lint: test/tools.mod
	go build $(TOOLS_MOD) -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(BIN)/govulncheck: test/tools.mod
	go build $(TOOLS_MOD) -o $@ golang.org/x/vuln/cmd/govulncheck

bench: tools ## the benchmarks, packages one after the other
	go test -p 1 -run '^$$' -bench . -benchtime 2s -timeout 20m \
	  $$(grep -rl --include='*_test.go' --exclude-dir=node_modules '^func Benchmark' . | xargs -n 1 dirname | sort -u)

generate: ## the Session API's Go code from its proto file (needs protoc)
	@command -v protoc >/dev/null || { echo "Missing: protoc (Debian: apt-get install protobuf-compiler)." >&2; exit 1; }
	mkdir -p $(BIN)
	go build -o $(BIN)/ google.golang.org/protobuf/cmd/protoc-gen-go connectrpc.com/connect/cmd/protoc-gen-connect-go
	PATH=$(BIN):$$PATH protoc -I . --go_out=. --go_opt=module=codexk8s.dev \
	  --connect-go_out=. --connect-go_opt=module=codexk8s.dev,package_suffix=,simple shared/agentapi/session.proto

# --- a cluster -------------------------------------------------------------------

preflight: # names everything that is missing, at once
	@missing=; miss() { missing="$$missing"$$'\n  '"$$1"; }; \
	command -v ko >/dev/null || miss "ko: https://ko.build/install/"; \
	[ -n "$${KO_DOCKER_REPO:-}" ] || miss "KO_DOCKER_REPO: the registry that ko pushes to, for example ghcr.io/you/codexk8s"; \
	! grep -q 'registry\.example\.com' ko.yaml || miss "the agent's base image: build functions/agent-runner/base.Dockerfile, name it in ko.yaml"; \
	if ! command -v kubectl >/dev/null; then miss "kubectl: https://kubernetes.io/docs/tasks/tools/"; \
	elif ! kubectl version --request-timeout=10s >/dev/null 2>&1; then miss "a cluster: kubectl reaches none, see KUBECONFIG"; \
	else \
	  for crd in services.serving.knative.dev brokers.eventing.knative.dev triggers.eventing.knative.dev sinkbindings.sources.knative.dev; do \
	    kubectl get crd $$crd >/dev/null 2>&1 || miss "Knative's $$crd: https://knative.dev/docs/install/"; done; \
	  for secret in codexk8s-database codexk8s-github codexk8s-openai codexk8s-run-token; do \
	    kubectl -n $(NAMESPACE) get secret $$secret >/dev/null 2>&1 || miss "Secret $$secret in namespace $(NAMESPACE): see config/100-namespace.yaml"; done; \
	fi; \
	[ -z "$$missing" ] || { echo "Can't deploy. Missing:$$missing" >&2; exit 1; }

deploy: preflight ## build the images and apply config/ and eventing/ to the cluster of KUBECONFIG
	kubectl -n $(NAMESPACE) delete job migrate --ignore-not-found # a Job's pod template can't be changed
	ko apply -f config/ -f eventing/

undeploy: ## remove the platform with its Secrets, but not its database
	kubectl delete --ignore-not-found -f eventing/ -f config/

status: ## what the platform looks like in the cluster
	kubectl -n $(NAMESPACE) get ksvc,broker,trigger,sinkbinding,apiserversource,pingsource,job,pod
	kubectl get namespace -l app.kubernetes.io/managed-by=codexk8s

cluster: ## say which cluster the commands here go to, and whether Knative runs there
	kubectl config current-context
	kubectl -n knative-serving get deployment
	kubectl -n knative-eventing get deployment

test-cluster: ## deploy, wait until every part is ready, show it
	@[ -n "$${KUBECONFIG:-}" ] || { echo "Set KUBECONFIG to a cluster with Knative Serving and Eventing that you may change." >&2; exit 1; }
	$(MAKE) deploy
	kubectl -n $(NAMESPACE) wait --for=condition=Complete job/migrate --timeout=5m
	kubectl -n $(NAMESPACE) wait --for=condition=Ready ksvc,broker,trigger --all --timeout=5m
	$(MAKE) status

# timekeeper is local to the cluster, so a short-lived pod asks it.
ASK = kubectl -n default run ask-timekeeper-$$RANDOM --rm -i --quiet --restart=Never --image=curlimages/curl:8.11.1 -- curl -sS --fail-with-body

dead-letters: ## the events that failed for good, as JSON
	@$(ASK) http://timekeeper.$(NAMESPACE).svc.cluster.local/dead-letters

replay: ## send one dead letter again: QUERY='function=…&source=…&id=…' from make dead-letters
	@[ -n "$(QUERY)" ] || { echo "Say which: make replay QUERY='function=…&source=…&id=…'" >&2; exit 1; }
	@$(ASK) -X POST 'http://timekeeper.$(NAMESPACE).svc.cluster.local/dead-letters/replay?$(QUERY)'
