package fakegithub

import (
	"bytes"
	"cmp"
	"embed"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/test/fakes/look"
)

// The pages are for people: repositories, issues and pull requests, at the addresses that GitHub has for them. Whoever
// looks is asked for no password, since the server is one's own. What a page offers to do is a call of the REST API
// (see action), so the pages know no rule of their own.

//go:embed pages
var pageFiles embed.FS

// frame is what every page shows around its own.
type frame struct {
	Title      string
	Base       string   // URL of the server
	Path       string   // of this page
	Login      string   // who acts
	Accounts   []string // who could
	Refused    string   // what GitHub said to the last action, if it refused it
	Repository string   // full name; "" = the page belongs to none
	Last       int      // number of its newest issue or pull request
	Tab        string   // of the repository
	Elsewhere  string   // path of the page that is meant; "" = this one
	Own        any      // what is the page's own
}

// reserved are first parts of a path that belong to the REST API.
var reserved = []string{"repos", "user", "users", "app", "installation", "orgs", "rate_limit"}

// isPage says whether a request is for the pages.
func isPage(r *http.Request) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	look := r.Method == http.MethodGet || r.Method == http.MethodHead
	return first == "-" || first == "login" || look && !slices.Contains(reserved, first)
}

func (s *Server) pageRoutes() http.Handler {
	mux := http.NewServeMux()
	look.Handle(mux)
	s.oauthRoutes(mux)
	mux.HandleFunc("POST /-/act", s.perform)
	mux.HandleFunc("POST /-/as", s.actAs)
	mux.HandleFunc("GET /{$}", s.page("home", s.homePage))
	mux.HandleFunc("GET /apps/{app}", s.page("app", s.appPage))
	mux.HandleFunc("GET /{owner}", s.page("home", s.accountPage))
	for path, p := range map[string]struct {
		template string
		view     func(*repository, *http.Request, *frame) (bool, error)
	}{
		"":                  {"files", s.rootPage},
		"/issues":           {"list", s.issuesPage},
		"/pulls":            {"list", s.pullsPage},
		"/issues/{number}":  {"issue", s.issuePage},
		"/branches":         {"branches", s.branchesPage},
		"/tree/{ref...}":    {"files", s.filesPage},
		"/blob/{ref...}":    {"files", s.filesPage},
		"/commits/{ref...}": {"commits", s.commitsPage},
		"/commit/{ref}":     {"commit", s.commitPage},
	} {
		mux.HandleFunc("GET /{owner}/{repo}"+path, s.page(p.template, s.inRepository(p.view)))
	}
	pull := s.page("issue", s.inRepository(s.issuePage))
	mux.HandleFunc("GET /{owner}/{repo}/pull/{number}", func(w http.ResponseWriter, r *http.Request) {
		if number, ok := strings.CutSuffix(r.PathValue("number"), ".diff"); ok {
			s.diffText(w, r, number)
			return
		}
		pull(w, r)
	})
	mux.HandleFunc("GET /{owner}/{repo}/pull/{number}/{part}", func(w http.ResponseWriter, r *http.Request) {
		page, part, _ := cutLast(r.URL.Path, "/")
		http.Redirect(w, r, page+"#"+url.PathEscape(part), http.StatusFound)
	})
	mux.HandleFunc("/", s.page("missing", func(*http.Request, *frame) (bool, error) { return false, nil }))
	return http.NewCrossOriginProtection().Handler(mux)
}

func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}

// page renders a template with what view finds; view answers false for what is not there.
func (s *Server) page(name string, view func(*http.Request, *frame) (bool, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f := s.newFrame(r)
		status, use := http.StatusOK, name
		found, err := view(r, f)
		if err == nil && !found {
			status, use, f.Title = http.StatusNotFound, "missing", "Not found"
		}
		if err == nil && f.Elsewhere != "" {
			http.Redirect(w, r, f.Elsewhere, http.StatusFound)
			return
		}
		var out bytes.Buffer
		if err == nil {
			err = templates[use].ExecuteTemplate(&out, "frame", f)
		}
		if err != nil {
			s.log.Error("fake github: showing a page", "path", r.URL.Path, "error", err)
			http.Error(w, "Showing this page failed. The log of the fake GitHub says why.", http.StatusInternalServerError)
			return
		}
		look.Write(w, status, out.Bytes())
	}
}

