package fakegithub

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const docs = "https://docs.github.com/rest"

// maxBody is more than any JSON body that a client of this API sends.
const maxBody = 10 << 20

// object is a JSON object as it goes over the wire.
type object = map[string]any

// apiError is a refusal in GitHub's form.
type apiError struct {
	Status  int
	Message string
	Docs    string
	Errors  []any
	Header  http.Header
}

func (e *apiError) Error() string {
	s := fmt.Sprintf("%d %s", e.Status, e.Message)
	for _, d := range e.Errors {
		s += ": " + sentence(d)
	}
	return s
}

// sentence says what a detail of a refusal does.
func sentence(detail any) string {
	fields, ok := detail.(object)
	if !ok {
		return fmt.Sprint(detail)
	}
	if message, ok := fields["message"]; ok {
		return fmt.Sprint(message)
	}
	what := fields["field"]
	if what == nil {
		what = fields["resource"]
	}
	code := fmt.Sprint(fields["code"])
	words := map[string]string{"missing_field": "is missing", "missing": "does not exist", "invalid": "is not valid", "already_exists": "exists already"}
	return fmt.Sprintf("%v %s", what, cmp.Or(words[code], code))
}

func refuse(status int, message string) *apiError {
	return &apiError{Status: status, Message: message, Docs: docs}
}

// invalid is the 422 that names one field, after
// https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed.
func invalid(resource, field, code, message string) *apiError {
	e := refuse(http.StatusUnprocessableEntity, "Validation Failed")
	detail := object{"resource": resource, "code": code}
	if field != "" {
		detail["field"] = field
	}
	if message != "" {
		detail["message"] = message
	}
	e.Errors = []any{detail}
	return e
}

var errNotFound = refuse(http.StatusNotFound, "Not Found")

// call is one request on its way through a handler.
type call struct {
	r    *http.Request
	head http.Header // of the answer
	who  principal
	repo *repository // nil outside /repos/{owner}/{repo}
	body []byte
}

// plain is an answer that is not JSON.
type plain struct {
	contentType string
	text        string
}

// route is one endpoint. run is called with the mutex held, unless unlocked: then it takes it itself around
// what is not Git.
type route struct {
	pattern  string
	need     need
	run      func(*Server, *call) (int, any, error)
	unlocked bool
}

func (c *call) decode(v any) error {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			e := refuse(http.StatusUnprocessableEntity, "Invalid request.\n\nFor '"+kind.Field+"', "+kind.Value+" is not of the expected type.")
			return e
		}
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	return nil
}

// number reads a numeric part of the path.
func (c *call) number(name string) (int64, error) {
	n, err := strconv.ParseInt(c.r.PathValue(name), 10, 64)
	if err != nil {
		return 0, errNotFound
	}
	return n, nil
}

// issue finds the issue or pull request that the path names.
func (c *call) issue() (*Issue, error) {
	n, err := c.number("number")
	if err != nil {
		return nil, err
	}
	if is := c.repo.issue(int(n)); is != nil {
		return is, nil
	}
	return nil, errNotFound
}

// ServeHTTP lets the Server be mounted elsewhere, too.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/_fake"):
		s.control(w, r)
	case isGit(r.URL.Path):
		s.serveGit(w, r)
	case strings.HasPrefix(r.URL.Path, "/api/v3/"):
		http.StripPrefix("/api/v3", s.handler).ServeHTTP(w, r)
	case isPage(r):
		s.pages.ServeHTTP(w, r)
	default:
		s.handler.ServeHTTP(w, r)
	}
}

func (s *Server) routes() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = s.byNumber(r)
		found, ok := s.endpoints.find(r)
		if !ok {
			s.log.Warn("fake github: no such endpoint", "method", r.Method, "path", r.URL.Path)
			s.answer(w, r, 0, nil, errNotFound)
			return
		}
		s.serve(w, r, found)
	})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, rt route) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		s.answer(w, r, 0, nil, refuse(http.StatusRequestEntityTooLarge, "Payload too big"))
		return
	}
	c := &call{r: r, head: w.Header(), body: body}
	status, answer, err := s.run(c, rt)
	s.answer(w, r, status, answer, err)
}

