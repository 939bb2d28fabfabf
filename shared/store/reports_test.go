package store_test

import (
	"errors"
	"fmt"
	"testing"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

// The agent's final word is its first: whatever comes after it gets that one back, and one event reports it.
func TestAReportIsSavedOnce(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	told := make([]string, 6)
	failed := atOnce(len(told), func(i int) error {
		first, emitted, err := w.as("agent-gateway").SaveReport(t.Context(), events.AgentReported{RunRef: refA, Outcome: "succeeded", Summary: fmt.Sprint(i)})
		told[i] = first.Summary + " " + ids(emitted)
		return err
	})
	for _, s := range told {
		if s != told[0] {
			t.Errorf("two final words: %q", told)
		}
	}
	if failed["<nil>"] != len(told) {
		t.Errorf("errors %v", failed)
	}
	w.want("reported", "0 received, 1 emitted, 1 owed, 1 audited")
	report, err := w.as("agent-gateway").Report(t.Context(), runA)
	if err != nil || report.Summary != told[0][:1] {
		t.Errorf("stored %+v, %v", report, err)
	}
	if _, err := w.as("agent-gateway").Report(t.Context(), runB); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no report: %v", err)
	}
}
