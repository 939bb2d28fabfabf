package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// A report is what all checks saw.
type report struct {
	At     time.Time `json:"at"`
	Well   bool      `json:"well"`
	Checks []check   `json:"checks"`
}

// A check is one thing that was looked at. It is well without faults.
type check struct {
	Name   string  `json:"name"`
	Saw    string  `json:"saw,omitempty"` // in one line
	Faults []fault `json:"faults,omitempty"`
	Data   any     `json:"data,omitempty"` // what it saw, for programs
}

// A fault is what is wrong and what to do.
type fault struct {
	What string `json:"what"`
	Do   string `json:"do"`
}

// shown is how many faults of one check the text shows: the hundredth says no more than the twentieth.
const shown = 20

func (c *check) fault(do, format string, args ...any) {
	c.Faults = append(c.Faults, fault{oneLine(fmt.Sprintf(format, args...)), do})
}

// failed is a check that could not be made.
func failed(name, do string, err error) check {
	return check{Name: name, Faults: []fault{{"could not be checked: " + oneLine(err.Error()), do}}}
}

func (r report) faults() (n int) {
	for _, c := range r.Checks {
		n += len(c.Faults)
	}
	return n
}

// text is the report for people: a line per check, and below it its faults, grouped by what to do.
func (r report) text() string {
	var b strings.Builder
	for _, c := range r.Checks {
		mark := "ok  "
		if len(c.Faults) > 0 {
			mark = "BAD "
		}
		fmt.Fprintf(&b, "%s  %-17s %s\n", mark, c.Name, c.Saw)
		for i, f := range c.Faults {
			if i == shown {
				fmt.Fprintf(&b, "        and %d more\n        → %s\n", len(c.Faults)-shown, f.Do)
				break
			}
			fmt.Fprintf(&b, "        %s\n", f.What)
			if i+1 == len(c.Faults) || c.Faults[i+1].Do != f.Do {
				fmt.Fprintf(&b, "        → %s\n", f.Do)
			}
		}
	}
	if n := r.faults(); n > 0 {
		fmt.Fprintf(&b, "\nNot well: %d %s.\n", n, plural(n, "fault"))
	} else {
		b.WriteString("\nAll is well.\n")
	}
	return b.String()
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// oneLine keeps other people's text from breaking the report, or the terminal.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// ago is a time as people say it; zero is never.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return short(now.Sub(t)) + " ago"
}

func short(d time.Duration) string {
	switch d = d.Abs(); {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}
