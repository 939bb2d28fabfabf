package approval

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The limits of arguments: people could not judge more.
const (
	maxArguments = 32 << 10 // bytes
	maxDepth     = 16       // of objects and lists in one another
)

// lonely finds what JSON can escape and no text can hold: a zero byte, and halves of surrogate pairs. The first
// alternatives match what is fine.
var lonely = regexp.MustCompile(`\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u(?:[dD][89a-fA-F]|0000)`)

// Canonical returns JSON in the one form that all equivalent texts have: keys sorted as RFC 8785 does, no blanks, no
// needless escapes, numbers as they were written. It refuses what two readers could understand differently: a duplicate
// key, invalid UTF-8, half a surrogate pair, more than one value; also a zero byte, more than 32 KiB, and more than 16
// values in one another.
// https://www.rfc-editor.org/rfc/rfc8785
func Canonical(data []byte) (json.RawMessage, error) {
	if len(data) > maxArguments {
		return nil, fmt.Errorf("the JSON has %d bytes, at most %d are taken", len(data), maxArguments)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("the JSON is not UTF-8")
	}
	for _, escape := range lonely.FindAll(data, -1) {
		if escape[1] == 'u' && len(escape) < 12 {
			return nil, errors.New(`the JSON has \u0000 or half a surrogate pair, which no text can hold`)
		}
	}
	c := canonical{d: json.NewDecoder(bytes.NewReader(data))}
	c.d.UseNumber()
	if err := c.value("the JSON", 0); err != nil {
		return nil, err
	}
	if _, err := c.d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the JSON goes on after its first value")
	}
	return c.out, nil
}

// canonical is one value under way.
type canonical struct {
	d   *json.Decoder
	out []byte
}

// value reads the next value and writes it. at says where it is, for errors.
func (c *canonical) value(at string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: more than %d values are in one another", at, maxDepth)
	}
	token, err := c.d.Token()
	if err != nil {
		return fmt.Errorf("%s is malformed: %w", at, err)
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return c.object(at, depth)
		}
		return c.list(at, depth)
	case string:
		c.text(token)
	case json.Number:
		c.out = append(c.out, token...)
	case bool:
		c.out = strconv.AppendBool(c.out, token)
	case nil:
		c.out = append(c.out, "null"...)
	}
	return nil
}

func (c *canonical) object(at string, depth int) error {
	begin := len(c.out)
	values := map[string][]byte{}
	for c.d.More() {
		token, err := c.d.Token()
		if err != nil {
			return fmt.Errorf("%s is malformed: %w", at, err)
		}
		key := token.(string) // the decoder lets nothing else be a key
		if _, twice := values[key]; twice {
			return fmt.Errorf("%s has the key %q twice", at, key)
		}
		if err := c.value(fmt.Sprintf("%s at %q", at, key), depth+1); err != nil {
			return err
		}
		values[key] = bytes.Clone(c.out[begin:])
		c.out = c.out[:begin]
	}
	c.out = append(c.out, '{')
	for i, key := range sortedKeys(values) {
		if i > 0 {
			c.out = append(c.out, ',')
		}
		c.text(key)
		c.out = append(append(c.out, ':'), values[key]...)
	}
	c.out = append(c.out, '}')
	return c.end(at)
}

func (c *canonical) list(at string, depth int) error {
	c.out = append(c.out, '[')
	for i := 0; c.d.More(); i++ {
		if i > 0 {
			c.out = append(c.out, ',')
		}
		if err := c.value(fmt.Sprintf("%s at %d", at, i), depth+1); err != nil {
			return err
		}
	}
	c.out = append(c.out, ']')
	return c.end(at)
}

func (c *canonical) end(at string) error {
	if _, err := c.d.Token(); err != nil {
		return fmt.Errorf("%s is malformed: %w", at, err)
	}
	return nil
}

// sortedKeys sorts by UTF-16 code units, as RFC 8785, 3.2.3 wants it.
func sortedKeys(values map[string][]byte) []string {
	return slices.SortedFunc(maps.Keys(values), func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
}

// short are the escapes that have a letter.
var short = strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// text writes a string with the fewest escapes that JSON takes, as RFC 8785, 3.2.2.2 wants it.
func (c *canonical) text(s string) {
	c.out = append(c.out, '"')
	for _, r := range short.Replace(s) {
		if r < ' ' {
			c.out = fmt.Appendf(c.out, `\u%04x`, r)
			continue
		}
		c.out = utf8.AppendRune(c.out, r)
	}
	c.out = append(c.out, '"')
}
