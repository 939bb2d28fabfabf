package conventions_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// bare are the commands that make and scripts take for granted.
var bare = []string{"awk", "basename", "bash", "cat", "dirname", "env", "grep", "head", "id", "ls", "make", "mkdir", "mv", "printenv", "realpath", "rm", "sed", "sort", "touch", "tr", "xargs"}

// bareMachine is a folder for PATH on which nothing is installed.
func bareMachine(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range bare {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// onBareMachine runs a command of this repository there and answers what it says; it has to fail.
func onBareMachine(t *testing.T, path string, command ...string) string {
	t.Helper()
	if command[0] == "make" {
		command = append(command, "BIN="+t.TempDir()) // without what was made here before
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(path, command[0]), command[1:]...)
	cmd.Dir = root
	cmd.Env = []string{"PATH=" + path, "HOME=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("%s succeeded where nothing is installed:\n%s", strings.Join(command, " "), out)
	}
	return string(out)
}

// TestTargetsNameWhatIsMissingBeforeTheyWork: all of it at once, and with where it comes from.
func TestTargetsNameWhatIsMissingBeforeTheyWork(t *testing.T) {
	path := bareMachine(t)
	tests := []string{"go: Go 1.26", "git", "npm"}
	for target, wants := range map[string][]string{
		"run": {"go: Go 1.26"}, "demo": {"go: Go 1.26"}, "conform": {"go: Go 1.26", "URL"}, "generate": {"go: Go 1.26", "protobuf-compiler"},
		"tools": tests, "test": tests, "chaos": tests, "test-upgrade": tests, "bench": tests, "check": append(tests, "gcc"),
		"agent-image":          {"go: Go 1.26", "mmdebstrap", "npm", "KO_DOCKER_REPO"},
		"agent-image FROM=x/y": {"go: Go 1.26", "npm", "KO_DOCKER_REPO"},
		"postgres-image":       {"go: Go 1.26", "mmdebstrap", "KO_DOCKER_REPO"},
		"deploy":               {"go: Go 1.26", "ko: https://ko.build", "kubectl: https://kubernetes.io", "KO_DOCKER_REPO", "make agent-image"},
		"test-cluster":         {"go: Go 1.26", "ko: https://ko.build", "kubectl: https://kubernetes.io", "KUBECONFIG", "KO_DOCKER_REPO"},
		"test-api":             {"go: Go 1.26"}, "cluster CLUSTER_KIT=": {"kubectl: https://"}, "render": {"kubectl: https://"}, "undeploy": {"kubectl: https://"},
		"status": {"kubectl: https://"}, "doctor": {"kubectl: https://"}, "dead-letters": {"kubectl: https://"}, "replay QUERY=x=y": {"kubectl: https://"},
	} {
		said := onBareMachine(t, path, append([]string{"make", "--no-print-directory"}, strings.Fields(target)...)...)
		for _, want := range wants {
			if !strings.Contains(said, want) {
				t.Errorf("make %s does not name %q:\n%s", target, want, said)
			}
		}
		if strings.Contains(said, "not found") || strings.Contains(said, "go build") {
			t.Errorf("make %s began to work:\n%s", target, said)
		}
		if strings.Contains(target, "FROM") && strings.Contains(said, "mmdebstrap") {
			t.Errorf("make %s asks for mmdebstrap, which it does not use:\n%s", target, said)
		}
	}
}

// TestWhatDebianHasIsInstalled: where that is allowed, and only if nothing else is missing.
func TestWhatDebianHasIsInstalled(t *testing.T) {
	path := bareMachine(t)
	log := filepath.Join(t.TempDir(), "log")
	write := func(name, script string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(path, name), []byte("#!"+filepath.Join(path, "bash")+"\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("apt-get", "echo apt-get $* >>"+log)
	write("sudo", `[ "$1" = -n ] && shift; exec "$@"`)
	write("true", "")
	said := onBareMachine(t, path, "bash", "test/need", "git", "ko")
	if _, err := os.Stat(log); err == nil || !strings.Contains(said, "ko: https") || !strings.Contains(said, "apt-get install git") {
		t.Errorf("something else is missing: %s, installed: %v", said, err == nil)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(path, "bash"), "test/need", "git", "gcc", "mmdebstrap")
	cmd.Dir, cmd.Env = root, []string{"PATH=" + path}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(log)
	if want := "apt-get update -q\napt-get install -y -q --no-install-recommends git gcc mmdebstrap libc6-dev\n"; err != nil || string(got) != want {
		t.Errorf("ran %q, %v, want %q", got, err, want)
	}
}
