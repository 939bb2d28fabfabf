package yamlfile_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/yamlfile"
)

type shop struct {
	Name   string            `yaml:"name"`
	Open   time.Duration     `yaml:"open"`
	Floors int               `yaml:"floors"`
	Goods  []good            `yaml:"goods"`
	Tags   map[string]string `yaml:"tags"`
}

type good struct {
	Price string `yaml:"price"`
}

const wellFormed = `# a comment
name: 1.40
open: 30m
common: &common
  price: 7
goods:
  - price: 1
  - *common
tags:
  a: b
  none:
`

func TestValuesAreTakenAsTheyAreWritten(t *testing.T) {
	var got struct {
		shop   `yaml:",inline"`
		Common good `yaml:"common"`
	}
	f, err := yamlfile.Read([]byte(wellFormed), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := shop{Name: "1.40", Open: 30 * time.Minute, Goods: []good{{"1"}, {"7"}}, Tags: map[string]string{"a": "b", "none": ""}}
	if diff := cmp.Diff(want, got.shop); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		path []any
		line int
		has  bool
	}{
		{nil, 1, true},
		{[]any{"name"}, 2, true},
		{[]any{"goods"}, 6, true},
		{[]any{"goods", 1}, 8, true},
		{[]any{"goods", 1, "price"}, 5, true},
		{[]any{"goods", 2, "price"}, 6, false},
		{[]any{"goods", 0, "colour"}, 7, false},
		{[]any{"tags", "none"}, 11, true},
		{[]any{"tags", "none", "deeper"}, 11, false},
		{[]any{"nothing"}, 1, false},
		{[]any{"name", 0}, 2, false},
	} {
		if line, has := f.Line(c.path...), f.Has(c.path...); line != c.line || has != c.has {
			t.Errorf("%v: line %d, %t; want %d, %t", c.path, line, has, c.line, c.has)
		}
	}
}

func TestAllFaultsComeInOneErrorEachWithItsLine(t *testing.T) {
	for data, want := range map[string]string{
		"nam: x":                        "line 1: the key nam is not known here",
		"name: x\nname: y":              `line 2: mapping key "name" already defined at line 1`,
		"name: [x]\nfloors: two":        "line 1: want a plain value, not a list; line 2: want a whole number, not two",
		"name: {a: b}":                  "line 1: want a plain value, not names and values",
		"goods: x":                      "line 1: want a list, not x",
		"goods: [x]":                    "line 1: want names and values, not x",
		"tags: [x]":                     "line 1: want names and values, not a list",
		"open: soon":                    "line 1: want a duration such as 30m, not soon",
		"name: x\n---\nname: y":         "there is more than one document in the file, want one",
		"name: {":                       "no YAML: yaml: line 1: did not find expected node content",
		"name: \xff":                    "no YAML: yaml: invalid leading UTF-8 octet",
		"x":                             "line 1: want names and values, not x",
		"a: &a [x]\nb: &b [*a, *a, *a]": "line 1: the key a is not known here; line 2: the key b is not known here",
	} {
		_, err := yamlfile.Read([]byte(data), &shop{})
		if err == nil || err.Error() != want {
			t.Errorf("%q\ngave  %v\nwant %s", data, err, want)
		}
	}
	f, err := yamlfile.Read([]byte("name: x\ngoods:\n- price: 1"), &shop{})
	if err != nil || f.Err() != nil {
		t.Fatal(err, f.Err())
	}
	f.Bad([]any{"goods", 0, "price"}, "%d is too cheap", 1)
	f.Bad([]any{"name"}, "too short")
	if got, want := f.Err().Error(), "line 3: 1 is too cheap; line 1: too short"; got != want {
		t.Errorf("gave %s, want %s", got, want)
	}
}

func TestAnEmptyFileIsNoFault(t *testing.T) {
	for _, data := range []string{"", "# nothing yet\n"} {
		got := shop{Name: "as it was"}
		f, err := yamlfile.Read([]byte(data), &got)
		if err != nil || got.Name != "as it was" || f.Has("name") || f.Line("name") != 1 {
			t.Errorf("%q: %v, %+v", data, err, got)
		}
	}
}
