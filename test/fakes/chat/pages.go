package fakechat

import (
	"bytes"
	_ "embed"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"codexk8s.dev/test/fakes/look"
)

//go:embed pages/page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// services are the fakes as the pages name them.
var services = []struct {
	path, name string
	replies    bool // people can write there
	command    bool // a code is sent by a command
}{
	{Telegram, "Telegram", true, true},
	{Slack, "Slack", false, true},
	{Mattermost, "Mattermost", false, true},
	{Jira, "Jira", true, false},
	{Approver, "HTTP approver", false, false},
}

// Page is what one opens in a browser to see a service as people see it.
type Page struct{ Name, URL string }

// Pages are those of all services.
func (s *Server) Pages() (all []Page) {
	for _, service := range services {
		all = append(all, Page{service.name, s.base + "/-/" + service.path})
	}
	return all
}

type view struct {
	Title, Channel, Path, Person, Refused string
	People                                []string
	Channels                              []viewChannel
	Chats                                 []viewChat
	Replies, Commands                     bool
	Form                                  *Form
	Told                                  []Told
}

type viewChannel struct {
	Path, Name string
	Count      int
}

type viewChat struct {
	Name  string
	Posts []viewPost
}

type viewPost struct {
	Post
	Buttons []viewButton
}

type viewButton struct {
	Button
	Index int
	Post  string
}

func (s *Server) pageRoutes(mux *http.ServeMux) {
	pages := http.NewServeMux()
	look.Handle(pages)
	pages.HandleFunc("GET /{$}", s.show)
	pages.HandleFunc("GET /-/{channel}", s.show)
	pages.HandleFunc("POST /-/as", s.byBrowser(func(w http.ResponseWriter, r *http.Request) error {
		http.SetCookie(w, &http.Cookie{Name: "person", Value: r.PostFormValue("person"), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		return nil
	}))
	pages.HandleFunc("POST /-/click", s.byBrowser(s.clickForm))
	pages.HandleFunc("POST /-/reply", s.byBrowser(func(_ http.ResponseWriter, r *http.Request) error {
		_, err := s.Reply(r.Context(), r.PostFormValue("channel"), r.PostFormValue("chat"), r.PostFormValue("post"), r.PostFormValue("text"), s.actor(r))
		return err
	}))
	pages.HandleFunc("POST /-/fill", s.byBrowser(func(_ http.ResponseWriter, r *http.Request) error {
		_, err := s.Fill(r.Context(), r.PostFormValue("channel"), r.PostFormValue("text"), s.actor(r))
		return err
	}))
	pages.HandleFunc("POST /-/command", s.byBrowser(func(_ http.ResponseWriter, r *http.Request) error {
		_, err := s.Link(r.Context(), r.PostFormValue("channel"), r.PostFormValue("text"), s.actor(r))
		return err
	}))
	protected := http.NewCrossOriginProtection().Handler(pages)
	mux.Handle("/-/", protected)
	mux.Handle("GET /{$}", protected)
}

// byBrowser does what a form asks for, and goes back to its page with what went wrong.
func (s *Server) byBrowser(act func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := look.OwnBrowser(r, s.base); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		back := look.LocalPath(r.PostFormValue("back"))
		if channel := r.PostFormValue("channel"); channel != "" {
			back = "/-/" + url.PathEscape(channel)
		}
		if err := act(w, r); err != nil {
			back += "?" + url.Values{"refused": {err.Error()}}.Encode()
		}
		http.Redirect(w, r, back, http.StatusSeeOther)
	}
}

func (s *Server) clickForm(_ http.ResponseWriter, r *http.Request) error {
	index, err := strconv.Atoi(r.PostFormValue("button"))
	who, known := s.person(s.actor(r))
	if err != nil || known != nil {
		return known
	}
	for _, p := range s.Posts(r.PostFormValue("channel")) {
		if p.ID == r.PostFormValue("post") && index >= 0 && index < len(p.Buttons) {
			_, err := s.click(r.Context(), p, p.Buttons[index], who)
			return err
		}
	}
	return nil
}

// actor is who the cookie names, else the first.
func (s *Server) actor(r *http.Request) string {
	if c, err := r.Cookie("person"); err == nil {
		if _, err := s.person(c.Value); err == nil {
			return c.Value
		}
	}
	return s.o.People[0].Name
}

func (s *Server) show(w http.ResponseWriter, r *http.Request) {
	v := view{Title: "Fake chats", Channel: r.PathValue("channel"), Path: r.URL.EscapedPath(), Person: s.actor(r), Refused: r.URL.Query().Get("refused")}
	for _, p := range s.o.People {
		v.People = append(v.People, p.Name)
	}
	found := v.Channel == ""
	for _, c := range services {
		v.Channels = append(v.Channels, viewChannel{c.path, c.name, len(s.Posts(c.path))})
		if c.path == v.Channel {
			v.Title, v.Replies, v.Commands, found = c.name, c.replies, c.command, true
		}
	}
	if !found {
		http.NotFound(w, r)
		return
	}
	v.Chats, v.Told, v.Form = chats(s.Posts(v.Channel)), s.Told(v.Channel), s.Form(v.Channel, v.Person)
	var out bytes.Buffer
	if err := page.Execute(&out, v); err != nil {
		slog.Default().Error("fake chats: showing a page", "error", err)
		http.Error(w, "Showing this page failed. The log says why.", http.StatusInternalServerError)
		return
	}
	look.Write(w, http.StatusOK, out.Bytes())
}

// chats groups posts, in the order of their first one.
func chats(posts []Post) (out []viewChat) {
	for _, p := range posts {
		i := slices.IndexFunc(out, func(c viewChat) bool { return c.Name == p.Chat })
		if i < 0 {
			i = len(out)
			out = append(out, viewChat{Name: p.Chat})
		}
		shown := viewPost{Post: p}
		for n, b := range p.Buttons {
			shown.Buttons = append(shown.Buttons, viewButton{b, n, p.ID})
		}
		out[i].Posts = append(out[i].Posts, shown)
	}
	return out
}
