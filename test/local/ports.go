package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A Job that a function has made holds the addresses of Services as that function saw them, and it outlives the
// platform. So the Services of the next platform on this state listen where they did before, as they keep their names
// in a cluster.

func (p *Platform) portsFile() string { return filepath.Join(p.dir, "ports.json") }

// readPorts answers where the Services listened the last time, by name.namespace.
func (p *Platform) readPorts() (map[string]int, error) {
	ports := map[string]int{}
	data, err := os.ReadFile(p.portsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return ports, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the ports of the services: %w", err)
	}
	if err := json.Unmarshal(data, &ports); err != nil {
		return nil, fmt.Errorf("reading %s: %w", p.portsFile(), err)
	}
	return ports, nil
}

func (p *Platform) writePorts() error {
	ports := map[string]int{}
	for host, s := range p.services {
		if _, ok := p.options.Ports[s.Name()]; !ok {
			ports[host] = s.Port()
		}
	}
	data, err := json.Marshal(ports)
	if err != nil {
		return fmt.Errorf("writing the ports of the services: %w", err)
	}
	if err := os.WriteFile(p.portsFile(), data, 0o600); err != nil {
		return fmt.Errorf("writing the ports of the services: %w", err)
	}
	return nil
}
