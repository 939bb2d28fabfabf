// Package yamlfile reads YAML files that people write, and reports their faults by line.
//
// The decoder finds what has the wrong form, and Read says so in words that need no knowledge of Go. Everything else
// the file's own package checks on the decoded value: it reports each fault to Bad, by its path, and returns Err. So
// files are decoded into plain types, and one error lists all faults.
//
// The package is pure.
package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// File is a document that was read. It knows the line of everything in it, and the faults found so far.
type File struct {
	root  *yaml.Node
	wrong []string
}

// Read decodes the one document of data into the value that into points to. A key that the type doesn't have, a
// duplicate key, a value of another form and a second document are errors. An empty file leaves the value as it is.
func Read(data []byte, into any) (*File, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	var wrong *yaml.TypeError
	switch err := d.Decode(into); {
	case errors.Is(err, io.EOF):
		return &File{}, nil
	case errors.As(err, &wrong):
		return nil, errors.New(inWords(wrong.Errors))
	case err != nil:
		return nil, fmt.Errorf("no YAML: %w", err)
	}
	if err := d.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document in the file, want one")
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("no YAML: %w", err)
	}
	return &File{root: document.Content[0]}, nil
}

// IsEmpty reports whether there was no document.
func (f *File) IsEmpty() bool { return f.root == nil }

// Line returns the line, from 1, of what the path leads to: a string steps into a mapping, a number into a list. If the
// file doesn't have it, it is the line of the last step that it has.
func (f *File) Line(path ...any) int {
	line, _ := f.find(path)
	return line
}

// Has reports whether the file has something at the path.
func (f *File) Has(path ...any) bool {
	_, found := f.find(path)
	return found
}

// Block returns the line where a literal text (`key: |`) begins. ok is false for a text written in another way, whose
// lines are not the file's.
func (f *File) Block(path ...any) (line int, ok bool) {
	node := f.root
	for _, step := range path {
		node, line = child(node, step)
	}
	if node == nil || node.Style != yaml.LiteralStyle {
		return line, false
	}
	return node.Line + 1, true
}

// Bad records a fault of what the path leads to.
func (f *File) Bad(path []any, format string, args ...any) {
	f.BadAt(f.Line(path...), format, args...)
}

// BadAt records a fault of a line, such as one within a Block.
func (f *File) BadAt(line int, format string, args ...any) {
	f.wrong = append(f.wrong, fmt.Sprintf("line %d: %s", line, fmt.Sprintf(format, args...)))
}

// Err returns all faults as one error; nil when there are none.
func (f *File) Err() error {
	if len(f.wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(f.wrong, "; "))
}

func (f *File) find(path []any) (line int, found bool) {
	line = 1
	node := f.root
	for _, step := range path {
		var at int
		if node, at = child(node, step); node == nil {
			return line, false
		}
		line = at
	}
	return line, node != nil
}

// child returns the node that a step leads to and where it begins: in a mapping with its key.
func child(node *yaml.Node, step any) (*yaml.Node, int) {
	if node != nil && node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node == nil {
		return nil, 0
	}
	switch step := step.(type) {
	case int:
		if node.Kind == yaml.SequenceNode && step < len(node.Content) {
			return node.Content[step], node.Content[step].Line
		}
	case string:
		for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
			if key := node.Content[i]; key.Value == step {
				return node.Content[i+1], key.Line
			}
		}
	}
	return nil, 0
}

var (
	wrongForm  = regexp.MustCompile("cannot unmarshal (!!\\w+)(?: `(.*)`)? into (.*)$")
	unknownKey = regexp.MustCompile(`field (.*) not found in type .*$`)
)

// inWords rewords the decoder's errors without the type names of Go and YAML.
func inWords(errs []string) string {
	var all []string
	for _, err := range errs {
		if m := wrongForm.FindStringSubmatch(err); m != nil {
			have := m[2]
			if have == "" {
				have = formOf(m[1])
			}
			err = wrongForm.ReplaceAllLiteralString(err, "want "+formOf(m[3])+", not "+have)
		}
		all = append(all, unknownKey.ReplaceAllString(err, "the key $1 is not known here"))
	}
	return strings.Join(all, "; ")
}

// formOf names a Go type or a YAML tag for people.
func formOf(name string) string {
	switch {
	case strings.HasPrefix(name, "map["), name == "!!map":
		return "names and values"
	case strings.HasPrefix(name, "[]"), name == "!!seq":
		return "a list"
	case strings.HasPrefix(name, "int"), strings.HasPrefix(name, "uint"), name == "!!int":
		return "a whole number"
	case name == "time.Duration":
		return "a duration such as 30m"
	case name == "bool", name == "!!bool":
		return "true or false"
	case strings.Contains(name, "."): // one of our structs
		return "names and values"
	}
	return "a plain value"
}
