package fakegithub

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// token is a credential: a personal access token, or an installation's if InstallationID is set.
type token struct {
	Value          string            `json:"value"`
	Login          string            `json:"login"`
	Repositories   []string          `json:"repositories,omitempty"` // lower-case full names; nil = all that the account reaches
	Permissions    map[string]string `json:"permissions,omitempty"`  // name → "read" or "write"; nil = all that the account has
	InstallationID int64             `json:"installation_id,omitempty"`
	ExpiresAt      time.Time         `json:"expires_at,omitzero"`
}

// role is what an account may do in a repository, in rising order.
type role int

const (
	noRole role = iota
	reader
	triager
	writer
	maintainer
	administrator
)

var roles = map[string]role{
	"read": reader, "pull": reader, "triage": triager, "write": writer, "push": writer, "maintain": maintainer, "admin": administrator,
}

var roleNames = [...]string{"none", "read", "triage", "write", "maintain", "admin"}

// principal is who makes a request: an account, through a token or (token nil) at the web interface; or the App itself.
type principal struct {
	user  *User
	token *token
	app   bool
}

// need is what an operation asks of its principal. permissions are alternatives, in the names of
// https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps.
type need struct {
	permissions []string
	write       bool
	role        role
}

var loginPattern = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?(\[bot\])?$`)

// account returns the user, made on first use. The mutex must be held.
func (s *Server) account(login, kind string) (*User, error) {
	if !loginPattern.MatchString(login) {
		return nil, fmt.Errorf("%q is no GitHub login: letters, digits and single hyphens, at most 39", login)
	}
	if u := s.st.Users[strings.ToLower(login)]; u != nil {
		return u, nil
	}
	u := &User{ID: s.id(), Login: login, Type: kind}
	s.st.Users[strings.ToLower(login)] = u
	if kind == "User" {
		value := login + "-token"
		s.st.Tokens[value] = &token{Value: value, Login: login}
	}
	s.changed()
	return u, nil
}

// roleOf is what the account itself may do in r.
func (s *Server) roleOf(u *User, r *repository) role {
	if strings.EqualFold(u.Login, r.Owner) {
		return administrator
	}
	if granted, ok := roles[r.Collaborators[strings.ToLower(u.Login)]]; ok {
		return granted
	}
	if !r.Private {
		return reader
	}
	return noRole
}

// reaches says whether the token's own limits (not the account's rights) include r.
func (s *Server) reaches(t *token, r *repository) bool {
	name := strings.ToLower(r.fullName())
	if t.Repositories != nil && !slices.Contains(t.Repositories, name) {
		return false
	}
	if t.InstallationID == 0 {
		return true
	}
	in := s.installationOn(r)
	return in != nil && in.ID == t.InstallationID
}

// permits answers nil if who may do in r what n asks, and else GitHub's refusal: 404 where not even the
// existence of the repository may be known, 403 where it is the right that lacks. The mutex must be held.
func (s *Server) permits(who principal, r *repository, n need) error {
	t := who.token
	if who.app {
		return refuse(http.StatusForbidden, "Resource not accessible by integration")
	}
	inside := t == nil || s.reaches(t, r)
	byApp := t != nil && t.InstallationID != 0
	var have role
	switch {
	case inside && byApp:
		have = administrator // what it may do is in its permissions
	case inside:
		have = s.roleOf(who.user, r)
	case !r.Private:
		have = reader
	}
	if have == noRole {
		return errNotFound
	}
	if t != nil && t.Permissions != nil {
		if inside && !granted(t.Permissions, n) || !inside && n.write {
			if byApp {
				return refuse(http.StatusForbidden, "Resource not accessible by integration")
			}
			return refuse(http.StatusForbidden, "Resource not accessible by personal access token")
		}
	}
	if have < n.role {
		if slices.Contains(n.permissions, "repository_hooks") {
			return errNotFound // GitHub hides hooks from those who may not administer them
		}
		return refuse(http.StatusForbidden, "Must have admin rights to Repository.")
	}
	return nil
}

func granted(have map[string]string, n need) bool {
	return slices.ContainsFunc(n.permissions, func(name string) bool {
		level := have[name]
		return level == "write" || level == "admin" || level == "read" && !n.write || name == "metadata" && !n.write
	})
}

// association is GitHub's author_association of an account in a repository.
func (s *Server) association(u *User, r *repository) string {
	switch {
	case strings.EqualFold(u.Login, r.Owner):
		return "OWNER"
	case r.Collaborators[strings.ToLower(u.Login)] != "":
		return "COLLABORATOR"
	}
	return "NONE"
}

// user finds an account; an account that was mentioned but never made (only possible with a state edited by
// hand) is shown as GitHub shows deleted ones. The mutex must be held.
func (s *Server) user(login string) *User {
	if u := s.st.Users[strings.ToLower(login)]; u != nil {
		return u
	}
	return &User{ID: 10137, Login: "ghost", Type: "User"}
}
