package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// SyntaxError says where a payload stops being JSON. Line and Column count from 1, the column in bytes.
type SyntaxError struct {
	Line, Column int
	Reason       string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("malformed JSON at %d:%d: %s", e.Line, e.Column, e.Reason)
}

// maxDepth is encoding/json's own limit, so that whatever passes here can be decoded later.
const maxDepth = 10000

// scanner reads a JSON document once, checks all of its grammar, and lets its caller pick the few values it wants on
// the way. Decoding into a struct with encoding/json reads the bytes twice and took five times as long, and every
// delivery comes this way. A fuzz target compares it with encoding/json.
type scanner struct {
	data  []byte
	pos   int
	depth int
}

// bare marks the bytes that a JSON string may have unescaped.
var bare = func() (t [256]bool) {
	for i := range t {
		t[i] = i >= 0x20 && i != '"' && i != '\\'
	}
	return t
}()

func (s *scanner) fail(format string, args ...any) error {
	pos := min(s.pos, len(s.data))
	before := s.data[:pos]
	return &SyntaxError{
		Line:   1 + bytes.Count(before, []byte{'\n'}),
		Column: pos - bytes.LastIndexByte(before, '\n'),
		Reason: fmt.Sprintf(format, args...),
	}
}

// unexpected is the error for the byte at the position, or for the end.
func (s *scanner) unexpected(wanted string) error {
	if s.pos >= len(s.data) {
		return s.fail("unexpected end, want %s", wanted)
	}
	return s.fail("unexpected %q, want %s", s.data[s.pos], wanted)
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// document reads exactly one object with nothing after it.
func (s *scanner) document(field func(key []byte) error) error {
	if s.peek() != '{' {
		return s.unexpected("an object")
	}
	if err := s.object(field); err != nil {
		return err
	}
	if s.peek(); s.pos < len(s.data) {
		return s.unexpected("nothing after the object")
	}
	return nil
}

// object reads an object; the position is at its brace. The callback must consume the field's value; a nil callback
// skips them all.
func (s *scanner) object(field func(key []byte) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	if s.peek() == '}' {
		return s.leave()
	}
	for {
		if s.peek() != '"' {
			return s.unexpected("a key")
		}
		key, err := s.str()
		if err != nil {
			return err
		}
		if s.peek() != ':' {
			return s.unexpected("a colon")
		}
		s.pos++
		if field == nil {
			err = s.skip()
		} else {
			err = field(unescape(key))
		}
		if err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			return s.leave()
		default:
			return s.unexpected("a comma or a closing brace")
		}
	}
}

func (s *scanner) array() error {
	if err := s.enter(); err != nil {
		return err
	}
	if s.peek() == ']' {
		return s.leave()
	}
	for {
		if err := s.skip(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			return s.leave()
		default:
			return s.unexpected("a comma or a closing bracket")
		}
	}
}

func (s *scanner) enter() error {
	if s.depth++; s.depth > maxDepth {
		return s.fail("nested deeper than %d", maxDepth)
	}
	s.pos++
	return nil
}

func (s *scanner) leave() error {
	s.depth--
	s.pos++
	return nil
}

// skip reads over any value.
func (s *scanner) skip() error {
	switch c := s.peek(); {
	case c == '"':
		_, err := s.str()
		return err
	case c == '{':
		return s.object(nil)
	case c == '[':
		return s.array()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	case c == '-' || '0' <= c && c <= '9':
		_, err := s.number()
		return err
	}
	return s.unexpected("a value")
}

func (s *scanner) literal(word string) error {
	for i := 0; i < len(word); i++ {
		if s.pos >= len(s.data) || s.data[s.pos] != word[i] {
			return s.unexpected(word)
		}
		s.pos++
	}
	return nil
}

// str returns the raw bytes between the quotes, escapes and all; the position is at the opening quote.
func (s *scanner) str() ([]byte, error) {
	s.pos++
	start, i, data := s.pos, s.pos, s.data
	for {
		for i < len(data) && bare[data[i]] {
			i++
		}
		s.pos = i
		if i >= len(data) {
			return nil, s.unexpected("a closing quote")
		}
		switch data[i] {
		case '"':
			s.pos++
			return data[start:i], nil
		case '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
			i = s.pos
		default:
			return nil, s.unexpected("no bare control character in a string")
		}
	}
}

func (s *scanner) escape() error {
	s.pos++
	if s.pos >= len(s.data) {
		return s.unexpected("an escape")
	}
	switch s.data[s.pos] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		s.pos++
		for range 4 {
			if s.pos >= len(s.data) || !isHex(s.data[s.pos]) {
				return s.unexpected("four hex digits")
			}
			s.pos++
		}
		return nil
	}
	return s.unexpected("an escape")
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// number returns the raw bytes of a number; the position is at its first byte.
func (s *scanner) number() ([]byte, error) {
	start := s.pos
	if s.data[s.pos] == '-' {
		s.pos++
	}
	if s.pos < len(s.data) && s.data[s.pos] == '0' {
		s.pos++
	} else if !s.digits() {
		return nil, s.unexpected("a digit")
	}
	if s.pos < len(s.data) && s.data[s.pos] == '.' {
		s.pos++
		if !s.digits() {
			return nil, s.unexpected("a digit")
		}
	}
	if s.pos < len(s.data) && (s.data[s.pos] == 'e' || s.data[s.pos] == 'E') {
		s.pos++
		if s.pos < len(s.data) && (s.data[s.pos] == '+' || s.data[s.pos] == '-') {
			s.pos++
		}
		if !s.digits() {
			return nil, s.unexpected("a digit")
		}
	}
	return s.data[start:s.pos], nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// text reads a string into to; a value of another type is skipped and leaves "", as a missing one would.
func (s *scanner) text(to *string) error {
	*to = ""
	if s.peek() != '"' {
		return s.skip()
	}
	raw, err := s.str()
	if err != nil {
		return err
	}
	*to = string(unescape(raw))
	return nil
}

// integer reads an integer into to; a value of another type is skipped and leaves 0.
func (s *scanner) integer(to *int64) error {
	*to = 0
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		return s.skip()
	}
	raw, err := s.number()
	if err != nil {
		return err
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		*to = n
	}
	return nil
}

// fields reads an object's fields with the callback; a value of another type is skipped.
func (s *scanner) fields(field func(key []byte) error) error {
	if s.peek() != '{' {
		return s.skip()
	}
	return s.object(field)
}

// unescape resolves the escapes of a checked string, which keys and names rarely have.
func unescape(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	var out string
	if err := json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &out); err != nil {
		return raw // unreachable unless bug: the scanner has checked the string
	}
	return []byte(out)
}
