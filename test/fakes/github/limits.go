package fakegithub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The limits of https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api.
const (
	usualLimit    = 5000
	limitWindow   = time.Hour
	secondaryDocs = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
	primaryDocs   = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-primary-rate-limits"
)

// usage is what one token has used of its hour.
type usage struct {
	used  int
	reset time.Time
}

// Fault makes the next requests fail.
type Fault struct {
	// Kind is "primary" (the hourly limit: X-RateLimit-Remaining 0 and X-RateLimit-Reset), "secondary" (the limit on
	// bursts: Retry-After), "outage" (a 502 with an HTML page) or "refusal" (Status, Message and Errors as they are
	// given).
	Kind string `json:"kind"`
	// Requests is how many requests fail; 0 = 1.
	Requests int `json:"requests"`
	// RetryAfter is how many seconds the client is told to wait; 0 = 60.
	RetryAfter int `json:"retry_after"`
	// Status is 403 (0 means that; the only one go-github v66 takes for a limit) or 429 for limits, 500 to 504 for
	// outages.
	Status int `json:"status"`
	// Message and Errors are what a refusal says.
	Message string `json:"message"`
	Errors  []any  `json:"errors"`
	// Method restricts the fault to requests of that method; "" = any.
	Method string `json:"method"`
	// Path restricts the fault to requests whose path contains it; "" = all of the REST API, none of Git.
	Path string `json:"path"`
}

// FailNext adds a fault. Faults are used up one after the other; Requests -1 stays until ClearFaults.
func (s *Server) FailNext(f Fault) error {
	if f.Kind != "primary" && f.Kind != "secondary" && f.Kind != "outage" && f.Kind != "refusal" {
		return fmt.Errorf("no fault of kind %q: want primary, secondary, outage or refusal", f.Kind)
	}
	if f.Requests == 0 {
		f.Requests = 1
	}
	if f.RetryAfter == 0 {
		f.RetryAfter = 60
	}
	if f.Status == 0 {
		f.Status = http.StatusForbidden
		if f.Kind == "outage" {
			f.Status = http.StatusBadGateway
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
	return nil
}

// ClearFaults takes all faults away.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// fault answers the error that the next request gets, or nil; Git requests are meant only by faults whose Path says so.
// The mutex must be held.
func (s *Server) fault(method, path string, git bool) error {
	if strings.HasSuffix(path, "/rate_limit") {
		return nil
	}
	for i := range s.faults {
		f := s.faults[i]
		if !strings.Contains(path, f.Path) || git && f.Path == "" || f.Method != "" && f.Method != method {
			continue
		}
		if f.Requests > 0 {
			s.faults[i].Requests--
			if f.Requests == 1 {
				s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
			}
		}
		return s.failure(f)
	}
	return nil
}

func (s *Server) failure(f Fault) error {
	e := &apiError{Status: f.Status, Header: http.Header{}}
	switch f.Kind {
	case "primary":
		return s.exhausted(f.Status, usualLimit, s.now().Add(time.Duration(f.RetryAfter)*time.Second))
	case "secondary":
		e.Message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
		e.Docs = secondaryDocs
		e.Header.Set("Retry-After", strconv.Itoa(f.RetryAfter))
	case "refusal":
		e.Message, e.Errors, e.Docs = f.Message, f.Errors, docs
	default:
		e.Message, e.Docs = "Server Error", docs
	}
	return e
}

func (s *Server) exhausted(status, limit int, reset time.Time) error {
	e := &apiError{Status: status, Docs: primaryDocs, Header: http.Header{}}
	e.Message = "API rate limit exceeded for user ID 1. If you reach out to GitHub Support for help, please include the request ID."
	setLimits(e.Header, limit, limit, reset)
	return e
}

func setLimits(h http.Header, limit, used int, reset time.Time) {
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, limit-used)))
	h.Set("X-RateLimit-Used", strconv.Itoa(used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
}

// count charges the request to its token and refuses it beyond the limit. Without Options.RateLimit the headers
// count but never reach the end. The mutex must be held.
func (s *Server) count(c *call) error {
	u := s.used(c.who)
	if strings.HasSuffix(c.r.URL.Path, "/rate_limit") {
		return nil
	}
	u.used++
	if s.limit == 0 {
		setLimits(c.head, usualLimit, min(u.used, usualLimit-100), u.reset)
		return nil
	}
	if u.used > s.limit {
		return s.exhausted(http.StatusForbidden, s.limit, u.reset)
	}
	setLimits(c.head, s.limit, u.used, u.reset)
	return nil
}

func (s *Server) used(who principal) *usage {
	key := "the app"
	if who.token != nil {
		key = who.token.Value
	}
	u := s.usage[key]
	if u == nil || !s.now().Before(u.reset) {
		u = &usage{reset: s.now().Add(limitWindow).Truncate(time.Second)}
		s.usage[key] = u
	}
	return u
}

// getRateLimit is GET /rate_limit, which costs nothing.
func (s *Server) getRateLimit(c *call) (int, any, error) {
	u := s.used(c.who)
	limit := s.limit
	if limit == 0 {
		limit = usualLimit
	}
	core := object{"limit": limit, "used": u.used, "remaining": max(0, limit-u.used), "reset": u.reset.Unix(), "resource": "core"}
	return http.StatusOK, object{"resources": object{"core": core}, "rate": core}, nil
}

// control serves /_fake/: what a person or a test may switch from outside the process.
//
//	POST   /_fake/faults   a Fault as JSON
//	DELETE /_fake/faults   no more faults
//	POST   /_fake/flush    wait for the webhooks (at most a minute)
//	GET    /_fake/writes   what was changed, one line each
func (s *Server) control(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "POST /_fake/faults":
		var f Fault
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&f); err != nil {
			http.Error(w, "reading the fault: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := s.FailNext(f); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case "DELETE /_fake/faults":
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	case "POST /_fake/flush":
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		if err := s.Flush(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusGatewayTimeout)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case "GET /_fake/writes":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		for _, line := range s.Writes() {
			_, _ = fmt.Fprintln(w, line)
		}
	default:
		http.Error(w, "want POST or DELETE /_fake/faults, POST /_fake/flush or GET /_fake/writes", http.StatusNotFound)
	}
}