// run checks who asks and whether they may, then calls the endpoint.
func (s *Server) run(c *call, rt route) (int, any, error) {
	s.mu.Lock()
	locked := true
	defer func() {
		if locked {
			s.mu.Unlock()
		}
	}()
	if err := s.fault(c.r.Method, c.r.URL.Path, false); err != nil {
		return 0, nil, err
	}
	var err error
	if c.who, err = s.authenticate(c.r); err != nil {
		return 0, nil, err
	}
	if err := s.count(c); err != nil {
		return 0, nil, err
	}
	if owner := c.r.PathValue("owner"); owner != "" {
		if c.repo = s.find(owner + "/" + c.r.PathValue("repo")); c.repo == nil {
			return 0, nil, s.moved(c.r, owner+"/"+c.r.PathValue("repo"))
		}
		if rt.need.role != noRole {
			if err := s.permits(c.who, c.repo, rt.need); err != nil {
				return 0, nil, err
			}
		}
	}
	if rt.unlocked {
		s.mu.Unlock()
		locked = false
	}
	return rt.run(s, c)
}

// answer writes what an endpoint returned. A GET gets an ETag, and 304 if the client has that version already.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, status int, v any, err error) {
	h := w.Header()
	h.Set("Server", "fakegithub")
	h.Set("X-GitHub-Media-Type", "github.v3; format=json")
	h.Set("X-GitHub-Request-Id", requestID())
	if err != nil {
		var e *apiError
		if !errors.As(err, &e) {
			s.log.Error("fake github: request failed", "path", r.URL.Path, "error", err)
			e = refuse(http.StatusInternalServerError, "Server Error")
		}
		for k, v := range e.Header {
			h[k] = v
		}
		status = e.Status
		o := object{"message": e.Message, "documentation_url": e.Docs, "status": strconv.Itoa(status)}
		if e.Errors != nil {
			o["errors"] = e.Errors
		}
		v = o
	}
	if status == http.StatusNoContent || v == nil {
		w.WriteHeader(status)
		return
	}
	var data []byte
	if p, ok := v.(plain); ok {
		h.Set("Content-Type", p.contentType)
		data = []byte(p.text)
	} else {
		h.Set("Content-Type", "application/json; charset=utf-8")
		if data, err = json.Marshal(v); err != nil {
			s.log.Error("fake github: encoding an answer", "path", r.URL.Path, "error", err)
			http.Error(w, `{"message":"Server Error"}`, http.StatusInternalServerError)
			return
		}
	}
	if r.Method == http.MethodGet && status == http.StatusOK {
		tag := fmt.Sprintf(`W/"%x"`, sha256.Sum256(data))
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client may have gone
}

// paged renders the page that the request asks for and sets the Link header, after
// https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api.
func paged[T any](s *Server, c *call, all []T, render func(T) object) []object {
	q := c.r.URL.Query()
	page, size := atLeast(q.Get("page"), 1, 1), perPage(q)
	last := max(1, (len(all)+size-1)/size)
	var links []string
	link := func(rel string, n int) {
		q.Set("page", strconv.Itoa(n))
		links = append(links, fmt.Sprintf(`<%s%s?%s>; rel="%s"`, s.base, c.r.URL.Path, q.Encode(), rel))
	}
	if page > 1 {
		link("prev", min(page-1, last))
	}
	if page < last {
		link("next", page+1)
		link("last", last)
	}
	if page > 1 {
		link("first", 1)
	}
	if links != nil {
		c.head.Set("Link", strings.Join(links, ", "))
	}
	from := min((page-1)*size, len(all))
	out := []object{}
	for _, v := range all[from:min(from+size, len(all))] {
		out = append(out, render(v))
	}
	return out
}

func perPage(q url.Values) int { return min(100, atLeast(q.Get("per_page"), 1, 30)) }

func atLeast(text string, least, otherwise int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < least {
		return otherwise
	}
	return n
}
