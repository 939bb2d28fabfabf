// Package price turns what a call of a model used into money, by an embedded, dated table. What is not in the table
// counts as the dearest that is, and never as nothing.
//
// The package is pure.
package price

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"sort"
	"time"

	"sigs.k8s.io/yaml"
)

// Usage is what a call used, in tokens.
type Usage struct {
	Input     int64 // everything that was sent
	Cached    int64 // the part of Input that OpenAI had in its prompt cache
	Output    int64 // everything that was generated
	Reasoning int64 // the part of Output that was reasoning and not shown
}

//go:embed prices.yaml
var embedded []byte

// List is a price list. It does not change after it was read.
type List struct {
	Version string // the day it was valid, YYYY-MM-DD
	models  map[string]rate
	tools   map[string]int64 // what one call of a hosted tool costs, in nanodollars
}

// rate is in nanodollars per token, which is thousandths of a dollar per million tokens and always a whole number.
type rate struct {
	input, cached, output int64
	above                 int64 // input tokens from which long counts; 0 means never
	long                  *rate
	tiers                 map[string]float64 // by service tier, the factor on the prices
}

// line is a rate as the file has it.
type line struct {
	Input  *float64 `json:"input"`
	Cached *float64 `json:"cached"`
	Output *float64 `json:"output"`
	Source string   `json:"source,omitempty"` // where it is said, for people
	Long   *struct {
		Above int64 `json:"above"`
		line
	} `json:"long,omitempty"`
	Tiers map[string]float64 `json:"tiers,omitempty"`
}

// Default is the embedded price list.
func Default() (*List, error) { return Parse(embedded) }

