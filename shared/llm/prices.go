package llm

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"regexp"

	"sigs.k8s.io/yaml"
)

//go:embed prices.yaml
var embeddedPrices []byte

// Prices is a price list. It does not change after it was read.
type Prices struct {
	Version string // the day it was true, as YYYY-MM-DD
	models  map[string]price
}

// price is in nanodollars per token, which is thousandths of a dollar per million tokens and always a whole number.
type price struct {
	input, cached, output int64
	above                 int64 // input tokens from which long counts; 0 means never
	long                  *price
}

// priceLine is a price as the file has it.
type priceLine struct {
	Input  *float64 `json:"input"`
	Cached *float64 `json:"cached"`
	Output *float64 `json:"output"`
	Long   *struct {
		Above int64 `json:"above"`
		priceLine
	} `json:"long,omitempty"`
}

// DefaultPrices is the embedded price list.
func DefaultPrices() (*Prices, error) { return ParsePrices(embeddedPrices) }

// ParsePrices reads a price list of the form of prices.yaml. The error names the model whose line is wrong.
func ParsePrices(text []byte) (*Prices, error) {
	var file struct {
		Version string               `json:"version"`
		Models  map[string]priceLine `json:"models"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return nil, fmt.Errorf("reading the price list: %w", err)
	}
	if file.Version == "" {
		return nil, errors.New("reading the price list: it has no version")
	}
	p := &Prices{Version: file.Version, models: make(map[string]price, len(file.Models))}
	for model, line := range file.Models {
		entry, err := line.price()
		if err != nil {
			return nil, fmt.Errorf("reading the price list: %s: %w", model, err)
		}
		if line.Long != nil {
			long, err := line.Long.price()
			if err != nil {
				return nil, fmt.Errorf("reading the price list: %s: long: %w", model, err)
			}
			if line.Long.Above <= 0 || line.Long.Long != nil {
				return nil, fmt.Errorf("reading the price list: %s: long: give the number of tokens above which it counts, once", model)
			}
			entry.above, entry.long = line.Long.Above, &long
		}
		p.models[model] = entry
	}
	return p, nil
}

func (l priceLine) price() (price, error) {
	var p price
	for _, f := range []struct {
		name    string
		dollars *float64
		to      *int64
	}{{"input", l.Input, &p.input}, {"cached", l.Cached, &p.cached}, {"output", l.Output, &p.output}} {
		if f.dollars == nil {
			return price{}, fmt.Errorf("%s is missing", f.name)
		}
		nano := *f.dollars * 1000
		if nano < 0 || nano > 1e9 || math.Abs(nano-math.Round(nano)) > 1e-6 {
			return price{}, fmt.Errorf("%s is %v: give dollars per million tokens with at most three decimals", f.name, *f.dollars)
		}
		*f.to = int64(math.Round(nano))
	}
	return p, nil
}

// snapshot is the date that OpenAI adds to the name of a model that it has fixed: gpt-5.4-2026-03-05.
var snapshot = regexp.MustCompile(`-\d{4}-\d{2}-\d{2}$`)

// Cost is the price of a call in millionths of a dollar, rounded up from the half. It is not known, and ok is false, for a
// model that is not on the list and for a service tier other than the standard one, which has other prices.
func (p *Prices) Cost(model, tier string, u Usage) (microUSD int64, ok bool) {
	entry, listed := p.models[model]
	if !listed {
		entry, listed = p.models[snapshot.ReplaceAllString(model, "")]
	}
	if !listed || (tier != "" && tier != "default" && tier != "auto") {
		return 0, false
	}
	if entry.long != nil && u.Input > entry.above {
		entry = *entry.long
	}
	cached := min(u.Cached, u.Input)
	nano := (u.Input-cached)*entry.input + cached*entry.cached + u.Output*entry.output
	return (nano + 500) / 1000, true
}
