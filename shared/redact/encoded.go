package redact

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
)

// An encoding is a common way to write a secret: a Kubernetes Secret, a request header, a dump. Somebody who wants to
// hide a value finds others.
type encoding struct {
	letters [256]bool
	least   int // letters that may belong to it
	before  int // how many letters at its beginning may belong to something else
	decode  func(string) string
}

const (
	numerals = "0123456789ABCDEFabcdef"
	letters  = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

var encodings = []encoding{
	{set(letters + "+/-_"), 24, 3, decodeBase64},
	{set(numerals), 32, 1, decodeHex},
	{set(numerals + "%"), 36, 0, decodePercent},
}

func set(of string) (all [256]bool) {
	for _, c := range []byte(of) {
		all[c] = true
	}
	return all
}

// What was decoded before an error is enough for all of them.

func decodeBase64(s string) string {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(s)
	if len(s)%4 == 1 {
		s = s[:len(s)-1]
	}
	plain, _ := base64.RawStdEncoding.DecodeString(s)
	return string(plain)
}

func decodeHex(s string) string {
	plain, _ := hex.DecodeString(s)
	return string(plain)
}

func decodePercent(s string) string {
	plain, _ := url.PathUnescape(s)
	return plain
}

// encoded returns where encoded secrets are, in order: known values, tokens that only their issuers make, private keys.
func (r *Secrets) encoded(text string) (all [][2]int) {
	values := r.told()
	for _, e := range encodings {
		runs := e.runs(text)
		// Most texts have none, and checking all runs together is faster.
		var plain strings.Builder
		for _, at := range runs {
			for skip := range e.before + 1 {
				plain.WriteString(e.decode(text[at[0]+skip:at[1]]) + "\n")
			}
		}
		if plain.Len() == 0 || !secret(plain.String(), values) {
			continue
		}
		for _, at := range runs {
			for skip := range e.before + 1 {
				if secret(e.decode(text[at[0]+skip:at[1]]), values) {
					all = append(all, at)
					break
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b [2]int) int { return a[0] - b[0] })
	return all
}

// runs returns where this encoding may stand.
func (e *encoding) runs(text string) (all [][2]int) {
	for begin := 0; begin < len(text); {
		end := begin
		for end < len(text) && e.letters[text[end]] {
			end++
		}
		if end-begin >= e.least {
			all = append(all, [2]int{begin, end})
		}
		begin = end + 1
	}
	return all
}

func secret(plain string, values []string) bool {
	if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(plain, v) || pieceOf(v, plain) }) {
		return true
	}
	return slices.ContainsFunc(forms, func(f form) bool { return (f.issued || f.name == privateKey) && len(f.find(plain)) > 0 })
}

var ofWords = set(letters + "._-")

// pieceOf says whether a word of the text is a piece of the value, as where a tool encoded it in lines of its own:
// base64 begins a new one after 76 letters. It is words without an expression, for speed.
func pieceOf(value, text string) bool {
	begin := 0
	for i := range len(text) + 1 {
		if i < len(text) && ofWords[text[i]] {
			continue
		}
		if i-begin >= leastPiece && strings.Contains(value, text[begin:i]) {
			return true
		}
		begin = i + 1
	}
	return false
}
