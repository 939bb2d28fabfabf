package conventions_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWarmCompilesAsKoDoes: for ko.yaml's platforms or those of KO_FLAGS, without cgo, with ko.yaml's flags, and no
// program among what is compiled. Only then are ko's own builds found in the cache.
func TestWarmCompilesAsKoDoes(t *testing.T) {
	dir := t.TempDir()
	log, compiler := filepath.Join(dir, "log"), filepath.Join(dir, "go")
	script := `#!/bin/sh
if [ "$1" = list ]; then printf 'codexk8s.dev/shared/events\nunsafe\nfmt\n'; exit; fi
echo "CGO_ENABLED=$CGO_ENABLED $GOOS/$GOARCH ${GOARM-default} ${GOAMD64-default}: $*" >>` + log + "\n"
	if err := os.WriteFile(compiler, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	const packages = ": build -trimpath -tags=grpcnotrace,noprometheus codexk8s.dev/shared/events fmt\n"
	for flags, want := range map[string]string{
		"":                                "CGO_ENABLED=0 linux/amd64 default default" + packages + "CGO_ENABLED=0 linux/arm64 default default" + packages,
		"--jobs 2 --platform linux/arm64": "CGO_ENABLED=0 linux/arm64 default default" + packages,
		"--platform=linux/arm/v7,linux/amd64/v3 --verbose": "CGO_ENABLED=0 linux/arm 7 default" + packages + "CGO_ENABLED=0 linux/amd64 default v3" + packages,
		"--platform=all": "",
	} {
		if err := os.WriteFile(log, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(root, "config", "warm"))
		cmd.Env = append(os.Environ(), "KO_GO_PATH="+compiler, "KO_FLAGS="+flags)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", flags, err, out)
		}
		got, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("KO_FLAGS=%q (-want +got):\n%s", flags, diff)
		}
	}
}
