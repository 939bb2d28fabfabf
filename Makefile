# Everything a person needs, by name. `make` alone lists it.

SHELL      := bash
.SHELLFLAGS := -euo pipefail -c
BIN        := .bin
TOOLS_MOD  := -modfile=test/tools.mod
NAMESPACE  := codexk8s
# The vulnerability database: Go's own, or a copy for machines without internet.
VULNDB     ?= $(realpath ../shared/vulndb)
VULNFLAGS  := $(if $(VULNDB),-db file://$(VULNDB))
# need TOOL...: a recipe's first line; says what is missing before any work.
NEED       := @test/need

.DEFAULT_GOAL := help
.PHONY: help run demo cli conform tools tools-here for-images for-cluster for-test-cluster test test-clock check chaos test-upgrade bench generate agent-image postgres-image preflight render deploy try-secrets undeploy status cluster test-cluster test-api doctor dead-letters replay link-code labels explain simulate backtest usage

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Compiles the program that compiles and starts the rest.
PREPARE = [ -e $(BIN)/run ] || echo "Compiling; the first time takes a few minutes."; go build -o $(BIN)/run ./test/local/run

run: ## the whole platform on this machine, with a demo repository; FRESH=1 starts over
	$(NEED) go
	@$(PREPARE)
	@exec $(BIN)/run

demo: ## play one story from label to approved pull request, and exit; STORY=approval: an agent asks people in chats; STORY=budget: a run reaches its budget; STORY=idea-to-ops: all stages
	$(NEED) go
	@$(PREPARE)
	@exec $(BIN)/run -demo -story "$(STORY)"

cli: ## build codexk8s, the console for the command line, into .bin
	$(NEED) go
	@go build -o $(BIN)/codexk8s ./functions/console/cli
	@echo "$(BIN)/codexk8s: make a token at https://<console>/tokens, then codexk8s auth login https://<console>"

conform: ## tell the author of an HTTP approver what it fails: URL=https://… and, if there are, SECRET=… PRESS=command RESTART=command
	$(NEED) go URL="where the adapter serves /approve and /execute, for example http://localhost:8080"
	@go build -o $(BIN)/conform ./test/conform
	@exec $(BIN)/conform

# --- tests ---------------------------------------------------------------------

# What tests need besides Go. npm writes the stamp's file itself; touch makes it newer than the lock file.
NPM_STAMP := test/node_modules/.package-lock.json

tools: tools-here $(NPM_STAMP) ## install what tests need and this machine lacks: git, Postgres, npm, Chromium, the Codex CLI

tools-here:
	$(NEED) chromium go git npm postgres $(NEEDED)

$(NPM_STAMP): test/package-lock.json
	npm ci --prefix test --no-audit --no-fund
	@touch $@

test: tools ## every test that needs no cluster
	go test ./...

# Runs a command on another day: at +400d COMMAND. Each shift compiles everything once. The shell stays: a shared memory of
# libfaketime goes with the process that made it, and what is started later can't do without.
CLOCK ?= $(realpath ../shared/clock/at)
SHIFT ?= +400d -400d +3y

test-clock: ## every test that needs no cluster, on other days; SHIFT="+400d -400d +3y"
	@[ -x "$(CLOCK)" ] || { echo "Set CLOCK to a program that runs a command with all clocks moved (Go's, Postgres', git's): \$$CLOCK +400d COMMAND" >&2; exit 1; }
	@$(MAKE) --no-print-directory tools
	@failed=; for shift in $(SHIFT); do \
	  echo "== $$shift: $$($(CLOCK) $$shift date -u +%F)"; \
	  $(CLOCK) $$shift sh -c 'go test -timeout 20m ./...; exit $$?' || failed="$$failed $$shift"; done; \
	[ -z "$$failed" ] || { echo "Tests that depend on the day failed at:$$failed" >&2; exit 1; }

# All see the race build, so that everything is compiled once. The race detector takes a C compiler.
check: GOFLAGS_RACE = GOFLAGS="$(shell go env GOFLAGS) -race"
check: NEEDED = gcc
check: tools $(BIN)/golangci-lint $(BIN)/govulncheck ## what CI runs: format, vet, lint, vulnerabilities, tidy, race tests
	@out=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); [ -z "$$out" ] || { echo "gofmt these: $$out" >&2; exit 1; }
	go mod tidy -diff
	$(GOFLAGS_RACE) go vet ./...
	$(GOFLAGS_RACE) $(BIN)/golangci-lint run ./...
	$(BIN)/govulncheck $(VULNFLAGS) ./...
	go test -race -p 2 -timeout 15m ./...
	$(GOFLAGS_RACE) go vet -tags 'cluster apiserver upgrade pressure' ./test/cluster/...
	@if [ -n "$(CLUSTER_KIT)" ] && [ -x $(CLUSTER_HOME)/bin/kubeall ]; then $(GOFLAGS_RACE) $(MAKE) --no-print-directory test-api; \
	else echo "Not run, for want of a cluster kit (make cluster): make test-api" >&2; fi

