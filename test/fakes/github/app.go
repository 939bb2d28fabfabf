package fakegithub

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// tokenLife is how long an installation token is good for.
const tokenLife = time.Hour

// permissionNames are those that endpoints of this server ask for.
var permissionNames = []string{"administration", "checks", "contents", "issues", "metadata", "pull_requests", "repository_hooks", "statuses"}

var errNoJWT = refuse(http.StatusUnauthorized, "A JSON web token could not be decoded")

var appRoutes = []route{
	{pattern: "GET /app", run: (*Server).getApp},
	{pattern: "GET /app/installations", run: (*Server).listInstallations},
	{pattern: "GET /app/installations/{id}", run: (*Server).getInstallation},
	{pattern: "POST /app/installations/{id}/access_tokens", run: (*Server).postToken},
	{pattern: "GET /repos/{owner}/{repo}/installation", run: (*Server).repositoryInstallation},
	{pattern: "GET /users/{login}/installation", run: (*Server).accountInstallation},
	{pattern: "GET /orgs/{login}/installation", run: (*Server).accountInstallation},
	{pattern: "GET /installation/repositories", run: (*Server).installationRepositories},
	{pattern: "DELETE /installation/token", run: (*Server).revokeToken},
}

// prepareApp makes the App in a new state, and takes over what the options say about its hook.
func (s *Server) prepareApp(o AppOptions) {
	if s.st.App == nil {
		a := &app{ID: o.ID, Slug: o.Slug, Permissions: maps.Clone(o.Permissions), CreatedAt: s.stamp()}
		if a.ID == 0 {
			a.ID = 4242
		}
		if a.Slug == "" {
			a.Slug = "codexk8s"
		}
		if a.Permissions == nil {
			a.Permissions = map[string]string{}
			for _, name := range permissionNames {
				a.Permissions[name] = "write"
			}
		}
		a.Permissions["metadata"] = "read"
		a.Hook = &hook{ID: s.id(), Active: true, Events: []string{"*"}, ContentType: "json", InsecureSSL: "0", CreatedAt: s.stamp(), UpdatedAt: s.stamp()}
		s.st.App = a
		s.bot()
	}
	h := s.st.App.Hook
	if o.HookURL != "" {
		h.URL, h.Secret = o.HookURL, o.HookSecret
	}
	if o.Events != nil {
		h.Events = o.Events
	}
}

// bot is the account that the App acts as.
func (s *Server) bot() *User {
	login := s.st.App.Slug + "[bot]"
	if u := s.st.Users[strings.ToLower(login)]; u != nil {
		return u
	}
	u := &User{ID: s.id(), Login: login, Type: "Bot"}
	s.st.Users[strings.ToLower(login)] = u
	return u
}

// via is the performed_via_github_app of what an account made.
func (s *Server) via(u *User) any {
	if u.Type != "Bot" || u.Login != s.st.App.Slug+"[bot]" {
		return nil
	}
	return s.appObject()
}

func (s *Server) appObject() object {
	a := s.st.App
	return object{
		"id": a.ID, "client_id": clientID, "slug": a.Slug, "node_id": nodeID("A", a.ID), "name": a.Slug, "description": "", "external_url": s.base,
		"html_url": s.web("/apps/%s", a.Slug), "created_at": a.CreatedAt, "updated_at": a.CreatedAt, "permissions": a.Permissions, "events": a.Hook.Events,
	}
}

// installationOn is the installation that covers r, or nil.
func (s *Server) installationOn(r *repository) *installation {
	for _, in := range s.st.App.Installations {
		if strings.EqualFold(in.Owner, r.Owner) && (in.Repositories == nil || slices.Contains(in.Repositories, strings.ToLower(r.fullName()))) {
			return in
		}
	}
	return nil
}

func (s *Server) install(owner string, repositories []string) *installation {
	for _, in := range s.st.App.Installations {
		if strings.EqualFold(in.Owner, owner) {
			in.Repositories = repositories
			return in
		}
	}
	in := &installation{ID: s.id(), Owner: owner, Repositories: repositories, CreatedAt: s.stamp()}
	s.st.App.Installations = append(s.st.App.Installations, in)
	return in
}

func (s *Server) installationObject(in *installation) object {
	u := s.user(in.Owner)
	selection := "all"
	if in.Repositories != nil {
		selection = "selected"
	}
	return object{
		"id": in.ID, "account": s.userObject(u), "repository_selection": selection, "access_tokens_url": s.api("/app/installations/%d/access_tokens", in.ID),
		"repositories_url": s.api("/installation/repositories"), "html_url": s.web("/settings/installations/%d", in.ID), "app_id": s.st.App.ID,
		"app_slug": s.st.App.Slug, "target_id": u.ID, "target_type": u.Type, "permissions": s.st.App.Permissions, "events": s.st.App.Hook.Events,
		"created_at": in.CreatedAt, "updated_at": in.CreatedAt, "single_file_name": nil, "suspended_by": nil, "suspended_at": nil,
	}
}

func (s *Server) getApp(c *call) (int, any, error) {
	if !c.who.app {
		return 0, nil, errNoJWT
	}
	o := s.appObject()
	o["owner"], o["installations_count"] = s.userObject(s.bot()), len(s.st.App.Installations)
	return http.StatusOK, o, nil
}

