package main

import (
	"os"
	"reflect"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSettingsAreTheReadmes: each setting that projects.yaml may have has its row in config/README.md, and no other.
func TestSettingsAreTheReadmes(t *testing.T) {
	readme, err := os.ReadFile("../../config/README.md")
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)\| setting \|.*?\n\n`).Find(readme)
	var got, want []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\|").FindAllSubmatch(table, -1) {
		got = append(got, string(row[1]))
	}
	for field := range reflect.TypeFor[settings]().Fields() {
		want = append(want, field.Tag.Get("yaml"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("project settings (-code +config/README.md):\n%s", diff)
	}
}
