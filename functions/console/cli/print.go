package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"codexk8s.dev/functions/console/internal/api"
)

// say prints for who asked, and warn beside it. Who does not read is not told.
func (a *app) say(format string, args ...any)  { _, _ = fmt.Fprintf(a.out, format, args...) }
func (a *app) warn(format string, args ...any) { _, _ = fmt.Fprintf(a.err, format, args...) }

// A table is columns of text for people.
type table struct {
	w    *tabwriter.Writer
	rows int
}

func (a *app) table(columns ...string) *table {
	t := &table{w: tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)}
	t.row(columns...)
	return t
}

func (t *table) row(cells ...string) {
	for i := range cells {
		cells[i] = plain(cells[i])
	}
	_, _ = fmt.Fprintln(t.w, strings.Join(cells, "\t"))
	t.rows++
}

func (t *table) print() error {
	if err := t.w.Flush(); err != nil {
		return ending{exitFailed, err}
	}
	return nil
}

// plain is text of others on one line, without what a terminal would obey.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}

func dollars(micro int64) string { return fmt.Sprintf("$%.4f", float64(micro)/1e6) }

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func stateOf(r api.Run) string {
	switch {
	case r.WaitingFor != "":
		return string(r.State) + " " + r.WaitingFor
	case r.Reason != "":
		return string(r.State) + " " + r.Reason
	}
	return string(r.State)
}
