package load

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"

	"codexk8s.dev/test/local/build"
	"codexk8s.dev/test/local/manifest"
)

const root = "../.."

// functions are the Services of config/.
var functions = sync.OnceValues(func() ([]*servingv1.Service, error) {
	set, err := manifest.Load(filepath.Join(root, "config"))
	if err != nil {
		return nil, err
	}
	return set.Services, nil
})

// binaries are the programs of all Services, by image, built with the flags that ko builds them with. They are kept in
// .bin, where the go command leaves alone what is up to date: linking all of them takes a while.
var binaries = sync.OnceValues(func() (map[string]string, error) {
	services, err := functions()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, "ko.yaml"))
	if err != nil {
		return nil, err
	}
	var ko struct {
		Flags   []string `json:"defaultFlags"`
		Ldflags []string `json:"defaultLdflags"`
	}
	if err := yaml.Unmarshal(text, &ko); err != nil || len(ko.Ldflags) == 0 {
		return nil, errors.Join(errors.New("ko.yaml says no flags"), err)
	}
	dir, err := filepath.Abs(filepath.Join(root, ".bin", "load")) // programs are started in other directories
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var programs []string
	for _, s := range services {
		programs = append(programs, strings.TrimPrefix(s.Spec.Template.Spec.Containers[0].Image, "ko://"))
	}
	cmd := exec.Command("go", slices.Concat([]string{"build", "-o", dir + "/", "-ldflags", strings.Join(ko.Ldflags, " ")}, ko.Flags, programs)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // ko's default
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the functions: %w\n%s", err, said)
	}
	return build.Prebuilt(dir, programs)
})

// binary is the program of one function.
func binary(b *testing.B, name string) string {
	b.Helper()
	all, err := binaries()
	if err != nil {
		b.Fatal(err)
	}
	path, ok := all["ko://codexk8s.dev/functions/"+name]
	if !ok {
		b.Fatalf("config/ has no Service for %s", name)
	}
	return path
}

// quantile returns the q-th of the times in milliseconds. It sorts them.
func quantile(took []time.Duration, q float64) float64 {
	slices.Sort(took)
	return took[int(q*float64(len(took)-1)+0.5)].Seconds() * 1e3
}
