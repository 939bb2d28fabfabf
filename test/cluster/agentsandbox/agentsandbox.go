// Package agentsandbox fetches the release of kubernetes-sigs/agent-sandbox that the platform is tested with. It is no
// dependency of the product, so it is not in go.mod.
package agentsandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// The release, and what Go's checksum has to be: the public database of checksums doesn't know it.
const (
	module   = "sigs.k8s.io/agent-sandbox"
	release  = "v0.5.0"
	checksum = "h1:RDro6If6nsoFJL/M6lAfGi06SvwTlcBORLNaVjVV6G0="
)

// Files of the release, in the folder that Fetch returns.
const (
	Definition = "k8s/crds/agents.x-k8s.io_sandboxes.yaml"
	Rights     = "k8s/rbac.generated.yaml"
	Controller = "k8s/controller.yaml" // its image is for ko
)

// Fetch downloads the module, checks it and returns its folder, which can only be read.
func Fetch(ctx context.Context) (dir string, err error) {
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", module+"@"+release)
	download.Dir = os.TempDir() // outside of our module
	download.Env = append(os.Environ(), "GONOSUMDB="+module)
	out, err := download.Output()
	var got struct{ Dir, Sum, Error string }
	if err := errors.Join(err, json.Unmarshal(out, &got)); err != nil {
		return "", fmt.Errorf("%s: %w, %s", download, err, got.Error)
	}
	if got.Sum != checksum {
		return "", fmt.Errorf("%s %s has the checksum %s, want %s", module, release, got.Sum, checksum)
	}
	return got.Dir, nil
}