func (s *Server) newFrame(r *http.Request) *frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &frame{
		Title: "Fake GitHub", Base: s.base, Path: r.URL.EscapedPath(), Login: s.actor(r), Accounts: s.people(), Refused: strings.TrimSuffix(r.URL.Query().Get("refused"), "."),
	}
}

// people are the accounts that a person may act as: those with a token of their own. The mutex must be held.
func (s *Server) people() []string {
	var out []string
	for _, u := range s.st.Users {
		if s.st.Tokens[tokenOf(u.Login)] != nil {
			out = append(out, u.Login)
		}
	}
	slices.Sort(out)
	return out
}

// actor is the account that the cookie names, else the first that administers a repository, else the owner of one. The
// mutex must be held.
func (s *Server) actor(r *http.Request) string {
	people := s.people()
	if c, err := r.Cookie("as"); err == nil && slices.Contains(people, c.Value) {
		return c.Value
	}
	owner := ""
	for _, key := range slices.Sorted(maps.Keys(s.st.Repos)) {
		repo := s.st.Repos[key]
		owner = cmp.Or(owner, repo.Owner)
		for _, login := range slices.Sorted(maps.Keys(repo.Collaborators)) {
			if repo.Collaborators[login] == "admin" {
				return s.user(login).Login
			}
		}
	}
	return owner
}

// Advice is what to do about a refusal.
func (f *frame) Advice() string {
	switch status, _, _ := strings.Cut(f.Refused, " "); status {
	case "403":
		return "You act as " + f.Login + ", who may not do that. Switch to another account at the top of the page."
	case "404":
		return "It is gone, or " + f.Login + ", as whom you act, may not see it."
	}
	return "Nothing was changed."
}

// inRepository finds the repository of the path and puts its frame around a page.
func (s *Server) inRepository(view func(*repository, *http.Request, *frame) (bool, error)) func(*http.Request, *frame) (bool, error) {
	return func(r *http.Request, f *frame) (bool, error) {
		s.mu.Lock()
		repo := s.find(r.PathValue("owner") + "/" + r.PathValue("repo"))
		if repo != nil {
			f.Last = len(repo.Issues)
		}
		s.mu.Unlock()
		if repo == nil {
			return false, nil
		}
		f.Repository, f.Title = repo.fullName(), repo.fullName()
		return view(repo, r, f)
	}
}

// templates are the pages by name, each with the frame and the parts that several share.
var templates = func() map[string]*template.Template {
	functions := template.FuncMap{
		"document": document,
		"clock":    func(t time.Time) string { return t.Local().Format("15:04:05") },
		"day":      func(t time.Time) string { return t.Local().Format("Monday, 2 January 2006, 15:04:05") },
		"short":    func(sha string) string { return sha[:min(7, len(sha))] },
		"subject":  subject,
		"ink":      ink,
	}
	all := map[string]*template.Template{}
	for _, name := range []string{"home", "app", "files", "list", "issue", "branches", "commits", "commit", "authorize", "missing"} {
		all[name] = template.Must(template.New(name).Funcs(functions).ParseFS(pageFiles, "pages/frame.html", "pages/parts.html", "pages/"+name+".html"))
	}
	return all
}()

// subject is the first line of a commit's message.
func subject(message string) string {
	line, _, _ := strings.Cut(message, "\n")
	return line
}

// ink is a colour that can be read on a label's.
func ink(color string) string {
	var rgb [3]int
	for i := range rgb {
		if len(color) != 6 {
			return "#1f2328"
		}
		for _, digit := range color[2*i : 2*i+2] {
			rgb[i] = rgb[i]*16 + max(0, strings.IndexRune("0123456789abcdef", digit|0x20))
		}
	}
	if 299*rgb[0]+587*rgb[1]+114*rgb[2] < 140_000 { // https://www.w3.org/TR/AERT/#color-contrast
		return "#ffffff"
	}
	return "#1f2328"
}
