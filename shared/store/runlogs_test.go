package store_test

import (
	"testing"

	"codexk8s.dev/shared/store"
)

// A line is stored once under its number, whoever sends it again, and beyond the limit not at all.
func TestALogLineIsStoredOnce(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("agent-gateway")
	line := func(seq int64, text string) store.LogLine {
		return store.LogLine{Seq: seq, At: w.now(), Stream: "agent", Text: text}
	}
	for _, c := range []struct {
		lines []store.LogLine
		next  int64
	}{
		{nil, 1},
		{[]store.LogLine{line(1, "one"), line(2, "two")}, 3},
		{[]store.LogLine{line(2, "two, again"), line(3, "three")}, 4},
		{[]store.LogLine{line(store.MaxLogLines+1, "too many")}, 4},
	} {
		if next, err := db.AppendLogs(t.Context(), runA, c.lines); err != nil || next != c.next {
			t.Errorf("next line %d, %v; want %d", next, err, c.next)
		}
	}
	lines, err := db.Logs(t.Context(), runA, 2, 10)
	if err != nil || len(lines) != 2 || lines[0].Text != "two" || lines[1].Text != "three" {
		t.Errorf("%+v, %v", lines, err)
	}
}
