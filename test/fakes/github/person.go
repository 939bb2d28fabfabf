package fakegithub

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The methods here do what a person does in the web interface. They obey the same rights as the REST API: who may not
// label there may not label here. user is a login; repo is "owner/name".

// CreateUser makes an account, or does nothing if it is there. It returns its token, "<login>-token", which may do
// all that the account may.
func (s *Server) CreateUser(login string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.account(login, "User")
	if err != nil {
		return "", err
	}
	return u.Login + "-token", nil
}

// CreateOrganization makes an organization, which may own repositories.
func (s *Server) CreateOrganization(login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.account(login, "Organization")
	return err
}

// CreateRepository makes a private repository with one commit of files (path → content) on main, its owner if
// need be, and an installation of the App on all repositories of the owner if there is none yet. If the repository is
// there already, nothing changes.
func (s *Server) CreateRepository(fullName string, files map[string]string) error {
	owner, name, ok := strings.Cut(fullName, "/")
	if !ok || name == "" || strings.ContainsAny(name, "/ ") || strings.HasSuffix(name, ".git") || strings.HasPrefix(name, ".") {
		return fmt.Errorf("%q is no repository name: want owner/name", fullName)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(fullName) != nil {
		return nil
	}
	u, err := s.account(owner, "User")
	if err != nil {
		return err
	}
	now := s.stamp()
	r := &repository{
		ID: s.id(), Owner: u.Login, Name: name, Private: true, DefaultBranch: "main", CreatedAt: now, PushedAt: now, UpdatedAt: now,
		Collaborators: map[string]string{}, Statuses: map[string][]Status{},
	}
	for _, l := range defaultLabels {
		l.ID = s.id()
		r.Labels = append(r.Labels, &l)
	}
	if err := s.git(r).create(r.DefaultBranch, files, now); err != nil {
		return fmt.Errorf("creating repository %s: %w", fullName, err)
	}
	s.st.Repos[strings.ToLower(fullName)] = r
	delete(s.st.Moved, strings.ToLower(fullName))
	if s.installationOn(r) == nil && !s.installedFor(u.Login) {
		s.install(u.Login, nil)
	}
	s.wrote(u, "create repository %s", r.fullName())
	return nil
}

func (s *Server) installedFor(owner string) bool {
	for _, in := range s.st.App.Installations {
		if strings.EqualFold(in.Owner, owner) {
			return true
		}
	}
	return false
}

// SetPrivate changes who may see the repository; new ones are private.
func (s *Server) SetPrivate(repo string, private bool) error {
	return s.act(repo, "", func(r *repository, _ principal) error {
		r.Private = private
		s.changed()
		return nil
	})
}

// AddCollaborator grants read, triage, write, maintain or admin.
func (s *Server) AddCollaborator(repo, login, permission string) error {
	return s.act(repo, "", func(r *repository, _ principal) error {
		u, err := s.account(login, "User")
		if err != nil {
			return err
		}
		return s.grant(r, u, permission, s.user(r.Owner))
	})
}

// act runs f for a user ("" = the owner) in a repository, with the mutex held.
func (s *Server) act(repo, login string, f func(*repository, principal) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, who, err := s.at(repo, login)
	if err != nil {
		return err
	}
	return f(r, who)
}

func (s *Server) at(repo, login string) (*repository, principal, error) {
	r := s.find(repo)
	if r == nil {
		return nil, principal{}, fmt.Errorf("no repository %q in the fake GitHub", repo)
	}
	if login == "" {
		login = r.Owner
	}
	u := s.st.Users[strings.ToLower(login)]
	if u == nil {
		return nil, principal{}, fmt.Errorf("no user %q in the fake GitHub: create the account first", login)
	}
	return r, principal{user: u}, nil
}

// onIssue runs f for an issue or pull request that user may change as need says.
func (s *Server) onIssue(repo string, n int, login string, what need, f func(*repository, *Issue, *User) error) error {
	return s.act(repo, login, func(r *repository, who principal) error {
		if err := s.permits(who, r, what); err != nil {
			return fmt.Errorf("%s in %s: %w", who.user.Login, repo, err)
		}
		is := r.issue(n)
		if is == nil {
			return fmt.Errorf("no issue %s#%d in the fake GitHub", repo, n)
		}
		return f(r, is, who.user)
	})
}

// CreateIssue opens an issue and returns its number.
func (s *Server) CreateIssue(repo, title, body, user string) (int, error) {
	n := 0
	err := s.act(repo, user, func(r *repository, who principal) error {
		if err := s.permits(who, r, onIssuesOpen); err != nil {
			return fmt.Errorf("%s in %s: %w", who.user.Login, repo, err)
		}
		n = s.openIssue(r, title, body, who.user).Number
		return nil
	})
	return n, err
}

// CreateLabel makes a label of the repository, or gives the one of that name its colour and description.
func (s *Server) CreateLabel(repo string, label Label) error {
	return s.act(repo, "", func(r *repository, _ principal) error {
		l := s.ensureLabel(r, label.Name)
		l.Color, l.Description = label.Color, label.Description
		s.changed()
		return nil
	})
}

// AddLabel puts a label on an issue or pull request; the repository gets it if it has none of that name.
func (s *Server) AddLabel(repo string, n int, label, user string) error {
	return s.onIssue(repo, n, user, onIssuesTriage, func(r *repository, is *Issue, by *User) error {
		s.addLabels(r, is, []string{label}, by)
		return nil
	})
}

// RemoveLabel takes a label off.
func (s *Server) RemoveLabel(repo string, n int, label, user string) error {
	return s.onIssue(repo, n, user, onIssuesTriage, func(r *repository, is *Issue, by *User) error {
		if !s.removeLabel(r, is, label, by) {
			return fmt.Errorf("removing label %s of %s#%d: %w", label, repo, n, refuse(404, "Label does not exist"))
		}
		return nil
	})
}

// Comment writes into the conversation of an issue or pull request and returns the comment's id.
func (s *Server) Comment(repo string, n int, body, user string) (int64, error) {
	var id int64
	err := s.onIssue(repo, n, user, onIssuesComment, func(r *repository, is *Issue, by *User) error {
		id = s.comment(r, is, body, by).ID
		return nil
	})
	return id, err
}

// CloseIssue closes an issue or pull request.
func (s *Server) CloseIssue(repo string, n int, user string) error {
	return s.onIssue(repo, n, user, onIssuesTriage, func(r *repository, is *Issue, by *User) error {
		s.setState(r, is, "closed", "completed", by)
		return nil
	})
}

// ReopenIssue opens a closed issue or pull request again.
func (s *Server) ReopenIssue(repo string, n int, user string) error {
	return s.onIssue(repo, n, user, onIssuesTriage, func(r *repository, is *Issue, by *User) error {
		if err := s.mayReopen(r, is); err != nil {
			return fmt.Errorf("reopening %s#%d: %w", repo, n, err)
		}
		s.setState(r, is, "open", "", by)
		return nil
	})
}

// EditIssue changes title and text of an issue or pull request: its author may, and who may write to the repository.
func (s *Server) EditIssue(repo string, n int, title, body, user string) error {
	return s.onIssue(repo, n, user, onIssuesOpen, func(r *repository, is *Issue, by *User) error {
		if err := s.mayEdit(r, principal{user: by}, is.User); err != nil {
			return fmt.Errorf("%s in %s: %w", by.Login, repo, err)
		}
		s.rewrite(r, is, &title, &body, by)
		return nil
	})
}

// TokenOptions limits a token.
type TokenOptions struct {
	Login        string            // whose token
	Repositories []string          // "owner/name"; nil = all that the account reaches
	Permissions  map[string]string // like those of a fine-grained token: name → "read" or "write"; nil = all
	Life         time.Duration     // 0 = for ever
}

// MintToken makes a personal access token.
func (s *Server) MintToken(o TokenOptions) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.st.Users[strings.ToLower(o.Login)]
	if u == nil {
		return "", fmt.Errorf("no user %q in the fake GitHub: create the account first", o.Login)
	}
	t := &token{Value: "github_pat_" + secret(20), Login: u.Login, Permissions: o.Permissions}
	for _, name := range o.Repositories {
		t.Repositories = append(t.Repositories, strings.ToLower(name))
	}
	if o.Life != 0 {
		t.ExpiresAt = s.now().Add(o.Life)
	}
	s.st.Tokens[t.Value] = t
	s.changed()
	return t.Value, nil
}

