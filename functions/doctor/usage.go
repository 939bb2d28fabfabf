package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"codexk8s.dev/shared/store"
)

// usual is how many days a report of usage covers if nobody says since when, today among them.
const usual = 30

// A usage is what was spent in some days.
type usage struct {
	By    string           `json:"by"`
	Since string           `json:"since"` // the first day, UTC
	Until string           `json:"until"` // the last one, today
	Rows  []store.Spending `json:"rows"`  // the dearest first
	Total store.Spending   `json:"total"`
}

// usage prints what was spent since a day: as a table, as JSON, or as CSV.
func (h *handler) usage(ctx context.Context, by, since, format string) error {
	now := h.db.Now().UTC()
	from := now.AddDate(0, 0, 1-usual)
	if since != "" {
		var err error
		if from, err = sinceTime(since); err != nil {
			return err
		}
	}
	rows, total, err := h.db.Usage(ctx, store.UsageQuery{By: by, Since: from, Until: now})
	if err != nil {
		return err
	}
	u := usage{By: by, Since: from.UTC().Format(time.DateOnly), Until: now.Format(time.DateOnly), Rows: rows, Total: total}
	if format == "csv" {
		return u.csv(h)
	}
	return h.show(u, u.text())
}

// text is a table for people. Money is shown to its last digit, so that it can be added up.
func (u usage) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Spent from %s to %s (UTC), by %s. Calls under way are not in it.\n\n", u.Since, u.Until, u.By)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "dollars\tcalls\ttokens in\tcached\ttokens out\treasoning\tminutes\t  "+u.By)
	for _, s := range u.Rows {
		u.line(w, s, s.Name)
	}
	u.line(w, u.Total, "in all")
	_ = w.Flush() // into memory, as all of it
	return b.String()
}

func (u usage) line(w *tabwriter.Writer, s store.Spending, name string) {
	if name == "" {
		name = "(the platform itself)"
	}
	_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.1f\t  %s\n", dollars(s.MicroUSD), s.Calls, s.Input, s.Cached, s.Output, s.Reasoning, float64(s.WorkMS)/60_000, oneLine(name))
}

// dollars is an amount to the millionth.
func dollars(micro int64) string {
	sign := ""
	if micro < 0 {
		sign, micro = "-", -micro
	}
	return fmt.Sprintf("%s%d.%06d", sign, micro/1e6, micro%1e6)
}

// csv has a line for each row and none for the total, which a spreadsheet would count twice.
func (u usage) csv(h *handler) error {
	w := csv.NewWriter(h.out)
	lines := [][]string{{u.By, "calls", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "dollars", "work_seconds"}}
	for _, s := range u.Rows {
		line := []string{oneLine(s.Name)}
		for _, n := range []int64{s.Calls, s.Input, s.Cached, s.Output, s.Reasoning} {
			line = append(line, strconv.FormatInt(n, 10))
		}
		lines = append(lines, append(line, dollars(s.MicroUSD), fmt.Sprintf("%d.%03d", s.WorkMS/1000, s.WorkMS%1000)))
	}
	if err := w.WriteAll(lines); err != nil {
		return fmt.Errorf("writing the usage: %w", err)
	}
	return nil
}
