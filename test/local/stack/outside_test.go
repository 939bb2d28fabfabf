package stack

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// variables are all that FromEnvironment reads and a person's shell may hold.
var variables = []string{"DATABASE_URL", "KUBECONFIG", "AGENT_IMAGE", "AGENT_GATEWAY_URL", "LLM_URL", "LISTEN_ADDRESS", "GATEWAY_PEERS",
	"GATEWAY_PORTS", "DNS_PEERS", "GIT_CIDRS", "GIT_PORTS", "ISOLATION_PROBE", "GITHUB_TOKEN", "GITHUB_APP_ID", "GITHUB_APP_PRIVATE_KEY", "GITHUB_API_URL",
	"GITHUB_WEBHOOK_SECRETS", "PROJECTS_FILE", "OPENAI_API_KEY", "OPENAI_BASE_URL", "AGENT_ENGINE"}

func setOnly(t *testing.T, values map[string]string) {
	t.Helper()
	for _, name := range variables {
		t.Setenv(name, values[name])
	}
}

// An incomplete or impossible set of variables is refused by naming what to give.
func TestTheEnvironmentMustBeComplete(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cluster := func(more map[string]string) map[string]string {
		set := map[string]string{"KUBECONFIG": file, "AGENT_IMAGE": "registry.test/agent:1", "AGENT_GATEWAY_URL": "http://192.0.2.7:8103", "LLM_URL": "http://192.0.2.7:8104/v1"}
		maps.Copy(set, more)
		return set
	}
	for name, step := range map[string]struct {
		set  map[string]string
		want string // in the error; empty means none
	}{
		"nothing":                           {nil, ""},
		"a cluster without addresses":       {map[string]string{"KUBECONFIG": file}, "give AGENT_IMAGE, AGENT_GATEWAY_URL and LLM_URL"},
		"a cluster that has no file":        {cluster(map[string]string{"KUBECONFIG": file + "2", "LISTEN_ADDRESS": "0.0.0.0"}), "KUBECONFIG: stat"},
		"an address of another machine":     {cluster(nil), "LISTEN_ADDRESS, 0.0.0.0 for every network"},
		"something in front":                {cluster(map[string]string{"LISTEN_ADDRESS": "0.0.0.0"}), ""},
		"loopback":                          {cluster(map[string]string{"LLM_URL": "http://localhost:8104/v1"}), "LISTEN_ADDRESS"},
		"loopback first":                    {cluster(map[string]string{"AGENT_GATEWAY_URL": "http://127.0.0.1:8103"}), "in a pod that is the pod itself"},
		"no address":                        {cluster(map[string]string{"AGENT_GATEWAY_URL": "gateway"}), "want an address like http://"},
		"one port for two":                  {cluster(map[string]string{"LISTEN_ADDRESS": "0.0.0.0", "LLM_URL": "http://192.0.2.7:8103/v1"}), "need different ports"},
		"a name that only pods know":        {cluster(map[string]string{"LISTEN_ADDRESS": "0.0.0.0", "LLM_URL": "http://llm.invalid:8104/v1"}), "say in GATEWAY_PEERS"},
		"a name that only pods know, peers": {cluster(map[string]string{"LISTEN_ADDRESS": "0.0.0.0", "LLM_URL": "http://llm.invalid:8104/v1", "GATEWAY_PEERS": "192.0.2.0/24"}), ""},
		"half an App":                       {map[string]string{"GITHUB_APP_ID": "1"}, "only one is set"},
		"a token alone":                     {map[string]string{"GITHUB_TOKEN": "t"}, "also give GITHUB_WEBHOOK_SECRETS"},
		"a token without a projects file":   {map[string]string{"GITHUB_TOKEN": "t", "GITHUB_WEBHOOK_SECRETS": "s", "PROJECTS_FILE": file + "2"}, "PROJECTS_FILE: stat"},
		"an unknown engine":                 {map[string]string{"AGENT_ENGINE": "other"}, "give codex or builtin"},
	} {
		t.Run(name, func(t *testing.T) {
			setOnly(t, step.set)
			_, err := FromEnvironment()
			if step.want == "" && err != nil || step.want != "" && (err == nil || !strings.Contains(err.Error(), step.want)) {
				t.Errorf("got %v, want %q", err, step.want)
			}
		})
	}
}

// A database that does not answer, or is none, is named before anything is built; its password is not shown.
func TestTheDatabaseMustAnswer(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://me:hidden@127.0.0.1:1/x":   "connecting to the database of DATABASE_URL; correct it",
		"postgres://me:hidden@127.0.0.1:one/x": "DATABASE_URL is not a Postgres URL",
	} {
		_, err := Start(t.Context(), Options{Outside: Outside{DatabaseURL: url}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: got %v", url, err)
		}
	}
}

// From the two URLs follows where to listen and what agents' network policies open; what is given wins.
func TestWherePodsReachThisMachine(t *testing.T) {
	own := ownAddress()
	if own == "ADDRESS" {
		t.Fatal("this machine has no address but loopback: give it a network")
	}
	o := Outside{AgentImage: "i", GatewayURL: "http://" + own + ":8203", LLMURL: "http://" + own + ":8204/v1"}
	if strings.Contains(own, ":") {
		o.GatewayURL, o.LLMURL = "http://["+own+"]:8203", "http://["+own+"]:8204/v1"
	}
	cidr := ranges(addressesOf(own))[0]
	env := map[string]string{"AGENT_IMAGE": "i", "AGENT_GATEWAY_URL": o.GatewayURL, "LLM_URL": o.LLMURL}
	with := func(more map[string]string) map[string]string {
		all := maps.Clone(env)
		maps.Copy(all, more)
		return all
	}
	open := map[string]string{"GATEWAY_PEERS": cidr, "GATEWAY_PORTS": "8203,8204"}
	given := map[string]string{"GATEWAY_PEERS": "ingress", "GATEWAY_PORTS": "80", "DNS_PEERS": "dns", "GIT_CIDRS": "192.0.2.0/24", "GIT_PORTS": "443"}
	all := o
	all.GatewayPeers, all.GatewayPorts, all.DNSPeers, all.GitCIDRs, all.GitPorts = "ingress", "80", "dns", "192.0.2.0/24", "443"
	front := o
	front.ListenAddress, front.LLMURL = "0.0.0.0", "https://192.0.2.9/v1"
	for name, step := range map[string]struct {
		outside Outside
		listen  string
		env     map[string]string
	}{
		"by this machine's address": {o, own + " 8203, " + own + " 8204", with(open)},
		"all given":                 {all, own + " 8203, " + own + " 8204", with(given)},
		"something in front": {front, "0.0.0.0 8203, 0.0.0.0 8104", with(map[string]string{
			"LLM_URL": front.LLMURL, "GATEWAY_PEERS": union([]string{cidr, "192.0.2.9/32"}), "GATEWAY_PORTS": "443,8203"})},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := step.outside.reach()
			if err != nil {
				t.Fatal(err)
			}
			listen := fmt.Sprintf("%s %d, %s %d", r.hosts["agent-gateway"], r.ports["agent-gateway"], r.hosts["llm-caller"], r.ports["llm-caller"])
			if diff := cmp.Diff(step.listen, listen); diff != "" {
				t.Errorf("it listens (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(step.env, r.env); diff != "" {
				t.Errorf("agent-launcher's variables (-want +got):\n%s", diff)
			}
		})
	}
}