$(BIN)/golangci-lint: test/tools.mod
	go build $(TOOLS_MOD) -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(BIN)/govulncheck: test/tools.mod
	go build $(TOOLS_MOD) -o $@ golang.org/x/vuln/cmd/govulncheck

ISSUES ?= 500

chaos: tools ## the kill test at length: 500 labelled issues while everything dies, ISSUES=…; then each function dies after each thing that it does for a question
	go test ./test/chaos -v -count=1 -timeout 60m -issues $(ISSUES)
	go test ./test/chaos -v -count=1 -timeout 4h -run WhateverStep -dying all -effects

RELEASE ?= HEAD~1

test-upgrade: tools ## upgrade from an earlier release with runs in flight, and go back; RELEASE=<revision>
	go test -tags upgrade ./test/chaos -run Upgrade -v -count=1 -timeout 20m -from $(RELEASE)

bench: tools ## the benchmarks, packages one after the other
	go test -p 1 -run '^$$' -bench . -benchtime 2s -timeout 20m \
	  $$(grep -rl --include='*_test.go' --exclude-dir=node_modules '^func Benchmark' . | xargs -n 1 dirname | sort -u)

generate: ## the Go code of the Session API from its proto file, and of the console's API from its contract; htmx from npm (needs protoc)
	$(NEED) go npm protoc
	cd functions/console/internal/api && go tool -modfile=$(CURDIR)/test/tools.mod oapi-codegen -config config.yaml -o server.gen.go openapi.yaml
	sed -i '/^\/\/ Package api provides/d; s/^package api$$/\n&/' functions/console/internal/api/server.gen.go # api.go has the package's comment
	mkdir -p $(BIN)
	npm pack --silent --pack-destination $(BIN) htmx.org@4.0.1
	tar -xzOf $(BIN)/htmx.org-4.0.1.tgz package/dist/htmx.min.js >functions/console/internal/page/static/htmx.js
	go build -o $(BIN)/ google.golang.org/protobuf/cmd/protoc-gen-go connectrpc.com/connect/cmd/protoc-gen-connect-go
	PATH="$(CURDIR)/$(BIN):$$PATH" protoc -I . --go_out=. --go_opt=module=codexk8s.dev \
	  --connect-go_out=. --connect-go_opt=module=codexk8s.dev,package_suffix=,simple shared/agentapi/session.proto

# --- a cluster -------------------------------------------------------------------

# Components to deploy besides config/ and eventing/: names in config/overlays, or paths of
# your own. OVERLAY="try full-env ../ours"
OVERLAY           ?=
# Flags for ko besides ko.yaml, say KO_FLAGS="--platform linux/amd64"
KO_FLAGS          ?=
GITHUB_REPOSITORY ?=
# With OVERLAY=chats: CHATS="10.1.2.3/32:8065 mattermost:8065"
CHATS             ?=
# The images that `make agent-image` and `make postgres-image` pushed last, or yours.
AGENT_BASE        ?= $(shell cat $(BIN)/agent-base 2>/dev/null)
POSTGRES_IMAGE    ?= $(shell cat $(BIN)/postgres 2>/dev/null)
# A cluster on this machine, where there is such a kit: see its README.
CLUSTER_KIT       ?= $(realpath ../shared/cluster)
CLUSTER_HOME      ?= $(HOME)/.cache/codexk8s-cluster
# What the commands below `doctor` are about.
QUERY             ?=
LOGIN             ?=
REPOSITORY        ?=
ISSUE             ?=
EVENT             ?=
PROCESS           ?=
BEFORE            ?=
SINCE             ?=
BY                ?=
O                 ?=
export BY QUERY LOGIN REPOSITORY ISSUE EVENT PROCESS BEFORE SINCE O OVERLAY KO_FLAGS AGENT_BASE GITHUB_REPOSITORY CHATS POSTGRES_IMAGE

$(BIN)/crane: test/tools.mod
	go build $(TOOLS_MOD) -o $@ github.com/google/go-containerregistry/cmd/crane

