// Package plain makes text from outside fit to be stored. GitHub, agents and models may send any character; Postgres
// stores neither a zero byte nor invalid UTF-8, in text or jsonb, and protobuf refuses the latter.
//
// It is used where text enters: for decoded JSON (Unmarshal), and for single texts (Text, Cut). The log of events still
// keeps what was received byte for byte. What can't be made fit, such as a number out of range, is rejected for good:
// events.Unstorable.
//
// Where people base a decision on somebody else's text, SpellOut shows what they would not see. Where it is shown on
// GitHub, Unmention keeps it from calling others.
//
// The package is pure.
package plain

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Text drops zero bytes, and replaces each run of invalid UTF-8 by U+FFFD.
func Text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// Cut is Text of at most limit bytes, cut between two characters.
func Cut(s string, limit int) string {
	s = Text(s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return s
}

// Unmarshal is json.Unmarshal with every text made fit, including the keys of objects and json.RawMessage.
// encoding/json itself replaces lone surrogates and invalid UTF-8, except in a RawMessage, which keeps its bytes.
func Unmarshal(data []byte, to any) error {
	return json.Unmarshal(withoutZero(bytes.ToValidUTF8(data, []byte("\uFFFD"))), to)
}

// withoutZero removes the escape \u0000 from JSON text; an unescaped zero byte is not JSON. What is not JSON stays as
// it is, because a broken escape such as \u00\u000000 would become a whole one.
func withoutZero(data []byte) []byte {
	escape := []byte(`\u0000`)
	if !bytes.Contains(data, escape) || !json.Valid(data) {
		return data
	}
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); {
		switch {
		case bytes.HasPrefix(data[i:], escape):
			i += len(escape)
		case data[i] == '\\' && i+1 < len(data): // an escaped backslash begins no escape
			out = append(out, data[i], data[i+1])
			i += 2
		default:
			out = append(out, data[i])
			i++
		}
	}
	return out
}
