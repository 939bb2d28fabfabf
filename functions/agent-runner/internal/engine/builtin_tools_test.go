package engine

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestToolsStayInTheWorkspace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	for path, content := range map[string]string{"a/b.txt": "hello", ".git/config": "secret", "bin": "\x00"} {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"out": outside, "outdir": filepath.Dir(outside), "git": ".git", "in": "a"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	tools := &toolbox{root: root, dir: dir}
	for _, c := range []struct{ tool, arguments, want string }{
		{"read_file", `{"path":"a/b.txt"}`, "hello"},
		{"read_file", `{"path":"in/b.txt"}`, "hello"},
		{"read_file", `{"path":"bin"}`, "error: bin is a binary file of 1 bytes"},
		{"read_file", `{"path":"out"}`, `error: the path "out" leads out of the repository`},
		{"read_file", `{"path":"outdir/secret"}`, `error: the path "outdir/secret" leads out of the repository`},
		{"write_file", `{"path":"outdir/new","content":"x"}`, `error: the path "outdir/new" leads out of the repository`},
		{"read_file", `{"path":"../x"}`, `error: the path "../x" is outside of the repository`},
		{"read_file", `{"path":"/etc/passwd"}`, `error: the path "/etc/passwd" is outside of the repository`},
		{"read_file", `{"path":".git/config"}`, "error: the .git folder is not yours to read or change"},
		{"write_file", `{"path":"git/hooks/x","content":""}`, "error: the .git folder is not yours to read or change"},
		{"write_file", `{"path":"a/.GIT/x","content":""}`, "error: the .git folder is not yours to read or change"},
		{"write_file", `{"path":"new/deep/f.txt","content":"äx"}`, "wrote 3 bytes to new/deep/f.txt"},
		{"list_files", `{"path":"."}`, "a/b.txt\nbin\ngit\nin\nnew/deep/f.txt\nout\noutdir\n"},
		{"list_files", `{"path":"nowhere"}`, "error: "},
		{"run", `{"command":"cat a/b.txt; echo oops >&2; exit 3"}`, "hellooops\n[exit code 3]"},
		{"finish", `{"summary":"done"}`, "done"},
		{"delete_everything", `{}`, `error: there is no tool "delete_everything"`},
		{"run", `not json`, "error: the arguments are not the JSON object that run takes"},
	} {
		got := tools.call(t.Context(), c.tool, c.arguments).text
		if got != c.want && !(strings.HasPrefix(c.want, "error: ") && strings.HasPrefix(got, c.want)) {
			t.Errorf("%s %s = %q, want %q", c.tool, c.arguments, got, c.want)
		}
	}
}

// What is in the workspace need not be a file, nor fit into memory: the model gets an answer all the same, at once.
func TestReadingWhatIsNoOrdinaryFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(in("pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("pipe", in("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in("hole"), []byte("\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(in("hole"), 1<<40); err != nil {
		t.Fatal(err)
	}
	long := "first\n" + strings.Repeat("a line of the file\n", 1<<16) + "last\n"
	for name, content := range map[string]string{"long": long, "full": strings.Repeat("x", maxToolOutput)} {
		if err := os.WriteFile(in(name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	tools := &toolbox{root: root, dir: dir}
	for arguments, want := range map[string]string{
		`read_file {"path":"pipe"}`:               "error: pipe is a folder, a pipe, a socket or a device, not a file",
		`read_file {"path":"link"}`:               "error: link is a folder, a pipe, a socket or a device, not a file",
		`read_file {"path":"."}`:                  "error: . is a folder, a pipe, a socket or a device, not a file",
		`write_file {"path":"pipe","content":""}`: "error: pipe is a folder, a pipe, a socket or a device, not a file",
		`read_file {"path":"hole"}`:               "error: hole is a binary file of 1099511627776 bytes",
		`read_file {"path":"full"}`:               strings.Repeat("x", maxToolOutput),
	} {
		tool, arguments, _ := strings.Cut(arguments, " ")
		if got := tools.call(t.Context(), tool, arguments).text; got != want {
			t.Errorf("%s %s: %.100q, want %.100q", tool, arguments, got, want)
		}
	}
	got, err := tools.readFile("long")
	if err != nil || !strings.HasPrefix(got, "first\n") || !strings.HasSuffix(got, "last\n") || len(got) > maxToolOutput+100 {
		t.Errorf("%d bytes, %v: %.20q … %q", len(got), err, got, got[max(0, len(got)-20):])
	}
	if _, kept, _ := strings.Cut(got, "["); !strings.Contains(kept, " bytes left out]") {
		t.Errorf("%.200q does not say that something is missing", kept)
	}
}

func TestACommandsOutputIsKeptWhatEverItLeavesRunning(t *testing.T) {
	t.Parallel()
	tools := &toolbox{dir: t.TempDir()}
	got, err := tools.run(t.Context(), "echo server on port 3000; sleep 30 & echo done")
	if want := "server on port 3000\ndone\n[what the command left running goes on, and its output is not shown]\n[exit code 0]"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if got, err = tools.run(t.Context(), "echo dying; kill -9 $$"); err != nil || got != "dying\n[ended by signal: killed]" {
		t.Errorf("%q, %v", got, err)
	}
}

// However much a command prints, what is kept of it is bounded, and its two ends are there.
func TestOutputIsBoundedInMemory(t *testing.T) {
	t.Parallel()
	var out output
	line := []byte(strings.Repeat("x", 1023) + "\n")
	_, _ = out.Write([]byte("first\n"))
	for range 64 << 10 {
		if n, err := out.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		if kept := cap(out.head) + cap(out.tail); kept > 1<<20 {
			t.Fatalf("%d bytes are kept", kept)
		}
	}
	_, _ = out.Write([]byte("last\n"))
	text := out.text()
	if !strings.HasPrefix(text, "first\n") || !strings.HasSuffix(text, "last\n") || len(text) > 2*maxToolOutput || !strings.Contains(text, "bytes left out]") {
		t.Errorf("%d bytes: %.40q … %q", len(text), text, text[len(text)-40:])
	}
}