# push SCRIPT,NAME: builds and pushes an image, and remembers its digest.
define push
	@CRANE="$(CURDIR)/$(BIN)/crane" $(1) "$$KO_DOCKER_REPO/$(2)" >$(BIN)/$(2).new
	@mv $(BIN)/$(2).new $(BIN)/$(2)
	@cat $(BIN)/$(2)
endef

# What images are made with; FROM stands in for Debian's packages.
for-images:
	$(NEED) go gzip tar KO_DOCKER_REPO="the registry that images go to, for example ghcr.io/you/codexk8s" $(NEEDED)

agent-image: NEEDED = npm node openssl $(if $(FROM),,mmdebstrap)
agent-image: for-images $(BIN)/crane ## build and push the base image of agents' pods; PACKAGES="golang-go make" or FROM=<image> adds tools
	$(call push,functions/agent-runner/image/build,agent-base)

postgres-image: NEEDED = mmdebstrap
postgres-image: for-images $(BIN)/crane ## build and push the Postgres of OVERLAY=try, where Docker Hub can't be reached
	$(call push,config/overlays/try/image,postgres)

preflight: # names everything that is missing, at once
	@config/preflight

# What is deployed, as one kustomization.
RENDER = $(BIN)/overlay/kustomization.yaml
$(RENDER): FORCE
	@mkdir -p $(@D)
	@config/overlays/compose >$@

for-cluster:
	$(NEED) kubectl

render: for-cluster $(RENDER) ## print the manifests of OVERLAY, before ko
	@kubectl kustomize $(BIN)/overlay

# ko.yaml with the agents' base image.
$(BIN)/ko.yaml: ko.yaml FORCE
	@mkdir -p $(@D)
	@sed 's#agent-base\.invalid/[^ ]*#$(AGENT_BASE)#' $< >$@
FORCE:

# Plain config/ and eventing/ go to ko as they are, overlays through kustomize.
KO_APPLY = $(if $(OVERLAY),kubectl kustomize $(BIN)/overlay |) KO_CONFIG_PATH=$(BIN)/ko.yaml ko apply $(KO_FLAGS) $(if $(OVERLAY),-f -,-f config/ -f eventing/)

