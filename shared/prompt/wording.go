package prompt

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/template"
	"text/template/parse"

	"codexk8s.dev/shared/events"
)

// DefaultLanguage is that of prompts where neither project nor installation names one.
const DefaultLanguage = "en"

//go:embed templates
var templateFiles embed.FS

// builtin are the parts that come with the platform, by language.
var builtin = sync.OnceValue(func() map[string]*template.Template {
	all := map[string]*template.Template{}
	folders, err := fs.ReadDir(templateFiles, "templates")
	if err != nil {
		panic("prompt: the embedded templates: " + err.Error())
	}
	for _, folder := range folders {
		all[folder.Name()] = template.Must(template.New("").ParseFS(templateFiles, "templates/"+folder.Name()+"/*.tmpl"))
	}
	return all
})

// Languages are those of the built-in parts, sorted.
func Languages() []string { return slices.Sorted(maps.Keys(builtin())) }

// Kinds are those that have a prompt.
func Kinds() []events.Kind {
	return []events.Kind{events.KindWork, events.KindRevise, events.KindReview, events.KindDiscussion}
}

// blocks are the parts that every kind may include.
var blocks = []string{"discussed", "documents", "deliver", "gate", "rules", "trust", "end"}

// stageParts are those that each stage may have of its own, in the order of data's fields.
var stageParts = []string{"goal", "method", "done", "checks", "questions"}

// messages are the parts for a conversation that goes on.
var messages = []string{"continue", "continue-restored", "incomplete", "decided"}

// Own are parts that somebody has in place of the built-in ones, in the prompt's language.
type Own struct {
	Source  string            // whose: Installation or OfProject
	Version string            // by which these people know them
	Parts   map[string]string // template by the part's name
}

// Sources of parts.
const (
	BuiltIn      = "built-in"
	Installation = "installation"
	OfProject    = "project"
)

// Used says what a prompt was made of.
type Used struct {
	Template string `json:"template"`          // kind and stage, e.g. "revise dev"
	Language string `json:"language"`          // e.g. "en"
	Source   string `json:"source"`            // the last of those who have a part in it
	Version  string `json:"version,omitempty"` // of that source's parts; "" = built-in ones have none
	Hash     string `json:"hash"`              // SHA-256 of all parts that it may be made of, hex
}

func (u Used) String() string {
	return fmt.Sprintf("`%s`, %s, %s, %.12s", u.Template, u.Language, strings.TrimSpace(u.Source+" "+u.Version), u.Hash)
}

// A PartError is about a part that can't be used.
type PartError struct {
	Source string // whose
	Part   string
	Line   int // of its template, from 1
	Text   string
}

func (e *PartError) Error() string {
	return fmt.Sprintf("the %s's part %q of the prompt, line %d: %s", e.Source, e.Part, e.Line, e.Text)
}

// fault is an error of reading or executing a part, as a PartError if it is not a built-in one.
func (w *wording) fault(part string, err error) error {
	var executing template.ExecError
	if errors.As(err, &executing) {
		part = executing.Name
	}
	own, ok := w.own[part]
	if !ok {
		return fmt.Errorf("the built-in part %q of the prompt: %w", part, err)
	}
	e := &PartError{Source: own.Source, Part: part, Line: 1, Text: err.Error()}
	if m := ofTemplate.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		e.Text = noField.ReplaceAllString(m[2], "there is no field .$1")
	}
	if m := startedAt.FindStringSubmatchIndex(e.Text); m != nil {
		e.Line, _ = strconv.Atoi(e.Text[m[2]:m[3]])
		e.Text = e.Text[:m[0]]
	}
	return e
}

// What package text/template says of a fault: where, sometimes at which expression, and what.
var (
	ofTemplate = regexp.MustCompile(`^template: [^:]*:(\d+)(?::\d+)?: (?:executing ".*?" at )?(.*)$`)
	startedAt  = regexp.MustCompile(` started at [^:]*:(\d+)$`)
	noField    = regexp.MustCompile(`can't evaluate field (\w+) in type .*$`)
)

// wording is the parts that apply to a prompt.
type wording struct {
	language string
	parts    *template.Template
	own      map[string]Own // by part; the others are built in
}

// wordingOf are the built-in parts of a language with others in their place.
func wordingOf(language string, own []Own) (*wording, error) {
	if language == "" {
		language = DefaultLanguage
	}
	parts, ok := builtin()[language]
	if !ok {
		return nil, fmt.Errorf("there are no prompts in the language %q: want one of %s", language, strings.Join(Languages(), ", "))
	}
	w := &wording{language: language, parts: parts, own: map[string]Own{}}
	if len(own) == 0 {
		return w, nil
	}
	w.parts = template.Must(parts.Clone())
	for _, o := range own {
		for _, name := range slices.Sorted(maps.Keys(o.Parts)) {
			w.own[name] = o
			parsed, err := parsePart(name, o.Parts[name])
			if err != nil {
				return nil, w.fault(name, err)
			}
			template.Must(w.parts.AddParseTree(name, parsed.Tree))
		}
	}
	return w, nil
}

// parsePart reads one part, which defines no other.
func parsePart(name, text string) (*template.Template, error) {
	parsed, err := template.New(name).Parse(text)
	switch {
	case err != nil:
		return nil, err
	case len(parsed.Templates()) > 1:
		return nil, errors.New("it defines another part: give each a name of its own in the file")
	case parse.IsEmptyTree(parsed.Root):
		return nil, errors.New("it is empty")
	}
	return parsed, nil
}

func (w *wording) has(part string) bool { return w.parts.Lookup(part) != nil }

// ofStage is the stage's own part of that name, else that for any stage.
func (w *wording) ofStage(part, stage string) string {
	if own := part + " " + stage; w.has(own) {
		return own
	}
	return part + " any"
}

// forStage is the part that stands in for another one in that stage, if there is one.
func (w *wording) forStage(part, stage string) string {
	if own := part + " " + stage; w.has(own) {
		return own
	}
	return part
}

// write executes a part.
func (w *wording) write(part string, d data) (string, error) {
	var out strings.Builder
	if err := w.parts.ExecuteTemplate(&out, part, d); err != nil {
		return "", w.fault(part, err)
	}
	return strings.TrimSpace(out.String()), nil
}

// used says what the prompt is made of: the named part, those without a stage that it may include, and those of its
// stage and artefacts.
func (w *wording) used(name string, in Facts) Used {
	u := Used{Template: strings.TrimSpace(string(in.Kind) + " " + in.Stage), Language: w.language, Source: BuiltIn}
	mine := append([]string{name}, blocks...)
	for _, part := range stageParts {
		mine = append(mine, w.ofStage(part, in.Stage))
	}
	for _, a := range in.Artefacts {
		if part := "artefact " + a.Name; w.has(part) {
			mine = append(mine, part)
		}
	}
	slices.Sort(mine)
	sum := sha256.New()
	for _, part := range mine {
		sum.Write([]byte(part + "\x00" + w.parts.Lookup(part).Root.String() + "\x00"))
		if o, ok := w.own[part]; ok && u.Source != OfProject {
			u.Source, u.Version = o.Source, o.Version
		}
	}
	u.Hash = hex.EncodeToString(sum.Sum(nil))
	return u
}
