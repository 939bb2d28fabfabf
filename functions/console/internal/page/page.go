// Package page is what people see of the console: templates, one style sheet, a few small scripts, and the words in
// English and Russian.
//
// A page is a frame (navigation, who is signed in, language) around one template. Templates get values of package api
// and words of one language, and decide nothing about rights. Each is whole without JavaScript: scripts only keep it
// current. html/template escapes everything; the one place that makes HTML of text is package sgr.
//
// Static files carry a hash of their contents in their name, so browsers keep them for ever.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"codexk8s.dev/functions/console/internal/api"
)

//go:embed templates
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// A Frame is a page: what is around it, and its own.
type Frame struct {
	Name      string // of the template
	Status    int    // of HTTP; 0 = 200
	Title     string // of the browser's tab; "" = the words' own for the page
	Login     string // who is signed in; "" = nobody
	Language  string
	Path      string // of this page, with its query
	Now       time.Time
	Body      any    // what the template shows
	Elsewhere string // the page that is meant; "" = this one
	Live      string // what the page follows while it is looked at; "" = nothing
}

// W are the words in the page's language.
func (f Frame) W() *Words { return catalogue[f.Language] }

// Section is the entry of the navigation that the page belongs to.
func (f Frame) Section() string {
	first, _, _ := strings.Cut(strings.TrimPrefix(f.Path, "/"), "/")
	first, _, _ = strings.Cut(first, "?")
	if first == "" || first == "approvals" {
		return "home"
	}
	return first
}

// SignIn is the page on which people sign in.
type SignIn struct {
	To      string // where they go then
	Missing string // what the operator has to set before anybody can
}

// With is a part of the page that is about v.
func (f Frame) With(v any) any { return view{f, v} }

// A view is what a template is given: the frame's words and time, and its body.
type view struct {
	Frame
	Body any
}

// Write answers with a page.
func Write(w http.ResponseWriter, r *http.Request, status int, f Frame) error {
	var out bytes.Buffer
	t := pages[f.Name]
	if t == nil {
		return fmt.Errorf("there is no page %q", f.Name)
	}
	part := "frame"
	if Partial(r) {
		part = "part"
	}
	if err := t.ExecuteTemplate(&out, part, view{f, f.Body}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Vary", "Accept-Encoding, Accept-Language, Cookie")
	body := out.Bytes()
	if packs(r) {
		w.Header().Set("Content-Encoding", "gzip")
		body = pack(body, gzip.DefaultCompression)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the browser may have gone
	return nil
}

// Partial reports whether the browser has the frame, and asks for what is in it.
func Partial(r *http.Request) bool { return r.Header.Get("HX-Request") != "" }

// Lines are lines of a log as a page has them.
func Lines(l api.Log) (string, error) {
	var out strings.Builder
	if err := pages["run"].ExecuteTemplate(&out, "lines", l); err != nil {
		return "", err
	}
	return out.String(), nil
}

// pages are the templates by name, each with the frame and the parts that several share.
var pages = func() map[string]*template.Template {
	shared := []string{"templates/frame.html", "templates/parts.html"}
	all := map[string]*template.Template{}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		panic(err) // a malformed pattern
	}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "frame" || name == "parts" {
			continue
		}
		all[name] = template.Must(template.New(name).Funcs(functions).ParseFS(templateFiles, append(shared, file)...))
	}
	return all
}()

// static are the files by the name that they are served under, and names the other way round.
var static, names = func() (map[string][]byte, map[string]string) {
	contents, served := map[string][]byte{}, map[string]string{}
	files, err := fs.Glob(staticFiles, "static/*")
	if err != nil {
		panic(err) // a malformed pattern
	}
	for _, file := range files {
		data, err := staticFiles.ReadFile(file)
		if err != nil {
			panic(err) // the program is incomplete
		}
		hash := sha256.Sum256(data)
		ext := path.Ext(file)
		base := strings.TrimSuffix(path.Base(file), ext)
		name := base + "-" + hex.EncodeToString(hash[:6]) + ext
		contents[name], served[path.Base(file)] = data, name
	}
	return contents, served
}()

var contentTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

// Static serves the files that pages load.
func Static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	data, found := static[name]
	if !found {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", contentTypes[path.Ext(name)])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	if packs(r) {
		w.Header().Set("Content-Encoding", "gzip")
		data = packed()[name]
	}
	w.Header().Set("Vary", "Accept-Encoding")
	_, _ = w.Write(data) // the browser may have gone
}

// Query is a parameter of an address.
func Query(name, value string) string { return url.Values{name: {value}}.Encode() }
