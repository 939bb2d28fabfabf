// Package fakechat plays Telegram, Slack, Mattermost, Jira and an HTTP approver with executor, for tests and for trying
// the platform out without an account: on one real socket, each under its own path, in its own wire format. It refuses
// what the real ones refuse, in their words.
//
//	/telegram/bot<token>/sendMessage   Bot API
//	/slack/api/chat.postMessage        Web API
//	/mattermost/api/v4/posts           REST API v4
//	/jira/rest/api/3/issue             REST API v3
//	/approver/approve                  the contract of telegram-approver and telegram-executor
//
// What was sent is kept in memory as posts. A person's acts (Click, Reply, Fill) make the callback that the real
// service makes, signed as it signs it, and return what came back. They are methods for tests; in a browser, at /, one
// sees the posts as people see them and does the same with buttons.
//
// Trouble makes the next calls fail as they do in real life: a limit, a bot that was blocked or kicked, a group that
// moved, a service that is down.
package fakechat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The services, as paths and as names in posts.
const (
	Telegram   = "telegram"
	Slack      = "slack"
	Mattermost = "mattermost"
	Jira       = "jira"
	Approver   = "approver"
)

// Options says how to open a Server. The zero value is a server on a free port of the loopback interface.
type Options struct {
	Addr     string   // to listen on; "" = "127.0.0.1:0"
	URL      string   // by which others reach it; "" = http://<address listened on>
	Callback string   // base URL to which callbacks go, with /telegram, /slack, /jira behind it
	Secret   string   // by which all of them sign; "" = "fake-secret"
	People   []Person // who clicks; nil = ann, bob and eve
	Scopes   []string // that Slack's App was granted; nil = all
	Now      func() time.Time
	Client   *http.Client // for callbacks; nil = one with five seconds of patience
}

// Person has the same account everywhere, but for the form of its id.
type Person struct {
	Name string // "ann"
	ID   int64  // Telegram's; U<ID> at Slack, and so on
}

// Token is the credential that all of them want: Telegram's bot token, Slack's and Mattermost's bearer, Jira's
// password.
const Token = "4242:fake-token"

// Server is the fakes. Its methods may be called by several goroutines at once.
type Server struct {
	o        Options
	base     string
	listener net.Listener
	http     *http.Server

	mu       sync.Mutex // never held while a callback is sent
	posts    []*Post
	forms    []*Form
	told     []Told
	troubles []*Trouble
	last     int64
	moved    map[string]string // Telegram chat → supergroup
	used     map[string]bool   // triggers that have opened a form
}

// Post is a message as it stands now.
type Post struct {
	Channel, Chat, ID string
	ReplyTo           string
	By                string        // "bot", or a person's name
	View              template.HTML // as people see it
	Text              string        // the same without markup
	Buttons           []Button
	Edits             int
	Raw               json.RawMessage // as it came
	metadata          json.RawMessage // of Slack's messages, which people don't see; Jira's properties are the like
	request           string          // in Mattermost's props
}

// Button is what a person can press.
type Button struct {
	Label, Style string
	data         string // what comes back
	url          string // where to; "" = the service's callback
}

// Form is a modal or dialog that is open before somebody.
type Form struct {
	Channel, Title, Label string
	Person                string
	id, state, url, chat  string
	element               string
}

// Told is what only one person sees: a toast, an ephemeral message.
type Told struct{ Channel, Person, Text string }

// Trouble lets the next calls of a channel fail.
type Trouble struct {
	Channel string
	Kind    string        // "limit", "blocked", "kicked", "gone", "migrated", "unauthorized", "down"; "mute" = done once, not answered
	Times   int           // how many calls; 0 = all until Calm
	After   time.Duration // of "limit"; 0 = 1 s
	To      string        // of "migrated": the supergroup
}

