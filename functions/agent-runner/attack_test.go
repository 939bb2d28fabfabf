package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"

	"codexk8s.dev/functions/agent-runner/internal/gateway"
	"codexk8s.dev/functions/agent-runner/internal/process"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/test/fakes/model"
)

// agentUser is the user of agents' pods.
const agentUser = 65532

// podAs starts the program as that user, with files of its own. Only root may.
func (w *world) podAs(uid int, environ ...string) *exec.Cmd {
	w.t.Helper()
	dir, err := os.MkdirTemp(w.dir, "pod")
	if err != nil {
		w.t.Fatal(err)
	}
	program := filepath.Join(dir, "agent-runner")
	data, err := os.ReadFile(os.Args[0])
	if err != nil {
		w.t.Fatal(err)
	}
	executable(w.t, program, data)
	for _, path := range []string{w.dir, filepath.Dir(w.dir)} {
		if err := os.Chmod(path, 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.Chown(dir, uid, uid); err != nil {
		w.t.Fatal(err)
	}
	return w.start(dir, program, &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}, environ...)
}

// users are those that the attacks are tried as.
func users() []int {
	if os.Getuid() == 0 {
		return []int{0, agentUser}
	}
	return []int{os.Getuid()}
}

// lookAround prints all that the agent's command can see of itself and of the processes above it: environments,
// arguments, open files and what they hold, memory maps.
const lookAround = `{ p=$$; while [ "$p" -gt 1 ]; do
  echo "== $p $(cat /proc/$p/comm)"
  tr '\0' '\n' </proc/$p/environ; tr '\0' '\n' </proc/$p/cmdline
  for f in /proc/$p/fd/*; do ls -l "$f"; if [ -f "$f" ]; then head -c 65536 "$f"; fi; done
  head -c 100 /proc/$p/maps >/dev/null && echo "maps of $p are open"
  p=$(sed 's/.*) //' /proc/$p/stat | cut -d' ' -f2)
done; grep -r run-token-for .. $HOME; true; } 2>/dev/null`

// The token of the run is in no environment, argument or file that a command of the agent can read, and what it
// finds instead opens neither the gateway nor the model's server.
func TestTheAgentCannotReachTheRunToken(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"builtin", "codex"} {
		for _, uid := range users() {
			t.Run(fmt.Sprintf("%s as %d", engine, uid), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, engine)
				w.script(model.Step{Run: lookAround + " >seen.txt; echo done"}, model.Step{Run: "mkdir -p greetings; echo Bonjour >greetings/french.txt"})
				if code := w.exit(w.podAs(uid, w.codex()...)); code != 0 {
					t.Fatalf("exit code %d", code)
				}
				seen, err := w.github.File(testRepo, "codexk8s/issue-1", "seen.txt")
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(seen, testToken) || strings.Contains(seen, "acme-token") {
					t.Error("the agent has seen the run token or a Git credential")
				}
				if strings.Count(seen, "== ") < 2 {
					t.Errorf("the attack has not looked at the processes above it:\n%s", seen)
				}
				runner := fmt.Sprintf("maps of %d are open", w.runner())
				if uid != 0 && strings.Contains(seen, runner) {
					t.Error("the runner's memory can be read")
				}
				if key := regexp.MustCompile(`agent-[0-9a-f]{64}`).FindString(seen); key != "" {
					w.opensNothing(t, key)
				} else if engine == "codex" {
					t.Error("the CLI has no key for the model?")
				}
			})
		}
	}
}

// opensNothing tries the key that the agent found where the run token would open something.
func (w *world) opensNothing(t *testing.T, key string) {
	t.Helper()
	gateway := gateway.Dial(w.gateway.url, key, "", 0)
	if _, err := gateway.GetGitCredential(context.Background(), &agentapi.GetGitCredentialRequest{}); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("the agent's key at the gateway: %v", err)
	}
	req, err := http.NewRequest(http.MethodGet, w.llm+"/models", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("the agent's key at the model's server: %s", res.Status)
	}
}

// What the agent left running, in a session of its own or with its parent gone, has ended before anything is looked at,
// and does not change what is pushed.
func TestProcessesThatTheAgentLeftAreGoneBeforeItsWorkIsTaken(t *testing.T) {
	t.Parallel()
	const endless = `i=0; while :; do i=$((i+1)); echo $i >server.$i.tmp; rm -f server.$i.tmp; done`
	commands := map[string]string{
		"setsid":      `setsid nohup sh -c '` + endless + `' >/dev/null 2>&1 & sleep 0.2`,
		"double fork": `(sh -c '` + endless + `' >/dev/null 2>&1 &) ; sleep 0.2`,
		"stubborn":    `setsid sh -c 'trap "" TERM HUP INT; ` + endless + `' >/dev/null 2>&1 & sleep 0.2`,
		"forking":     `setsid sh -c 'while :; do (sleep 1; exit) & echo x >f.tmp; rm -f f.tmp; sleep 0.01; done' >/dev/null 2>&1 & sleep 0.2`,
		"late":        `setsid sh -c 'sleep 1; while :; do echo x >>late.txt; done' >/dev/null 2>&1 & true`,
	}
	for _, engine := range []string{"builtin", "codex"} {
		for name, command := range commands {
			t.Run(engine+" "+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, engine)
				w.script(model.Step{Run: "mkdir -p greetings; echo Bonjour >greetings/french.txt"}, model.Step{Run: command})
				var alive []int
				credentials := 0
				w.hook(&w.before, func(step string) {
					if step != "gateway/GetGitCredential" {
						return
					}
					if credentials++; credentials > 2 { // those before the agent began
						alive = append(alive, below(t, w.runner())...)
					}
				})
				if code := w.exit(w.pod(w.codex()...)); code != 0 {
					t.Fatalf("exit code %d", code)
				}
				w.finishedOnce()
				if len(alive) > 0 {
					t.Errorf("processes %v were alive when a credential was asked for", alive)
				}
			})
		}
	}
}

