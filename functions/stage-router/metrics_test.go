package main

import (
	"os"
	"regexp"
	"testing"
)

// TestReasonsAreTheReadmes: each reason that the README explains is told apart in
// the metrics, and what an agent makes up is not.
func TestReasonsAreTheReadmes(t *testing.T) {
	readme, err := os.ReadFile("../../config/observability/README.md")
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)\| the run failed \|.*?\n\n`).Find(readme)
	var names [][][]byte
	for _, cell := range regexp.MustCompile(`(?m)^\|[^|]*\|`).FindAll(table, -1) {
		names = append(names, regexp.MustCompile("`([a-z_]+)`").FindAllSubmatch(cell, -1)...)
	}
	if len(names) < 20 {
		t.Fatalf("the table has %d reasons", len(names))
	}
	for _, n := range names {
		if reason := string(n[1]); reasonLabel(reason) != reason {
			t.Errorf("%s is counted as %s", reason, reasonLabel(reason))
		}
	}
	if got := reasonLabel("made_up_1234"); got != "other" {
		t.Errorf("an agent's own word is counted as %s", got)
	}
}
