package main

import (
	"strings"
	"syscall"
	"testing"
)

// peak is the most memory, in MiB, that the program or one of its git processes has held.
func (w *world) peak(command string) int64 {
	w.t.Helper()
	w.does(command)
	pod := w.pod("SNAPSHOT_INTERVAL=1h") // the last one is saved all the same
	if code := w.exit(pod); code != 0 {
		w.t.Fatalf("exit code %d", code)
	}
	used, ok := pod.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		w.t.Fatal("this system does not tell how much memory a process has used")
	}
	return used.Maxrss >> 10 // Linux counts in KiB
}

// Files of any size pass by in pieces, whether they are kept, pushed or refused.
//
// It is not parallel to others: Linux counts a parent's memory, here the tests', as the child's until that executes a
// program.
func TestMemoryDoesNotGrowWithFiles(t *testing.T) {
	least := newWorld(t, "builtin").peak("true")
	for command, outcome := range map[string]string{
		"head -c 40000000 /dev/urandom >model.bin": "succeeded", // too large for a snapshot
		"head -c 14000000 /dev/urandom >model.bin": "succeeded", // fits in one
		"truncate -s 300000000 model.bin":          "failed",
	} {
		t.Run(outcome+" "+command, func(t *testing.T) {
			w := newWorld(t, "builtin")
			more := w.peak(command) - least
			t.Logf("%d MiB over %d", more, least)
			if more > 100*memoryFactor {
				t.Errorf("%d MiB more than without", more)
			}
			if r := w.gateway.report(); r.GetOutcome() != outcome || len(w.gateway.log()) > 16<<10 || outcome == "failed" && !strings.Contains(r.GetSummary(), "`model.bin`") {
				t.Errorf("report %v, log of %d bytes", r, len(w.gateway.log()))
			}
		})
	}
}
