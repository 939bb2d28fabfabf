package price

import (
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

func TestCost(t *testing.T) {
	p, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		model, tier string
		usage       Usage
		want        int64
		known       bool
	}{
		{"gpt-5.4", "", Usage{Input: 1_000_000}, 5_000_000, true}, // more than the 272,000 of the short context
		{"gpt-5.4", "default", Usage{Input: 272_000}, 680_000, true},
		{"gpt-5.4", "default", Usage{Input: 272_001}, 1_360_005, true},
		{"gpt-5.4", "auto", Usage{Input: 1000, Cached: 600, Output: 100, Reasoning: 90}, 400*25/10 + 600*25/100 + 100*15, true},
		{"gpt-5.4-2026-03-05", "", Usage{Output: 2}, 30, true},
		{"gpt-5-nano", "", Usage{Input: 10}, 1, true}, // half a millionth, rounded up
		{"gpt-5-nano", "", Usage{Input: 9}, 0, true},
		{"gpt-5-mini", "", Usage{Input: 100, Cached: 4000}, 3, true}, // more cached than sent cannot be
		{"gpt-5.4", "flex", Usage{Input: 1000}, 1250, true},
		{"gpt-5.4", "batch", Usage{Input: 1000}, 1250, true},
		{"gpt-5.4", "priority", Usage{Input: 1000}, 5000, true},
		{"gpt-5.5", "priority", Usage{Input: 1000, Output: 1000}, 87_500, true}, // its own multiple
		{"gpt-5.4", "scale", Usage{Input: 1000}, 0, false},
		{"gpt-5.4-2026-03", "", Usage{Input: 1000}, 0, false},
		{"llama", "", Usage{Input: 1000}, 0, false},
		{"", "", Usage{Input: 1000}, 0, false},
	} {
		got, known := p.Cost(c.model, c.tier, c.usage)
		if got != c.want || known != c.known {
			t.Errorf("%s %s %+v: got %d, %v, want %d, %v", c.model, c.tier, c.usage, got, known, c.want, c.known)
		}
	}
	if _, err := time.Parse(time.DateOnly, p.Version); err != nil {
		t.Errorf("the version is not a day: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"models: {}":            "no version",
		"version: x\nmodel: {}": "unknown field",
		"version: x\nmodels: {a: {input: 1, output: 2}}":                                                    "a: cached is missing",
		"version: x\nmodels: {a: {input: 1, cached: 1, output: -2}}":                                        "a: output is -2",
		"version: x\nmodels: {a: {input: 0.0001, cached: 1, output: 2}}":                                    "at most three decimals",
		"version: x\nmodels: {a: {input: 1, cached: 1, output: 2, long: {above: 5}}}":                       "a: long: input is missing",
		"version: x\nmodels: {a: {input: 1, cached: 1, output: 2, long: {input: 1, cached: 1, output: 2}}}": "above which it counts",
		"version: x\ntiers: {flex: 0}\nmodels: {a: {input: 1, cached: 1, output: 2}}":                       "a: the tier flex is 0 times the price",
		"version: x\ntools: {web_search: -1}":                                                               "tools: web_search is -1",
		"version: [":                                                                                        "reading the price list",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", text, err, want)
		}
	}
}

func TestAListGrowsOld(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		version string
		days    int
		want    string
	}{
		{"2026-03-01", 120, ""},
		{"2026-03-01", 121, "the price list is of 2026-03-01, 121 days old: compare it with the provider's prices"},
		{"spring", 0, `the price list's version "spring" is no day, so nobody knows how old it is`},
	} {
		p, err := Parse([]byte("version: " + c.version + "\nmodels: {m: {input: 1, cached: 1, output: 1}}"))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Old(day.AddDate(0, 0, c.days)); got != c.want {
			t.Errorf("%s after %d days: %q, want %q", c.version, c.days, got, c.want)
		}
	}
}

// TestEachLineSaysWhereItWasRead.
func TestEachLineSaysWhereItWasRead(t *testing.T) {
	var file struct {
		Models map[string]line `json:"models"`
	}
	if err := yaml.Unmarshal(embedded, &file); err != nil {
		t.Fatal(err)
	}
	for model, l := range file.Models {
		if l.Source == "" {
			t.Errorf("%s has no source", model)
		}
	}
	if _, err := Parse([]byte("version: \"2026-11-23\"\nmodels:\n  m: {input: 1, cached: 1, output: 1, source: nowhere}\n")); err == nil || !strings.Contains(err.Error(), `m: its source "nowhere" is not among the sources`) {
		t.Errorf("a source that is not there: %v", err)
	}
}