// New opens the sockets.
func New(o Options) (*Server, error) {
	s := &Server{o: o, last: 100, moved: map[string]string{}, used: map[string]bool{}}
	if s.o.Secret == "" {
		s.o.Secret = "fake-secret"
	}
	if s.o.People == nil {
		s.o.People = []Person{{"ann", 11}, {"bob", 12}, {"eve", 13}}
	}
	if s.o.Now == nil {
		s.o.Now = time.Now
	}
	if s.o.Client == nil {
		s.o.Client = &http.Client{Timeout: 5 * time.Second}
	}
	addr := o.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for the fake chats (are others running?): %w", err)
	}
	s.listener = l
	if s.base = strings.TrimSuffix(o.URL, "/"); s.base == "" {
		s.base = "http://" + l.Addr().String()
	}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.Default().Error("fake chats: serving ended", "error", err)
		}
	}()
	return s, nil
}

// URL is the address of the pages; a service's API is at URL + "/" + its name.
func (s *Server) URL() string { return s.base }

// Close stops serving.
func (s *Server) Close() error { return s.http.Close() }

// Secret is by what callbacks are signed.
func (s *Server) Secret() string { return s.o.Secret }

// CallTo says where callbacks go from now on.
func (s *Server) CallTo(base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.Callback = strings.TrimSuffix(base, "/")
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	s.telegramRoutes(mux)
	s.slackRoutes(mux)
	s.mattermostRoutes(mux)
	s.jiraRoutes(mux)
	s.approverRoutes(mux)
	s.pageRoutes(mux)
	return s.muted(mux)
}

// Posts are the messages of a channel, oldest first.
func (s *Server) Posts(channel string) []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Post
	for _, p := range s.posts {
		if p.Channel == channel {
			out = append(out, *p)
		}
	}
	return out
}

// Told are the words that only one person saw, oldest first.
func (s *Server) Told(channel string) []Told {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Told
	for _, t := range s.told {
		if t.Channel == channel {
			out = append(out, t)
		}
	}
	return out
}

// Trouble begins a trouble.
func (s *Server) Trouble(t Trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles = append(s.troubles, &t)
}

// Calm ends all troubles.
func (s *Server) Calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles = nil
}

// trouble takes the next trouble of a channel; nil = none. The mutex must be held.
func (s *Server) trouble(channel string) *Trouble {
	for i, t := range s.troubles {
		if t.Channel != channel || t.Kind == "mute" {
			continue
		}
		if t.Times == 1 {
			s.troubles = append(s.troubles[:i:i], s.troubles[i+1:]...)
		} else if t.Times > 1 {
			t.Times--
		}
		return t
	}
	return nil
}

// muted hangs up on calls of a channel in trouble that are done and not answered.
func (s *Server) muted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		channel, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		s.mu.Lock()
		i := slices.IndexFunc(s.troubles, func(t *Trouble) bool { return t.Channel == channel && t.Kind == "mute" })
		if i >= 0 {
			s.troubles = slices.Delete(s.troubles, i, i+1)
		}
		s.mu.Unlock()
		if i < 0 {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
}

// id is the next number. The mutex must be held.
func (s *Server) id() string {
	s.last++
	return strconv.FormatInt(s.last, 10)
}

// post finds a message. The mutex must be held.
func (s *Server) post(channel, chat, id string) *Post {
	for _, p := range s.posts {
		if p.Channel == channel && p.ID == id && (chat == "" || p.Chat == chat) {
			return p
		}
	}
	return nil
}

func (s *Server) person(name string) (Person, error) {
	for _, p := range s.o.People {
		if p.Name == name {
			return p, nil
		}
	}
	return Person{}, fmt.Errorf("the fake chats know nobody called %q", name)
}

// Result is what a callback was answered with.
type Result struct {
	Status int
	Body   string
}

// deliver makes a callback.
func (s *Server) deliver(ctx context.Context, url string, header http.Header, contentType string, body []byte) (Result, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return Result{}, fmt.Errorf("making the callback: %w", err)
	}
	for name, values := range header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	r.Header.Set("Content-Type", contentType)
	res, err := s.o.Client.Do(r)
	if err != nil {
		return Result{}, fmt.Errorf("making the callback: %w", err)
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return Result{}, fmt.Errorf("reading the answer to the callback: %w", err)
	}
	return Result{res.StatusCode, string(said)}, nil
}

// tell keeps what one person sees.
func (s *Server) tell(channel, person, text string) {
	if text == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, Told{channel, person, text})
}

// answer writes JSON.
func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

type object = map[string]any
