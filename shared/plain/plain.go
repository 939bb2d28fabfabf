// Package plain makes text of the outside world fit to be kept. GitHub, agents and models may send any character;
// Postgres keeps neither a zero byte nor what isn't UTF-8, in a text as in jsonb, and protobuf refuses the latter.
//
// It is used where text enters: for what is decoded from JSON (Unmarshal), and for single texts (Text, Cut). What was
// received is kept byte for byte in the log of events all the same. What can't be made fit, such as a number out of
// range, is rejected for good: events.Unstorable.
//
// Where people read text of others to decide by it, SpellOut shows what they would not see.
//
// The package is pure.
package plain

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Text drops zero bytes, and puts U+FFFD for each run of bytes that is no UTF-8.
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

// Unmarshal is json.Unmarshal with every text made fit, the keys of objects and json.RawMessage as well. encoding/json
// itself replaces lone surrogates and what is no UTF-8, but for a RawMessage, which keeps its bytes.
func Unmarshal(data []byte, to any) error {
	return json.Unmarshal(withoutZero(bytes.ToValidUTF8(data, []byte("\uFFFD"))), to)
}

// withoutZero takes the escape \u0000 out of JSON text; a zero byte that isn't escaped is no JSON. What is no JSON
// stays as it is: of a broken escape, such as \u00\u000000, one would be made that is whole.
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
		case data[i] == '\\' && i+1 < len(data): // an escaped backslash is not the beginning of an escape
			out = append(out, data[i], data[i+1])
			i += 2
		default:
			out = append(out, data[i])
			i++
		}
	}
	return out
}