// Parse reads a price list of the form of prices.yaml. The error names the model whose line is wrong.
func Parse(text []byte) (*List, error) {
	var file struct {
		Version string             `json:"version"`
		Tiers   map[string]float64 `json:"tiers"`
		Tools   map[string]float64 `json:"tools"`
		Sources map[string]string  `json:"sources"` // addresses of what the lines name
		Models  map[string]line    `json:"models"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return nil, fmt.Errorf("reading the price list: %w", err)
	}
	if file.Version == "" {
		return nil, errors.New("reading the price list: it has no version")
	}
	p := &List{Version: file.Version, models: make(map[string]rate, len(file.Models)), tools: make(map[string]int64, len(file.Tools))}
	for tool, dollars := range file.Tools {
		nano := math.Round(dollars * 1e6) // per thousand calls
		if !(nano >= 0 && nano <= 1e12) {
			return nil, fmt.Errorf("reading the price list: tools: %s is %v: give dollars per thousand calls", tool, dollars)
		}
		p.tools[tool] = int64(nano)
	}
	for model, l := range file.Models {
		if _, known := file.Sources[l.Source]; l.Source != "" && !known {
			return nil, fmt.Errorf("reading the price list: %s: its source %q is not among the sources", model, l.Source)
		}
		entry, err := l.rate()
		if err != nil {
			return nil, fmt.Errorf("reading the price list: %s: %w", model, err)
		}
		if l.Long != nil {
			long, err := l.Long.rate()
			if err != nil {
				return nil, fmt.Errorf("reading the price list: %s: long: %w", model, err)
			}
			if l.Long.Above <= 0 || l.Long.Long != nil {
				return nil, fmt.Errorf("reading the price list: %s: long: give the number of tokens above which it counts, once", model)
			}
			entry.above, entry.long = l.Long.Above, &long
		}
		entry.tiers = maps.Clone(file.Tiers)
		if entry.tiers == nil {
			entry.tiers = map[string]float64{}
		}
		maps.Copy(entry.tiers, l.Tiers)
		for tier, times := range entry.tiers {
			if !(times > 0 && times <= 100) {
				return nil, fmt.Errorf("reading the price list: %s: the tier %s is %v times the price: give a number above 0 and up to 100", model, tier, times)
			}
		}
		p.models[model] = entry
	}
	return p, nil
}

func (l line) rate() (rate, error) {
	var r rate
	for _, f := range []struct {
		name    string
		dollars *float64
		to      *int64
	}{{"input", l.Input, &r.input}, {"cached", l.Cached, &r.cached}, {"output", l.Output, &r.output}} {
		if f.dollars == nil {
			return rate{}, fmt.Errorf("%s is missing", f.name)
		}
		nano := *f.dollars * 1000
		if nano < 0 || nano > 1e9 || math.Abs(nano-math.Round(nano)) > 1e-6 {
			return rate{}, fmt.Errorf("%s is %v: give dollars per million tokens with at most three decimals", f.name, *f.dollars)
		}
		*f.to = int64(math.Round(nano))
	}
	return r, nil
}

// snapshot is the date that OpenAI adds to the name of a fixed version of a model: gpt-5.4-2026-03-05.
var snapshot = regexp.MustCompile(`-\d{4}-\d{2}-\d{2}$`)

// Cost is the price of a call's tokens in millionths of a dollar, halves rounded up. ok is false for a model or a
// service tier that is not on the list.
func (p *List) Cost(model, tier string, u Usage) (microUSD int64, ok bool) {
	entry, listed := p.models[model]
	if !listed {
		entry, listed = p.models[snapshot.ReplaceAllString(model, "")]
	}
	times := 1.0
	if tier != "" && tier != "default" && tier != "auto" {
		multiple, offered := entry.tiers[tier]
		times, listed = multiple, listed && offered
	}
	if !listed {
		return 0, false
	}
	if entry.long != nil && u.Input > entry.above {
		entry = *entry.long
	}
	cached := min(u.Cached, u.Input)
	nano := (u.Input-cached)*entry.input + cached*entry.cached + u.Output*entry.output
	return int64(math.Floor((float64(nano)*times + 500) / 1000)), true
}

// Reckon is Cost, and for a model that is not on the list what the dearest model and tier would cost. known says which
// of them it is.
func (p *List) Reckon(model, tier string, u Usage) (microUSD int64, known bool) {
	if micro, known := p.Cost(model, tier, u); known {
		return micro, true
	}
	for other, entry := range p.models {
		micro, _ := p.Cost(other, "", u)
		microUSD = max(microUSD, micro)
		for dearer := range entry.tiers {
			micro, _ := p.Cost(other, dearer, u)
			microUSD = max(microUSD, micro)
		}
	}
	return microUSD, false
}

// Affords is how many tokens of output, at most most, the money buys besides the input; less than 0 = not even that.
func (p *List) Affords(model, tier string, input int64, microUSD, most int64) int64 {
	costs := func(output int64) bool {
		micro, _ := p.Reckon(model, tier, Usage{Input: input, Output: output})
		return micro <= microUSD
	}
	if !costs(0) {
		return -1
	}
	return int64(sort.Search(int(most), func(n int) bool { return !costs(int64(n) + 1) }))
}

// old is the age from which prices are said to be old: providers change theirs every few months.
const old = 120 * 24 * time.Hour

// Age is how long ago the list was valid; 0 = its version is no day.
func (p *List) Age(now time.Time) time.Duration {
	day, err := time.Parse(time.DateOnly, p.Version)
	if err != nil {
		return 0
	}
	return now.Sub(day)
}

// Old says that the list is older than 120 days, in words for people; "" = it is not.
func (p *List) Old(now time.Time) string {
	if _, err := time.Parse(time.DateOnly, p.Version); err != nil {
		return fmt.Sprintf("the price list's version %q is no day, so nobody knows how old it is", p.Version)
	}
	if age := p.Age(now); age > old {
		return fmt.Sprintf("the price list is of %s, %d days old: compare it with the provider's prices", p.Version, int(age.Hours()/24))
	}
	return ""
}

// Fee is what calls of a tool that OpenAI runs cost on top of the tokens, in millionths of a dollar. ok is false for a
// tool that is not on the list.
func (p *List) Fee(tool string, calls int64) (microUSD int64, ok bool) {
	nano, listed := p.tools[tool]
	return nano * calls / 1000, listed
}
