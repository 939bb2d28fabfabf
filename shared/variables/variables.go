// Package variables reads the environment into a program's env struct (github.com/kelseyhightower/envconfig), and the
// files that it names.
//
// Values often come from files: a Secret made with --from-file, an editor on Windows, a line copied from a web page. So
// blanks, line ends and a byte order mark around a value are dropped, CRLF is a line end, and the elements of a list
// are separated by commas or line ends, with or without blanks. No setting gives such characters a meaning. FromFile
// reads a file that a variable names.
package variables

import (
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/kelseyhightower/envconfig"
)

// Read fills the struct that p points to. A required variable that is empty is an error like one that is not set; every
// error names its variable.
func Read(p any) error {
	if err := each(reflect.TypeOf(p).Elem(), tidy); err != nil {
		return err
	}
	if err := envconfig.Process("", p); err != nil {
		return err
	}
	return each(reflect.TypeOf(p).Elem(), func(field reflect.StructField, name string) error {
		if field.Tag.Get("required") == "true" && os.Getenv(name) == "" {
			return fmt.Errorf("required variable %s is empty", name)
		}
		return nil
	})
}

// each calls do for every field that has a variable, those of embedded structs included.
func each(t reflect.Type, do func(field reflect.StructField, name string) error) error {
	for field := range t.Fields() {
		name := field.Tag.Get("envconfig")
		var err error
		switch {
		case field.Anonymous:
			err = each(field.Type, do)
		case name != "":
			err = do(field, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tidy puts the tidied value into the environment, where envconfig reads it.
func tidy(field reflect.StructField, name string) error {
	was, set := os.LookupEnv(name)
	value := trim(was)
	if field.Type.Kind() == reflect.Slice && field.Type.Elem().Kind() == reflect.String {
		value = strings.Join(List(value), ",")
	}
	if !set || value == was {
		return nil
	}
	if err := os.Setenv(name, value); err != nil {
		return fmt.Errorf("variable %s: %w", name, err)
	}
	return nil
}

// trim removes from a value what came with its file.
func trim(value string) string {
	value = strings.ReplaceAll(value, "\r\n", "\n")
	return strings.Trim(value, " \t\r\n\uFEFF")
}

// List splits a value at commas and line ends; empty elements are dropped.
func List(value string) (all []string) {
	for one := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		if one = trim(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}
