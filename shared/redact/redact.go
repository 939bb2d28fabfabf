// Package redact keeps secrets out of what leaves an agent's pod, and out of what another agent is told of it.
//
// The package is pure.
package redact

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Secrets replaces secrets in text that leaves the pod as log, summary, commit message or error, and finds them in
// files that are to be pushed. It knows the values it was given, pieces of them, and the forms of well-known secrets,
// because an agent may print one that it found, even in another encoding. One list serves both uses.
type Secrets struct {
	mu     sync.Mutex
	values []string
}

// leastPiece is how long a piece of a known value is at least. Shorter ones occur in ordinary words.
const leastPiece = 12

// words are where a piece of a known value may be.
var words = regexp.MustCompile(fmt.Sprintf(`[A-Za-z0-9._-]{%d,}`, leastPiece))

// Hide adds a value to replace. Short ones are ignored: they would blank out ordinary words.
func (r *Secrets) Hide(value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(value) >= 8 && !slices.Contains(r.values, value) {
		r.values = append(r.values, value)
	}
}

// told are the values to replace.
func (r *Secrets) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.values)
}

// known replaces the values, and pieces of them, as when a token was printed in lines of twenty characters.
func (r *Secrets) known(text string) string {
	for _, v := range r.told() {
		text = strings.ReplaceAll(text, v, redacted)
		text = words.ReplaceAllStringFunc(text, func(word string) string {
			if strings.Contains(v, word) {
				return redacted
			}
			return word
		})
	}
	return text
}

// Clean replaces every secret in a whole text.
func (r *Secrets) Clean(text string) string {
	text = r.known(text)
	text = replace(text, r.encoded(text))
	for _, f := range forms {
		text = replace(text, f.find(text))
	}
	return text
}

// Stream cleans a text that comes in pieces of whole lines: a private key may begin in one and continue in the next.
type Stream struct {
	Secrets *Secrets
	inKey   bool
}

func (c *Stream) Clean(text string) string {
	head := ""
	for c.inKey && text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		ends := keyMarks.MatchString(line)
		if c.inKey = !ends && keyLines.MatchString(line); !c.inKey && !ends {
			break // the key was cut off
		}
		head, text = head+redacted+"\n", rest
	}
	if marks := keyMarks.FindAllStringSubmatch(text, -1); len(marks) > 0 {
		c.inKey = marks[len(marks)-1][1] == "BEGIN"
	}
	return head + c.Secrets.Clean(text)
}

// Issued finds what must not be pushed in a file: the run's own values, and tokens that only their issuers make.
// Examples in documentation mark themselves as such.
func (r *Secrets) Issued(data []byte) []string {
	if bytes.Count(data, []byte{0}) > len(data)/4 { // UTF-16
		data = bytes.ReplaceAll(data, []byte{0}, nil)
	}
	text := string(data)
	var found []string
	for _, v := range r.told() {
		if strings.Contains(text, v) {
			found = append(found, v)
		}
	}
	all := r.encoded(text)
	for _, f := range forms {
		if f.issued {
			all = append(all, f.find(text)...)
		}
	}
	for _, at := range all {
		if token := text[at[0]:at[1]]; !strings.Contains(strings.ToLower(token), "example") {
			found = append(found, token)
		}
	}
	return found
}
