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

// binaries builds the programs of these images with the flags that ko builds them with, and returns their paths by
// image. They are kept in .bin, where the go command leaves alone what is up to date: linking takes a while.
func binaries(images ...string) (map[string]string, error) {
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
	for _, image := range images {
		programs = append(programs, strings.TrimPrefix(image, "ko://"))
	}
	cmd := exec.Command("go", slices.Concat([]string{"build", "-o", dir + "/", "-ldflags", strings.Join(ko.Ldflags, " ")}, ko.Flags, programs)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // ko's default
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the functions: %w\n%s", err, said)
	}
	return build.Prebuilt(dir, programs)
}

// quantile returns the q-th of the times in milliseconds. It sorts them.
func quantile(took []time.Duration, q float64) float64 {
	slices.Sort(took)
	return took[int(q*float64(len(took)-1)+0.5)].Seconds() * 1e3
}