deploy: preflight $(RENDER) $(BIN)/ko.yaml ## build the images and apply config/, eventing/ and OVERLAY to the cluster of KUBECONFIG
	kubectl apply -f config/100-namespace.yaml
	$(if $(filter try,$(OVERLAY)),@$(MAKE) --no-print-directory try-secrets)
	kubectl -n $(NAMESPACE) delete job migrate --ignore-not-found # a Job's pod template can't be changed
	@config/warm
	$(KO_APPLY) --selector codexk8s.dev/phase=migrate
	kubectl -n $(NAMESPACE) wait --for=condition=Complete job/migrate --timeout=5m || \
	  { kubectl -n $(NAMESPACE) logs job/migrate --tail=20; exit 1; }
	$(KO_APPLY)
	@kubectl -n $(NAMESPACE) delete sinkbinding --ignore-not-found $(notdir $(wildcard functions/*)) # earlier releases had one each

# What OVERLAY=try needs and nobody outside knows, at random, once.
try-secrets:
	@has() { kubectl -n $(NAMESPACE) get secret $$1 >/dev/null 2>&1; }; create() { kubectl -n $(NAMESPACE) create secret generic "$$@"; }; \
	password=$$(openssl rand -hex 24); \
	has codexk8s-database || { \
	  create codexk8s-postgres --from-file=password=<(printf %s "$$password") --dry-run=client -o yaml | kubectl apply -f -; \
	  create codexk8s-database --from-file=url=<(printf %s "postgres://codexk8s:$$password@postgres.$(NAMESPACE).svc.cluster.local:5432/codexk8s?sslmode=disable"); }; \
	has codexk8s-run-token || create codexk8s-run-token --from-file=key=<(printf %s "$$(openssl rand -hex 32)")

undeploy: for-cluster ## remove the platform with its Secrets and its runs, but not its database, unless it is the one of OVERLAY=try
	@$(if $(filter try,$(OVERLAY)),,! kubectl -n $(NAMESPACE) get statefulset postgres >/dev/null 2>&1 || \
	  { echo "This would remove the database too, which OVERLAY=try made. If you mean it: make undeploy OVERLAY=try" >&2; exit 1; })
	kubectl delete --ignore-not-found -f eventing/ # no new runs from here on
	@kubectl get namespace -l app.kubernetes.io/managed-by=codexk8s -o name | { grep ^namespace/codexk8s-run- || true; } | xargs -r kubectl delete
	kubectl delete --ignore-not-found -f config/
	@for file in config/overlays/*/*.yaml; do kubectl delete --ignore-not-found -f $$file 2>/dev/null || true; done # of whichever there were
	@left=$$(kubectl get namespace,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding -o name | grep /codexk8s || true); \
	  [ -z "$$left" ] || { printf 'Left behind:\n%s\n' "$$left" >&2; exit 1; }

status: for-cluster ## what the platform looks like in the cluster
	kubectl -n $(NAMESPACE) get ksvc,broker,trigger,sinkbinding,apiserversource,pingsource,job,pod
	kubectl get namespace -l app.kubernetes.io/managed-by=codexk8s

cluster: ## start a cluster on this machine if CLUSTER_KIT is here, else say which one KUBECONFIG names
ifneq ($(CLUSTER_KIT),)
	$(NEED) go
	$(CLUSTER_KIT)/build
	$(CLUSTER_KIT)/up
	@echo "Use it: . $(CLUSTER_HOME)/env   Stop it: $(CLUSTER_KIT)/down"
else
	$(NEED) kubectl
	kubectl config current-context
	kubectl -n knative-serving get deployment
	kubectl -n knative-eventing get deployment
endif

# Tests that are not part of the whole: each asks for a tag, and has it in its name.
ALONE = $(if $(UPGRADE),upgrade,$(if $(PRESSURE),pressure))

for-test-cluster:
	@[ -n "$${KUBECONFIG:-}" ] || [ ! -f $(CLUSTER_HOME)/env ] || . $(CLUSTER_HOME)/env; \
	test/need go git kubectl ko KUBECONFIG="a cluster with Knative that you may change, or make cluster" KO_DOCKER_REPO="the registry that images go to"

# The images that the tests deploy are built when their registry has none; a cluster on this machine can't reach Docker Hub.
test-cluster: for-test-cluster $(BIN)/crane ## the tests on a real cluster: that of KUBECONFIG, else that of make cluster; UPGRADE=1 or PRESSURE=1 for the two that are not part of it
	@[ -n "$${KUBECONFIG:-}" ] || [ ! -f $(CLUSTER_HOME)/env ] || . $(CLUSTER_HOME)/env; \
	kubectl version >/dev/null || exit; \
	has() { [ -n "$$1" ] && $(BIN)/crane digest "$$1" >/dev/null 2>&1; }; \
	has "$$AGENT_BASE" || { $(MAKE) --no-print-directory agent-image && export AGENT_BASE=$$(cat $(BIN)/agent-base); }; \
	case $$KUBECONFIG in $(CLUSTER_HOME)/*) \
	  has "$$POSTGRES_IMAGE" || { $(MAKE) --no-print-directory postgres-image && export POSTGRES_IMAGE=$$(cat $(BIN)/postgres); };; esac; \
	export TEST_HOST_IP=$${TEST_HOST_IP:-$${CLUSTER_HOST_IP:-}}; \
	go test -tags 'cluster apiserver $(ALONE)' -count 1 -p 1 -v -timeout 90m $(if $(ALONE),-run '(?i)$(ALONE)' ./test/cluster,./test/cluster/...)

# A cluster that runs already is used and left; one that is started for this goes again.
test-api: ## what a real API server says of manifests, rights and the objects of runs: that of KUBECONFIG, else the cluster kit's
	$(NEED) go
	@if [ -z "$${KUBECONFIG:-}" ]; then \
	  [ -n "$(CLUSTER_KIT)" ] && [ -x $(CLUSTER_HOME)/bin/kubeall ] || { echo "No API server: set KUBECONFIG to one that you may change, or make cluster." >&2; exit 1; }; \
	  [ -e $(CLUSTER_HOME)/state/up.api ] || trap '$(CLUSTER_KIT)/down' EXIT; \
	  $(CLUSTER_KIT)/up api >/dev/null; . $(CLUSTER_HOME)/env; fi; \
	go test -tags apiserver -count 1 ./test/cluster/api

# doctor WORDS: makes a Job of the CronJob doctor with these arguments, prints what it says and removes it. Fails as it does.
define doctor
	@set -- $(1); args=; for word in "$$@"; do \
	  word=$${word//\\/\\\\}; word=$${word//\"/\\\"}; args="$${args:+$$args, }\"$${word//$$'\n'/\\n}\""; done; \
	job=doctor-$$RANDOM$$RANDOM; k() { kubectl -n $(NAMESPACE) "$$@"; }; \
	k create job $$job --from=cronjob/doctor --dry-run=client -o json | \
	  kubectl patch --local -f - --type=json -o json -p '[{"op": "add", "path": "/spec/template/spec/containers/0/args", "value": ['"$$args"']}]' | \
	  k create -f - >/dev/null; \
	trap 'k delete job $$job --wait=false >/dev/null' EXIT; \
	until end=$$(k get job $$job -o jsonpath='{.status.succeeded}/{.status.failed}'); [ "$$end" != / ]; do \
	  if ((SECONDS > 90)) && [ "$$(k get pod -l job-name=$$job -o jsonpath='{.items[*].status.phase}')" != Running ]; then \
	    echo "The doctor does not start:" >&2; k describe pod -l job-name=$$job | sed -n '/^Events/,$$p' >&2; exit 1; fi; \
	  sleep 1; done; \
	k logs job/$$job; [ "$$end" = 1/ ]
endef

doctor: for-cluster ## is all well? names what is wrong and what to do; O=json for programs
	@for secret in codexk8s-database codexk8s-run-token codexk8s-github; do \
	  kubectl -n $(NAMESPACE) get secret $$secret -o name >/dev/null || missing=1; done; \
	[ -z "$${missing:-}" ] || { echo "Make these Secrets: config/100-namespace.yaml says how. Pods can't start without." >&2; exit 1; }
	$(call doctor,$(if $(O),-o "$$O"))

dead-letters: for-cluster ## the events that failed for good, with the command to replay each; O=json for programs
	$(call doctor,dead-letters $(if $(O),-o "$$O"))

replay: for-cluster ## send one dead letter again: QUERY='function=…&source=…&id=…' from make dead-letters
	@[[ "$$QUERY" =~ ^[A-Za-z0-9%=\&_.~:/+@#-]+$$ ]] || { echo "Say which, as make dead-letters prints it: make replay QUERY='function=…&source=…&id=…'" >&2; exit 1; }
	$(call doctor,replay "$$QUERY")

link-code: for-cluster ## a one-time code by which a member links their account of a chat: LOGIN=bob
	@[[ "$$LOGIN" =~ ^[A-Za-z0-9_-]+$$ ]] || { echo "Say for whom, by the login on GitHub: make link-code LOGIN=bob" >&2; exit 1; }
	$(call doctor,link-code "$$LOGIN")

labels: for-cluster ## make the process's labels in a bound repository, and put right those that look otherwise: REPOSITORY=owner/name
	@[[ "$$REPOSITORY" =~ ^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$$ ]] || { echo "Say in which repository: make labels REPOSITORY=owner/name" >&2; exit 1; }
	$(call doctor,labels "$$REPOSITORY")

# ask WORDS: the doctor in the cluster or, with DATABASE_URL, one that is built and run here, beside `make run` for example.
ask = $(if $(DATABASE_URL),@go build -o $(BIN)/doctor ./functions/doctor && exec $(BIN)/doctor $(1),$(call doctor,$(1)))

explain: ## what started and stopped on an issue, and why; what would now: ISSUE=owner/repo#12; BEFORE=… pages back, O=json for programs
	$(NEED) $(if $(DATABASE_URL),go,kubectl) ISSUE="the issue or its pull request, for example acme/shop#12"
	$(call ask,explain $(if $(O),-o "$$O") $(if $(BEFORE),-before "$$BEFORE") -- "$$ISSUE")

simulate: ## what an event would do, and nothing is done: ISSUE=owner/repo#12 EVENT='label run:dev by bob'
	$(NEED) $(if $(DATABASE_URL),go,kubectl) ISSUE="the issue, for example acme/shop#12" EVENT="what somebody might do, for example label run:dev by bob"
	$(call ask,simulate $(if $(O),-o "$$O") -- "$$ISSUE" "$$EVENT")

backtest: ## what the recorded events would have done by another process: PROCESS=file; SINCE=2026-11-01 shortens it
	$(NEED) $(if $(DATABASE_URL),go,kubectl) PROCESS="the file of the changed process, for example a copy of shared/stage/process.yaml"
	@[ -r "$$PROCESS" ] || { echo "There is no file $$PROCESS" >&2; exit 1; }
	$(call ask,backtest $(if $(O),-o "$$O") $(if $(SINCE),-since "$$SINCE") -- "$$(base64 <"$$PROCESS" | tr -d '\n')")

usage: ## what was spent in the last 30 days: BY=project|role|model|issue, SINCE=2026-11-01, O=csv or O=json for programs
	$(NEED) $(if $(DATABASE_URL),go,kubectl)
	$(call ask,usage $(if $(O),-o "$$O") $(if $(BY),-by "$$BY") $(if $(SINCE),-since "$$SINCE"))
