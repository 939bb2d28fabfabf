package conventions_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rooms are the packages below functions/<name>/internal, and which of their neighbours each imports. The function's
// package comment draws the same. Every room is wired by its main, and no arrow runs back.
var rooms = map[string]map[string][]string{
	"agent-launcher": {
		"postgres": nil,
	},
	"console": {
		"api":    nil,
		"filter": nil,
		"graph":  nil,
		"page":   {"api", "graph", "sgr"},
		"sgr":    nil,
	},
	"agent-runner": {
		"checkout": nil,
		"engine":   {"gateway", "model", "outcome", "process"},
		"gateway":  nil,
		"model":    nil,
		"outcome":  nil,
		"probe":    nil,
		"process":  nil,
		"pull":     {"outcome"},
		"session":  {"checkout", "engine", "gateway"},
	},
	"github-caller": {"prereview": nil},
}

// TestRooms holds a function's rooms to their arrows.
func TestRooms(t *testing.T) {
	got := map[string]map[string][]string{}
	for _, s := range sources(t) {
		function, room, ok := strings.Cut(strings.TrimPrefix(s.dir, "functions/"), "/internal/")
		if !ok || s.isTest() || !strings.HasPrefix(s.dir, "functions/") {
			continue
		}
		if got[function] == nil {
			got[function] = map[string][]string{}
		}
		neighbours := got[function][room]
		for _, path := range s.imports() {
			if neighbour, ours := strings.CutPrefix(path, module+"functions/"+function+"/internal/"); ours && !slices.Contains(neighbours, neighbour) {
				neighbours = append(neighbours, neighbour)
			}
		}
		slices.Sort(neighbours)
		got[function][room] = neighbours
	}
	if diff := cmp.Diff(rooms, got); diff != "" {
		t.Errorf("who imports whom (-want +got):\n%s", diff)
	}
}
