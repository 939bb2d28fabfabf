package approval

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"codexk8s.dev/shared/events"
)

// The limits of an agent's texts, in characters: what the narrowest channels can show.
const (
	maxAction   = 200
	maxTitle    = 1000 // a question's text; the platform's own titles are short
	maxWords    = 500  // justification, risk
	maxOption   = 300
	maxLinks    = 5
	maxLinkText = 100
	maxURL      = 500
)

// Seal checks a request, brings its arguments into canonical form, and sets ID and Digest. Its error is for the agent
// that asks: it says what is wrong with which field. Sealing twice changes nothing.
func Seal(r Request) (Request, error) {
	if len(r.Arguments) > 0 {
		canonical, err := Canonical(r.Arguments)
		if err != nil {
			return r, fmt.Errorf("arguments: %w", err)
		}
		if canonical[0] != '{' {
			return r, fmt.Errorf("arguments: want a JSON object")
		}
		r.Arguments = canonical
	}
	if err := check(r); err != nil {
		return r, err
	}
	r.Digest = digest(r)
	r.ID = events.DeriveID("approval", r.RunID, string(r.Kind), r.Digest, strconv.Itoa(r.Repeat))
	return r, nil
}

func check(r Request) error {
	for _, text := range []struct {
		name, value string
		most        int
	}{
		{"action", r.Action, maxAction}, {"title", r.Title, maxTitle}, {"justification", r.Justification, maxWords}, {"risk", r.Risk, maxWords},
	} {
		if n := utf8.RuneCountInString(text.value); n > text.most {
			return fmt.Errorf("%s has %d characters, at most %d are taken", text.name, n, text.most)
		}
	}
	if r.RunID == "" || r.Action == "" || strings.TrimSpace(r.Title) == "" {
		return fmt.Errorf("run, action and title must be given")
	}
	for i, l := range r.Links {
		u, err := url.Parse(l.URL)
		switch {
		case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || len(l.URL) > maxURL:
			return fmt.Errorf("links: want an https URL of at most %d bytes in place %d", maxURL, i+1)
		case utf8.RuneCountInString(l.Text) > maxLinkText:
			return fmt.Errorf("links: the text in place %d is longer than %d characters", i+1, maxLinkText)
		}
	}
	if len(r.Links) > maxLinks {
		return fmt.Errorf("links: %d were given, at most %d are taken", len(r.Links), maxLinks)
	}
	return checkKind(r)
}

func checkKind(r Request) error {
	switch r.Kind {
	case events.KindApproval:
		if len(r.Options) > 0 || r.FreeText {
			return fmt.Errorf("options: an approval is a yes or a no")
		}
		return nil
	case events.KindQuestion:
	default:
		return fmt.Errorf("kind %q: want %s or %s", r.Kind, events.KindApproval, events.KindQuestion)
	}
	if n := len(r.Options); n == 1 || n > 5 || n == 0 && !r.FreeText {
		return fmt.Errorf("options: %d were given, want 2 to 5, or none and freeText", n)
	}
	for i, o := range r.Options {
		n := utf8.RuneCountInString(o)
		switch {
		case strings.TrimSpace(o) == "" || n > maxOption:
			return fmt.Errorf("options: number %d has %d characters, want 1 to %d", i+1, n, maxOption)
		case slices.ContainsFunc(r.Options[:i], func(before string) bool { return line(before) == line(o) }):
			return fmt.Errorf("options: number %d stands twice, as people see it", i+1)
		}
	}
	return nil
}

// digest covers what a yes or an answer is bound to, without the agent's comments.
func digest(r Request) string {
	asked := map[string]any{"action": r.Action, "repository": repositoryKey(r), "head": r.HeadSHA}
	if len(r.Arguments) > 0 {
		asked["arguments"] = r.Arguments
	}
	if r.Kind == events.KindQuestion {
		asked["question"], asked["options"], asked["freeText"] = r.Title, r.Options, r.FreeText
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(asked); err != nil {
		panic("approval: arguments that are canonical were no JSON: " + err.Error())
	}
	sum := sha256.Sum256(text.Bytes())
	return hex.EncodeToString(sum[:])
}

// repositoryKey identifies the repository, even after a rename.
func repositoryKey(r Request) string {
	if r.RepositoryID != 0 {
		return fmt.Sprint(r.RepositoryID)
	}
	return strings.ToLower(r.Repository)
}