func (s *Server) listInstallations(c *call) (int, any, error) {
	if !c.who.app {
		return 0, nil, errNoJWT
	}
	return http.StatusOK, paged(s, c, s.st.App.Installations, s.installationObject), nil
}

func (s *Server) installation(c *call) (*installation, error) {
	if !c.who.app {
		return nil, errNoJWT
	}
	id, err := c.number("id")
	if err != nil {
		return nil, err
	}
	for _, in := range s.st.App.Installations {
		if in.ID == id {
			return in, nil
		}
	}
	return nil, errNotFound
}

func (s *Server) getInstallation(c *call) (int, any, error) {
	in, err := s.installation(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.installationObject(in), nil
}

func (s *Server) repositoryInstallation(c *call) (int, any, error) {
	if !c.who.app {
		return 0, nil, errNoJWT
	}
	in := s.installationOn(c.repo)
	if in == nil {
		return 0, nil, errNotFound
	}
	return http.StatusOK, s.installationObject(in), nil
}

func (s *Server) accountInstallation(c *call) (int, any, error) {
	if !c.who.app {
		return 0, nil, errNoJWT
	}
	for _, in := range s.st.App.Installations {
		if strings.EqualFold(in.Owner, c.r.PathValue("login")) {
			return http.StatusOK, s.installationObject(in), nil
		}
	}
	return 0, nil, errNotFound
}

// postToken mints an installation token: for all or some repositories, with all or some permissions; see
// https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app.
func (s *Server) postToken(c *call) (int, any, error) {
	in, err := s.installation(c)
	if err != nil {
		return 0, nil, err
	}
	var want struct {
		Repositories  []string
		RepositoryIDs []int64 `json:"repository_ids"`
		Permissions   map[string]string
	}
	if err := c.decode(&want); err != nil {
		return 0, nil, err
	}
	permissions, err := s.narrowed(want.Permissions)
	if err != nil {
		return 0, nil, err
	}
	chosen, err := s.chosen(in, want.Repositories, want.RepositoryIDs)
	if err != nil {
		return 0, nil, err
	}
	t := &token{
		Value: "ghs_" + secret(18), Login: s.bot().Login, Permissions: permissions, InstallationID: in.ID, ExpiresAt: s.stamp().Add(tokenLife),
	}
	o := object{"token": t.Value, "expires_at": t.ExpiresAt, "permissions": permissions, "repository_selection": "all"}
	if chosen != nil {
		repositories := []object{}
		for _, r := range chosen {
			t.Repositories = append(t.Repositories, strings.ToLower(r.fullName()))
			repositories = append(repositories, s.repositoryObject(r))
		}
		o["repository_selection"], o["repositories"] = "selected", repositories
	}
	maps.DeleteFunc(s.st.Tokens, func(_ string, old *token) bool { // the expired would pile up
		return !old.ExpiresAt.IsZero() && old.ExpiresAt.Add(tokenLife).Before(s.now())
	})
	s.st.Tokens[t.Value] = t
	s.changed()
	return http.StatusCreated, o, nil
}

// narrowed checks that no more is asked for than the App was granted.
func (s *Server) narrowed(want map[string]string) (map[string]string, error) {
	if len(want) == 0 {
		return maps.Clone(s.st.App.Permissions), nil
	}
	out := map[string]string{"metadata": "read"}
	for name, level := range want {
		have := s.st.App.Permissions[name]
		if have == "" || level != "read" && level != have {
			return nil, refuse(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
		}
		out[name] = level
	}
	return out, nil
}

// chosen finds the repositories asked for by name or id; nil if none were.
func (s *Server) chosen(in *installation, names []string, ids []int64) ([]*repository, error) {
	var out []*repository
	find := func(r *repository) error {
		if r == nil || s.installationOn(r) != in {
			return refuse(http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not accessible to the parent installation.")
		}
		out = append(out, r)
		return nil
	}
	for _, name := range names {
		if err := find(s.find(in.Owner + "/" + name)); err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		var found *repository
		for _, r := range s.st.Repos {
			if r.ID == id {
				found = r
			}
		}
		if err := find(found); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Server) installationRepositories(c *call) (int, any, error) {
	if c.who.token == nil || c.who.token.InstallationID == 0 {
		return 0, nil, refuse(http.StatusForbidden, "You must authenticate with an installation access token in order to list repositories for an installation.")
	}
	var out []*repository
	for _, name := range slices.Sorted(maps.Keys(s.st.Repos)) {
		if r := s.st.Repos[name]; s.reaches(c.who.token, r) {
			out = append(out, r)
		}
	}
	page := paged(s, c, out, s.repositoryObject)
	return http.StatusOK, object{"total_count": len(out), "repository_selection": "all", "repositories": page}, nil
}

func (s *Server) revokeToken(c *call) (int, any, error) {
	if c.who.token == nil || c.who.token.InstallationID == 0 {
		return 0, nil, refuse(http.StatusForbidden, "Resource not accessible by personal access token")
	}
	delete(s.st.Tokens, c.who.token.Value)
	s.changed()
	return http.StatusNoContent, nil, nil
}