// A program that the agent named in the platform's own git directory does not come to life after the agent's end.
func TestTheAgentsSettingsStartNothingAfterItsEnd(t *testing.T) {
	w := newWorld(t, "builtin")
	w.does(`echo '*.txt filter=x ident' >.gitattributes
		printf '[filter "x"]\n\tclean = "setsid sleep 60 >/dev/null 2>&1 </dev/null & cat"\n' | tee -a .git/config >>../git/config`)
	var alive []int
	credentials := 0
	w.hook(&w.before, func(step string) {
		if step == "gateway/GetGitCredential" {
			if credentials++; credentials > 2 {
				alive = append(alive, below(t, w.runner())...)
			}
		}
	})
	if code := w.exit(w.pod()); code != 0 || w.gateway.report().GetOutcome() != "succeeded" {
		t.Fatalf("exit code %d", code)
	}
	if len(alive) > 0 {
		t.Errorf("processes %v were alive when a credential was asked for", alive)
	}
}

// Settings in the agent's home and in the pod's environment have no part in how the platform's git works.
func TestTheAgentsHomeHasNoPartInThePush(t *testing.T) {
	w := newWorld(t, "builtin")
	target, err := url.Parse(w.github.URL())
	if err != nil {
		t.Fatal(err)
	}
	next, users := httputil.NewSingleHostReverseProxy(target), make(chan string, 100)
	w.answer("git-receive-pack", func(rw http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		users <- user
		next.ServeHTTP(rw, r)
	})
	w.does(`cd; mkdir -p .config/git .ssh
		echo machine 127.0.0.1 login evil password evil | tee .netrc >.config/netrc
		printf '[core]\n\tfsmonitor = touch ~/acted\n\tsshCommand = touch ~/acted\n\taskPass = touch ~/acted\n[credential]\n\thelper = "!touch ~/acted; :"\n[filter "x"]\n\tclean = touch ~/acted; cat\n[http]\n\tproxy = http://127.0.0.1:9\n' | tee .gitconfig >.config/git/config
		echo '* filter=x' >.config/git/attributes; echo '*' >.config/git/ignore; echo 'ProxyCommand touch ~/acted' >.ssh/config`)
	dir := t.TempDir()
	if code := w.exit(w.podIn(dir, "XDG_CONFIG_HOME="+dir+"/.config", "NETRC="+dir+"/.netrc", "CURL_HOME="+dir,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=core.fsmonitor", "GIT_CONFIG_VALUE_0=touch "+dir+"/acted", "GIT_SSH_COMMAND=touch "+dir+"/acted",
		"GIT_ASKPASS=/bin/false", "GIT_DIR=/none", "GIT_INDEX_FILE=/none", "GIT_OBJECT_DIRECTORY=/none", "GIT_TRACE_CURL="+dir+"/acted")); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.finishedOnce()
	if _, err := os.Stat(filepath.Join(dir, "acted")); err == nil {
		t.Error("a setting of the agent's home acted")
	}
	close(users)
	for user := range users {
		if user == "evil" {
			t.Error("git took a password out of the agent's home")
		}
	}
}

// A credential that may write is asked for when the model has been asked for the last time, and not before.
func TestUntilTheAgentHasFinishedCredentialsOnlyRead(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"builtin", "codex"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine)
			during := 0
			w.hook(&w.before, func(step string) {
				if strings.HasPrefix(step, "model ") {
					w.gateway.change(func(g *fakeGateway) {
						if during = len(g.credentials); slices.Contains(g.credentials, true) {
							t.Error("a credential that may write was asked for before the agent had finished")
						}
					})
				}
			})
			if code := w.exit(w.pod(w.codex()...)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			w.finishedOnce()
			if during == 0 || !slices.Contains(w.gateway.credentials[during:], true) {
				t.Errorf("credentials %v, %d of them before the end of the agent", w.gateway.credentials, during)
			}
		})
	}
}

// below lists the descendants of a process.
func below(t *testing.T, pid int) []int {
	all, err := process.Descendants(pid)
	if err != nil {
		t.Error(err)
	}
	return all
}

// A server that sends elsewhere is not followed with the token.
func TestTheTokenFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	w := newWorld(t, "builtin")
	other := w.serve("other", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") }))
	w.llm = w.serve("model", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, other+r.URL.Path, http.StatusTemporaryRedirect)
	})) + "/v1"
	w.failsWith(0, reason.Engine)
	select {
	case header := <-got:
		t.Errorf("the other server was sent %q", header)
	default:
	}
}

// The program's own environment has no token from its second life on, not even for root.
func TestTheProgramsEnvironmentIsClean(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.hook(&w.before, func(step string) {
		if step == "gateway/GetAssignment" {
			data, _ := os.ReadFile("/proc/" + strconv.Itoa(w.runner()) + "/environ") // not readable is as good
			if strings.Contains(string(data), testToken) {
				t.Error("the token is in the program's environment")
			}
		}
	})
	if code := w.exit(w.pod()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
}
