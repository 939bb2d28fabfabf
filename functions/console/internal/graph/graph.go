// Package graph draws the stages of a process: where each box and each arrow is. Templates make SVG of it.
//
// Stages that are on a profile's way stand in one row, in their order, and wrap into a second one when there are many.
// Stages beside the ways stand in a row below. An arrow to the next box is straight; one that passes over boxes is an
// arc above the row if it leads on, and below it if it leads back. What leads to another row is not drawn: the table
// beside the picture names it.
//
// The package is pure.
package graph

import "fmt"

// A Node is a stage.
type Node struct {
	Name   string
	Beside bool     // it is on no way
	Leads  []string // names of nodes that may follow
}

// Measures, in units of the picture.
const (
	width, height = 122, 58 // of a box
	gap           = 15      // between boxes
	arc           = 34      // room above and below a row, for arcs
	perRow        = 11
)

// A Box is a node with its place: the upper left corner.
type Box struct {
	Node
	X, Y int
}

// Width is the box's.
func (Box) Width() int { return width }

// Height is the box's.
func (Box) Height() int { return height }

// An Arrow leads from one box to another.
type Arrow struct {
	From, To string
	Path     string // of SVG
}

// A Graph is the picture.
type Graph struct {
	Boxes  []Box
	Arrows []Arrow
	Width  int
	Height int
}

// Draw places the nodes.
func Draw(nodes []Node) Graph {
	var g Graph
	rows := rows(nodes)
	arcs := false
	at := map[string]Box{}
	for r, row := range rows {
		for c, n := range row {
			b := Box{Node: n, X: 1 + c*(width+gap), Y: arc + r*(height+2*arc)}
			at[n.Name] = b
			g.Boxes = append(g.Boxes, b)
			g.Width = max(g.Width, b.X+width+1)
		}
	}
	for _, from := range g.Boxes {
		for _, name := range from.Leads {
			to, known := at[name]
			if !known || to.Y != from.Y || to.X == from.X {
				continue
			}
			path, bent := arrow(from, to)
			arcs = arcs || bent
			g.Arrows = append(g.Arrows, Arrow{From: from.Name, To: name, Path: path})
		}
	}
	g.Height = len(rows)*(height+2*arc) - arc + 1
	if arcs {
		g.Height += arc
	}
	return g
}

// rows are the nodes as they stand below each other.
func rows(nodes []Node) (all [][]Node) {
	var along, beside []Node
	for _, n := range nodes {
		if n.Beside {
			beside = append(beside, n)
		} else {
			along = append(along, n)
		}
	}
	for _, part := range [][]Node{along, beside} {
		for len(part) > 0 {
			n := min(perRow, len(part))
			all = append(all, part[:n])
			part = part[n:]
		}
	}
	return all
}

// arrow is the path between two boxes of a row; bent = it passes over or under boxes.
func arrow(from, to Box) (path string, bent bool) {
	const tip = 5 // the head of the arrow
	middle := from.Y + height/2
	steps := (to.X - from.X) / (width + gap)
	if steps == 1 {
		return fmt.Sprintf("M%d %dH%d", from.X+width, middle, to.X-tip), false
	}
	edge, up := from.Y, -1
	if steps < 0 {
		edge, up, steps = from.Y+height, 1, -steps
	}
	bend := min(8+5*steps, arc-2)
	a, b := from.X+width/2+10, to.X+width/2-10
	if up == 1 {
		a, b = from.X+width/2-10, to.X+width/2+10
	}
	return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", a, edge, a, edge+up*bend*4/3, b, edge+up*bend*4/3, b, edge+up*tip), true
}
