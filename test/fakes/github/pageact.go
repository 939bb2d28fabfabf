package fakegithub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"codexk8s.dev/test/fakes/look"
)

// action is one call of the REST API that a page offers: as a form, and as the curl command that does the same.
type action struct {
	Name         string // of its button
	Kind         string // how the button looks: primary, danger or ""
	Method, Path string // of the call
	Body         object // what nobody is asked for
	Fields       []field
	Label        *Label // that is set or removed

	Back    string // page to show afterwards
	Command string
}

// field is a part of the body that a person writes.
type field struct {
	Name, Title, Value string
	Long               bool // more than a line
}

// JSON is the fixed part of the body.
func (a action) JSON() (string, error) {
	if a.Body == nil {
		return "{}", nil
	}
	data, err := json.Marshal(a.Body)
	return string(data), err
}

// offer completes an action for the page and for whoever acts.
func (f *frame) offer(a action) (action, error) {
	a.Back = f.Path
	a.Command = "curl -X " + a.Method + " -H " + quote("Authorization: Bearer "+tokenOf(f.Login)) + " " + quote(f.Base+a.Path)
	body := object{}
	for name, value := range a.Body {
		body[name] = value
	}
	for _, field := range a.Fields {
		body[field.Name] = field.Value
		if field.Value == "" {
			body[field.Name] = "…"
		}
	}
	if len(body) > 0 {
		data, err := plainJSON(body)
		if err != nil {
			return a, err
		}
		a.Command += " -d " + quote(string(data))
	}
	return a, nil
}

// offers completes several.
func (f *frame) offers(list ...action) ([]action, error) {
	for i, a := range list {
		var err error
		if list[i], err = f.offer(a); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// quote writes a word as a shell takes it.
func quote(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:%") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func tokenOf(login string) string { return login + "-token" }

// perform makes the call of a form and shows the page again. What GitHub refuses is shown there.
func (s *Server) perform(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := look.OwnBrowser(r, s.base); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	back := look.LocalPath(r.PostFormValue("back"))
	body := object{}
	if text := r.PostFormValue("body"); text != "" {
		if err := json.Unmarshal([]byte(text), &body); err != nil || body == nil {
			http.Error(w, "The form's body is no JSON object.", http.StatusBadRequest)
			return
		}
	}
	for name, values := range r.PostForm {
		if field, ok := strings.CutPrefix(name, "field."); ok {
			body[field] = strings.ReplaceAll(values[0], "\r\n", "\n")
		}
	}
	method, path, _ := strings.Cut(r.PostFormValue("call"), " ")
	err := s.callAs(r, method, path, body)
	var refused *apiError
	if err != nil && !errors.As(err, &refused) {
		s.log.Error("fake github: an action of a page failed", "path", path, "error", err)
		http.Error(w, "The action failed. The log of the fake GitHub says why.", http.StatusInternalServerError)
		return
	}
	if refused != nil {
		back += "?" + url.Values{"refused": {refused.Error()}}.Encode()
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// callAs calls an endpoint of the REST API for the account that acts.
func (s *Server) callAs(r *http.Request, method, path string, body object) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the call: %w", err)
	}
	req, err := http.NewRequestWithContext(r.Context(), method, s.base+path, bytes.NewReader(data))
	if err != nil {
		return errNotFound
	}
	s.mu.Lock()
	req.Header.Set("Authorization", "Bearer "+tokenOf(s.actor(r)))
	s.mu.Unlock()
	rt, ok := s.endpoints.find(req)
	if !ok {
		return errNotFound
	}
	_, _, err = s.run(&call{r: req, head: http.Header{}, body: data}, rt)
	return err
}

// actAs changes the account that acts.
func (s *Server) actAs(w http.ResponseWriter, r *http.Request) {
	if err := look.OwnBrowser(r, s.base); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	s.mu.Lock()
	known := slices.Contains(s.people(), r.PostFormValue("login"))
	s.mu.Unlock()
	if !known {
		http.Error(w, "There is no such account.", http.StatusUnprocessableEntity)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "as", Value: r.PostFormValue("login"), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, look.LocalPath(r.PostFormValue("back")), http.StatusSeeOther)
}
