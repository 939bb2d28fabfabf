package main

import (
	"testing"

	"codexk8s.dev/shared/reason"
)

// TestAnAgentsOwnReasonMakesNoSeries: what the platform knows is told apart in the metrics, and what an agent makes up
// is not.
func TestAnAgentsOwnReasonMakesNoSeries(t *testing.T) {
	for code, want := range map[string]string{"": "", reason.NamespaceTaken: "namespace_taken", reason.Aborted: "aborted", "made_up_1234": "other", reason.SenderIsBot: "other"} {
		if got := reasonLabel(code); got != want {
			t.Errorf("%q is counted as %q, want %q", code, got, want)
		}
	}
}
