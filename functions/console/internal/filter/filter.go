// Package filter is the one way of saying which runs are meant, for pages, addresses, the API and the command line:
//
//	state:waiting,failed project:shop stage:dev role:dev model:gpt-5.4 by:ann issue:acme/shop#12
//
// Filters are separated by blanks and hold together. An issue may also be written without its key. Of a list the
// cursor says where the next page begins; it holds the filter's hash, since with another filter it would mean nothing.
//
// The package is pure.
package filter

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/stage"
)

// Runs is what a filter says; what is empty means all.
type Runs struct {
	States                          []stage.State
	Project, Stage, Role, Model, By string
	Repository                      string // lower case
	Issue                           int
}

// Keys are those that a filter may have.
var Keys = []string{"state", "project", "stage", "role", "model", "by", "issue"}

// ErrCursor says that a cursor is of another filter, or of nobody.
var ErrCursor = errors.New("the cursor does not belong to this filter")

var issue = regexp.MustCompile(`^([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)#([1-9][0-9]{0,8})$`)

// Parse reads a filter. Its error is for the person who wrote it.
func Parse(text string) (f Runs, err error) {
	for _, word := range strings.Fields(text) {
		key, value, found := strings.Cut(word, ":")
		if !found && issue.MatchString(word) {
			key, value = "issue", word
		}
		switch {
		case !slices.Contains(Keys, key):
			return f, fmt.Errorf("%q is no filter: there are %s:", word, strings.Join(Keys, ":, "))
		case value == "":
			return f, fmt.Errorf("%s: says nothing: write a value behind it, without a blank", key)
		}
		if err := f.set(key, value); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *Runs) set(key, value string) error {
	fields := map[string]*string{"project": &f.Project, "stage": &f.Stage, "role": &f.Role, "model": &f.Model, "by": &f.By}
	switch field := fields[key]; {
	case field != nil:
		*field = strings.TrimPrefix(value, "@")
	case key == "issue":
		m := issue.FindStringSubmatch(value)
		if m == nil {
			return fmt.Errorf("issue:%s is no issue: write issue:owner/name#12", value)
		}
		f.Repository = strings.ToLower(m[1])
		f.Issue, _ = strconv.Atoi(m[2]) // the pattern bounds it
	default:
		return f.states(value)
	}
	return nil
}

func (f *Runs) states(value string) error {
	for _, name := range strings.Split(value, ",") {
		all := slices.DeleteFunc(slices.Clone(stage.States), func(s stage.State) bool {
			return name != string(s) && (name != "active" || !s.Active()) && (name != "done" || !s.Final())
		})
		if len(all) == 0 {
			return fmt.Errorf("state:%s is no state: there are active, done and %v", name, stage.States)
		}
		f.States = append(f.States, all...)
	}
	slices.Sort(f.States)
	f.States = slices.Compact(f.States)
	return nil
}

type cursor struct {
	At   time.Time `json:"t"`
	ID   string    `json:"i"`
	Hash string    `json:"h"`
}

func (f Runs) hash() string {
	data, _ := json.Marshal(f) // texts and a number
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

// Cursor is the beginning of the page after the run that was created at that time.
func (f Runs) Cursor(at time.Time, id string) string {
	data, _ := json.Marshal(cursor{at, id, f.hash()}) // a time, and texts
	return base64.RawURLEncoding.EncodeToString(data)
}

// After is where a page begins; the zero values if the cursor is "". Else it is ErrCursor, or fits.
func (f Runs) After(text string) (at time.Time, id string, err error) {
	if text == "" {
		return at, "", nil
	}
	var c cursor
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(data, &c) != nil || c.Hash != f.hash() || !uuid.MatchString(c.ID) || c.At.Year() < 2000 || c.At.Year() > 9999 {
		return at, "", ErrCursor
	}
	return c.At, c.ID, nil
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
