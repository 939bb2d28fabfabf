package graph_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/functions/console/internal/graph"
)

func TestDraw(t *testing.T) {
	nodes := []graph.Node{{Name: "plan", Leads: []string{"dev", "qa", "rethink"}}, {Name: "dev", Leads: []string{"qa", "dev", "gone"}}, {Name: "qa", Leads: []string{"plan"}}, {Name: "rethink", Beside: true, Leads: []string{"plan"}}}
	want := graph.Graph{
		Boxes: []graph.Box{{nodes[0], 1, 34}, {nodes[1], 138, 34}, {nodes[2], 275, 34}, {nodes[3], 1, 160}},
		Arrows: []graph.Arrow{
			{"plan", "dev", "M123 63H133"}, {"plan", "qa", "M72 34C72 10 326 10 326 29"}, {"dev", "qa", "M260 63H270"}, {"qa", "plan", "M326 92C326 116 72 116 72 97"},
		},
		Width: 398, Height: 253,
	}
	if diff := cmp.Diff(want, graph.Draw(nodes)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNothingOverlaps: of any number of stages.
func TestNothingOverlaps(t *testing.T) {
	for n := range 40 {
		var nodes []graph.Node
		for i := range n {
			nodes = append(nodes, graph.Node{Name: string(rune('a' + i)), Beside: i%5 == 4})
		}
		g := graph.Draw(nodes)
		if len(g.Boxes) != n {
			t.Fatalf("%d of %d stages are drawn", len(g.Boxes), n)
		}
		for i, a := range g.Boxes {
			if a.X < 0 || a.Y < 0 || a.X+a.Width() > g.Width || a.Y+a.Height() > g.Height {
				t.Errorf("of %d: %q is outside of the picture", n, a.Name)
			}
			for _, b := range g.Boxes[:i] {
				if a.X < b.X+a.Width() && b.X < a.X+a.Width() && a.Y < b.Y+a.Height() && b.Y < a.Y+a.Height() {
					t.Errorf("of %d: %q overlaps %q", n, a.Name, b.Name)
				}
			}
		}
	}
}
