package chaos

import (
	"bytes"
	"flag"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local"
	"codexk8s.dev/test/local/pg"
)

// mayDie are the functions on a question's way, but for webhook-adapter, which is before it, and llm-caller, which the
// agent's engine asks again.
var mayDie = []string{
	"approval-callback", "approval-notifier", "approval-gate", "stage-router", "agent-gateway", "agent-launcher", "run-observer", "github-caller",
}

var (
	dying  = flag.String("dying", "approval-notifier,approval-gate", "functions that die at their steps, one at a time; all = each on the way")
	first  = flag.Int("first", 1, "the first step that is tried")
	stride = flag.Int("stride", 80, "one of so many steps is tried; 1 = each")
	made   = flag.Bool("effects", false, "they die after each of their effects instead")
)

// TestAnApprovalWhateverStepIsTheLast plays a question's way through the platform again and again:
//
//	label → run → Job → an agent asks → requested → opened → posted in each chat, the Job is over → click → voted →
//	decided → messages edited, the answer is on the run → its next Job → pull request
//
// Each time one of the functions is killed at another one of its steps, before it and after it, until it gets through
// without having reached the next one. Steps are its round trips to Postgres, the Broker, chats, GitHub and Kubernetes
// (see gate), and between two of them it changes nothing but its memory. So with -stride 1 no point is left out, and
// none is ever chosen at random. Whatever step was the last, people see one message in each chat, one vote counts, the
// run has one more Job and one pull request, and nothing is left over.
//
//	go test ./test/chaos -run WhateverStep -v -effects -dying all               everything that they can leave behind
//	go test ./test/chaos -run WhateverStep -v -stride 1 -dying approval-gate    every cut of one function, in an hour
func TestAnApprovalWhateverStepIsTheLast(t *testing.T) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // that a request broke is no news here
	names := strings.Split(*dying, ",")
	if *dying == "all" {
		names = mayDie
	}
	w, gates := gated(t, names)
	for _, name := range names {
		g := gates[name]
		t.Run(name, func(t *testing.T) {
			if *made {
				w.story(t, name, g, cut{step: 1}) // nothing is made yet
				t.Logf("%s died after %d effects", name, w.cuts(t, name, g, cut{step: *first, after: true, effects: true}, 1))
				return
			}
			for _, after := range []bool{false, true} {
				t.Logf("%s died at %d of its steps, after them: %t", name, w.cuts(t, name, g, cut{step: *first, after: after}, *stride), after)
			}
		})
	}
	if !t.Failed() {
		w.noDeadLetters()
		w.verifyAudit()
	}
}

// cuts plays a question for each cut from one on, until there is none left, and returns how many there were.
func (w *world) cuts(t *testing.T, name string, g *gate, at cut, stride int) (n int) {
	t.Helper()
	for ; !t.Failed() && w.story(t, name, g, at); at.step += stride {
		n++
	}
	return n
}

// inKubernetes are the functions that call its API.
var inKubernetes = []string{"agent-launcher", "run-observer"}

// gated starts the platform with a gate around each of the functions.
func gated(t *testing.T, functions []string) (*world, map[string]*gate) {
	t.Helper()
	server, err := pg.Start(t.Context(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if err := server.CreateDatabase(t.Context(), "codexk8s"); err != nil {
		t.Fatal(err)
	}
	gates, kubeconfigs := map[string]*gate{}, t.TempDir()
	w := start(t, 0, 1, func(o *local.Options) {
		o.Database.URL = server.URL("codexk8s")
		for _, name := range functions {
			g := &gate{}
			gates[name] = g
			env := map[string]string{
				"GITHUB_API_URL": o.ConfigMaps["codexk8s-settings"]["github-api-url"],
				"MATTERMOST_URL": o.ConfigMaps["codexk8s-settings"]["mattermost-url"],
				"JIRA_URL":       o.ConfigMaps["codexk8s-settings"]["jira-url"],
			}
			maps.Copy(env, o.Env[name])
			if name == "agent-gateway" {
				delete(env, "GITHUB_API_URL") // it tells its agents the same address, and asks there for their tokens only
			}
			for variable, value := range env {
				if strings.HasSuffix(variable, "_URL") {
					env[variable] = g.throughURL(t, plainHTTP, value)
				}
			}
			env["DATABASE_URL"] = g.throughURL(t, postgres, o.Database.URL)
			env["K_SINK"] = "http://" + g.through(t, plainHTTP, g.brokerAddress) + "/codexk8s/default"
			if slices.Contains(inKubernetes, name) {
				env["KUBECONFIG"], env["DISABLE_HTTP2"] = filepath.Join(kubeconfigs, name), "true"
			}
			o.Env[name] = env
		}
	})
	w.stack.Model.Behave(model.Behaviour{}) // no agent dies here, so none has to be caught at work
	for name, g := range gates {
		service, err := w.stack.Platform.Service(name)
		if err != nil {
			t.Fatal(err)
		}
		g.guard(func() { service.Kill() }, w.stack.Platform.Broker().Address())
		if slices.Contains(inKubernetes, name) {
			w.kubeconfig(t, name, filepath.Join(kubeconfigs, name), g)
		}
	}
	return w, gates
}

// kubeconfig leads a function to Kubernetes by way of its gate.
func (w *world) kubeconfig(t *testing.T, name, file string, g *gate) {
	t.Helper()
	server := w.stack.Platform.Kube.URL()
	if err := w.stack.Platform.Kube.WriteAccountConfig(file, "codexk8s", name); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, bytes.ReplaceAll(config, []byte(server), []byte(g.throughURL(t, tlsHTTP, server))), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
