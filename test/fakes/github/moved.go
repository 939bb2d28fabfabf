package fakegithub

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MoveRepository renames a repository, or transfers it to another account if the owner in the new name is another one.
// The former name leads to it from then on, until a new repository takes it:
// https://docs.github.com/en/repositories/creating-and-managing-repositories/renaming-a-repository.
func (s *Server) MoveRepository(from, to, by string) error {
	return s.act(from, by, func(r *repository, who principal) error {
		owner, name, _ := strings.Cut(to, "/")
		u := s.st.Users[strings.ToLower(owner)]
		if u == nil || name == "" || s.find(to) != nil {
			return fmt.Errorf("%s can't become %s: the account must exist and the name be free", from, to)
		}
		old, oldOwner, oldName, dir := strings.ToLower(r.fullName()), s.user(r.Owner), r.Name, s.git(r).dir
		r.Owner, r.Name = u.Login, name
		if err := os.MkdirAll(filepath.Dir(s.git(r).dir), 0o755); err != nil {
			return fmt.Errorf("moving %s: %w", from, err)
		}
		if err := os.Rename(dir, s.git(r).dir); err != nil {
			return fmt.Errorf("moving %s: %w", from, err)
		}
		s.renameIn(old, r)
		action, changes := "renamed", object{"repository": object{"name": object{"from": oldName}}}
		if oldOwner != u {
			action, changes = "transferred", object{"owner": object{"from": object{strings.ToLower(oldOwner.Type): s.userObject(oldOwner)}}}
			if s.installationOn(r) == nil && !s.installedFor(u.Login) {
				s.install(u.Login, nil)
			}
		}
		s.wrote(who.user, "move repository %s to %s", from, r.fullName())
		s.emit(r, "repository", action, who.user, object{"changes": changes})
		return nil
	})
}

// renameIn brings what refers to the repository by its name up to the new one.
func (s *Server) renameIn(old string, r *repository) {
	now := strings.ToLower(r.fullName())
	delete(s.st.Repos, old)
	s.st.Repos[now] = r
	if s.st.Moved == nil {
		s.st.Moved = map[string]int64{}
	}
	s.st.Moved[old] = r.ID
	delete(s.st.Moved, now)
	replace := func(names []string) {
		if i := slices.Index(names, old); i >= 0 {
			names[i] = now
		}
	}
	for _, in := range s.st.App.Installations {
		replace(in.Repositories)
	}
	for t := range maps.Values(s.st.Tokens) {
		replace(t.Repositories)
	}
}

// numbered returns the repository with that id, or nil.
func (s *Server) numbered(id int64) *repository {
	for _, r := range s.st.Repos {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// present is find that knows former names, too.
func (s *Server) present(fullName string) *repository {
	if r := s.find(fullName); r != nil {
		return r
	}
	return s.numbered(s.st.Moved[strings.ToLower(fullName)])
}

// moved is the answer to a call for a repository that is not there: GitHub sends those that use a former name to the
// repository's number, with a status that keeps the method unless it is GET.
// https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects
func (s *Server) moved(r *http.Request, fullName string) error {
	repo := s.present(fullName)
	if repo == nil {
		return errNotFound
	}
	status, rest := http.StatusTemporaryRedirect, strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 4)[3:]
	if r.Method == http.MethodGet {
		status = http.StatusMovedPermanently
	}
	to := s.api("/%s", strings.Join(append([]string{"repositories", strconv.FormatInt(repo.ID, 10)}, rest...), "/"))
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	e := refuse(status, "Moved Permanently")
	e.Header = http.Header{"Location": {to}}
	return e
}

var numberedPath = regexp.MustCompile(`^/repositories/([0-9]+)(/.*)?$`)

// byNumber turns GitHub's /repositories/{id}/… into the path by name.
func (s *Server) byNumber(r *http.Request) *http.Request {
	m := numberedPath.FindStringSubmatch(r.URL.EscapedPath())
	if m == nil {
		return r
	}
	id, _ := strconv.ParseInt(m[1], 10, 64) // too long a number is none of ours
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.numbered(id)
	if repo == nil {
		return r
	}
	named := r.Clone(r.Context())
	to, err := named.URL.Parse("/repos/" + repo.fullName() + m[2])
	if err != nil {
		return r
	}
	to.RawQuery = r.URL.RawQuery
	named.URL = to
	return named
}