// ExpireTokens lets every installation token run out now, as an hour's wait would.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.st.Tokens {
		if t.InstallationID != 0 {
			t.ExpiresAt = s.now()
		}
	}
	s.changed()
}

// HookOptions describes a webhook of a repository.
type HookOptions struct {
	URL, Secret string
	Form        bool     // application/x-www-form-urlencoded in place of JSON
	Events      []string // nil = all
}

// AddHook registers a webhook, which gets a ping, and returns its id. A hook with that URL takes over the options, so a
// second start may say the same again.
func (s *Server) AddHook(repo string, o HookOptions) (int64, error) {
	h := &hook{Active: true, URL: o.URL, Secret: o.Secret, ContentType: "json", InsecureSSL: "0", Events: o.Events}
	if o.Form {
		h.ContentType = "form"
	}
	if h.Events == nil {
		h.Events = []string{"*"}
	}
	err := s.act(repo, "", func(r *repository, who principal) error {
		for _, old := range r.Hooks {
			if old.URL == h.URL {
				old.Secret, old.ContentType, old.Events, old.Active, old.UpdatedAt = h.Secret, h.ContentType, h.Events, true, s.stamp()
				h = old
				s.ping(r, h, who.user)
				s.changed()
				return nil
			}
		}
		return s.addHook(r, h, who.user)
	})
	if err != nil {
		return 0, fmt.Errorf("adding a hook to %s: %w", repo, err)
	}
	return h.ID, nil
}

// RemoveHooks takes all webhooks off a repository, for instance those to addresses of an earlier run.
func (s *Server) RemoveHooks(repo string) error {
	return s.act(repo, "", func(r *repository, _ principal) error {
		r.Hooks = nil
		s.changed()
		return nil
	})
}

// SetAppHook sets where the App's webhooks go ("" = nowhere) and their secret.
func (s *Server) SetAppHook(url, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st.App.Hook.URL, s.st.App.Hook.Secret = url, secret
	s.changed()
}

// Install puts the App on an account, for some repositories ("owner/name") or all, and returns the installation's id.
func (s *Server) Install(owner string, repositories ...string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.st.Users[strings.ToLower(owner)]
	if u == nil {
		return 0, errors.New("installing the app: no user " + owner)
	}
	var names []string
	for _, name := range repositories {
		names = append(names, strings.ToLower(name))
	}
	s.changed()
	return s.install(u.Login, names).ID, nil
}
