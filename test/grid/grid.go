// Package grid reads and writes tables of words, which hold what comes of many inputs in many places: a row for each
// input, a column for each place. In a file the table ends with an empty line, and what follows explains it.
package grid

import "strings"

// Grid is a table of words: the head, then a row for each input, whose first cell names it.
type Grid [][]string

// Parse reads a table from the beginning of a text. rest is what stands below it.
func Parse(text string) (g Grid, rest string) {
	head, rest, _ := strings.Cut(text, "\n\n")
	for line := range strings.Lines(head) {
		var cells []string
		for cell := range strings.SplitSeq(strings.TrimSpace(line), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		g = append(g, cells)
	}
	return g, "\n" + rest
}

// Cell is what stands in a row under the column of that number, from 0 on; "" if there is none.
func (g Grid) Cell(row string, column int) string {
	for _, cells := range g {
		if cells[0] == row && column+1 < len(cells) {
			return cells[column+1]
		}
	}
	return ""
}

// String is the table as Parse reads it, its columns below each other.
func (g Grid) String() string {
	var b strings.Builder
	for _, cells := range g {
		line := ""
		for column, cell := range cells {
			width := 0
			for _, other := range g {
				width = max(width, len(other[column]))
			}
			if column > 0 {
				line += " | "
			}
			line += cell + strings.Repeat(" ", width-len(cell))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
