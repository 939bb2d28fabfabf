package fakegithub

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

var (
	onMetadata     = need{permissions: []string{"metadata"}, role: reader}
	onContentsRead = need{permissions: []string{"contents"}, role: reader}
	onContents     = need{permissions: []string{"contents"}, write: true, role: writer}
	onAdmin        = need{permissions: []string{"administration"}, write: true, role: administrator}
)

var repositoryRoutes = []route{
	{pattern: "GET /user", run: (*Server).getSelf},
	{pattern: "GET /users/{login}", run: (*Server).getUser},
	{pattern: "GET /rate_limit", run: (*Server).getRateLimit},
	{pattern: "GET /user/repos", run: (*Server).listOwnRepositories},
	{pattern: "GET /repos/{owner}/{repo}", need: onMetadata, run: (*Server).getRepository},
	{pattern: "GET /repos/{owner}/{repo}/collaborators/{login}/permission", need: onMetadata, run: (*Server).getPermission},
	{pattern: "GET /repos/{owner}/{repo}/collaborators/{login}", need: onMetadata, run: (*Server).isCollaborator},
	{pattern: "PUT /repos/{owner}/{repo}/collaborators/{login}", need: onAdmin, run: (*Server).putCollaborator},
	{pattern: "GET /repos/{owner}/{repo}/branches/{ref...}", need: onContentsRead, run: (*Server).getBranch, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/branches", need: onContentsRead, run: (*Server).listBranches, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/git/ref/{ref...}", need: onContentsRead, run: (*Server).getRef, unlocked: true},
	{pattern: "DELETE /repos/{owner}/{repo}/git/refs/{ref...}", need: onContents, run: (*Server).deleteRef, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/contents/{path...}", need: onContentsRead, run: (*Server).getContents, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/contents/", need: onContentsRead, run: (*Server).getContents, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/contents", need: onContentsRead, run: (*Server).getContents, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/readme", need: onContentsRead, run: (*Server).getReadme, unlocked: true},
}

// mergeSettings are shown in the repository itself and in the sides of pull requests.
var mergeSettings = object{
	"allow_merge_commit": true, "allow_squash_merge": true, "allow_rebase_merge": false, "allow_auto_merge": false,
	"delete_branch_on_merge": false, "allow_update_branch": false,
}

// getSelf is GET /user. An installation token has no user of its own.
func (s *Server) getSelf(c *call) (int, any, error) {
	if c.who.app || c.who.token.InstallationID != 0 {
		return 0, nil, refuse(http.StatusForbidden, "Resource not accessible by integration")
	}
	return http.StatusOK, s.fullUser(c.who.user), nil
}

func (s *Server) fullUser(u *User) object {
	o := s.userObject(u)
	maps.Copy(o, object{"name": orNull(u.Name), "company": nil, "blog": "", "location": nil, "email": nil, "public_repos": 0, "followers": 0, "following": 0})
	return o
}

func (s *Server) getUser(c *call) (int, any, error) {
	u := s.st.Users[strings.ToLower(c.r.PathValue("login"))]
	if u == nil {
		return 0, nil, errNotFound
	}
	return http.StatusOK, s.fullUser(u), nil
}

func (s *Server) listOwnRepositories(c *call) (int, any, error) {
	var out []*repository
	for _, name := range slices.Sorted(maps.Keys(s.st.Repos)) {
		r := s.st.Repos[name]
		inside := c.who.token == nil || s.reaches(c.who.token, r)
		if inside && (s.roleOf(c.who.user, r) > reader || r.Private && s.roleOf(c.who.user, r) == reader) {
			out = append(out, r)
		}
	}
	return http.StatusOK, paged(s, c, out, s.repositoryObject), nil
}

func (s *Server) getRepository(c *call) (int, any, error) {
	o := s.repositoryObject(c.repo)
	have := s.roleOf(c.who.user, c.repo)
	o["permissions"] = object{
		"admin": have >= administrator, "maintain": have >= maintainer, "push": have >= writer, "triage": have >= triager, "pull": have >= reader,
	}
	maps.Copy(o, mergeSettings)
	o["network_count"], o["subscribers_count"] = 0, 0
	if u := s.user(c.repo.Owner); u.Type == "Organization" {
		o["organization"] = s.userObject(u)
	}
	return http.StatusOK, o, nil
}

// getPermission answers the two vocabularies of GitHub: permission knows four levels, role_name six.
func (s *Server) getPermission(c *call) (int, any, error) {
	u := s.st.Users[strings.ToLower(c.r.PathValue("login"))]
	if u == nil {
		return 0, nil, refuse(http.StatusNotFound, c.r.PathValue("login")+" is not a user")
	}
	have := s.roleOf(u, c.repo)
	level := map[role]string{noRole: "none", reader: "read", triager: "read", writer: "write", maintainer: "write", administrator: "admin"}[have]
	person := s.userObject(u)
	person["permissions"] = object{
		"admin": have >= administrator, "maintain": have >= maintainer, "push": have >= writer, "triage": have >= triager, "pull": have >= reader,
	}
	person["role_name"] = roleNames[have]
	return http.StatusOK, object{"permission": level, "role_name": roleNames[have], "user": person}, nil
}

func (s *Server) isCollaborator(c *call) (int, any, error) {
	login := strings.ToLower(c.r.PathValue("login"))
	if strings.EqualFold(login, c.repo.Owner) || c.repo.Collaborators[login] != "" {
		return http.StatusNoContent, nil, nil
	}
	return 0, nil, errNotFound
}

// putCollaborator grants at once, where GitHub would send an invitation first.
func (s *Server) putCollaborator(c *call) (int, any, error) {
	var in struct{ Permission string }
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if in.Permission == "" {
		in.Permission = "push"
	}
	u := s.st.Users[strings.ToLower(c.r.PathValue("login"))]
	if u == nil {
		return 0, nil, errNotFound
	}
	if err := s.grant(c.repo, u, in.Permission, c.who.user); err != nil {
		return 0, nil, invalid("Repository", "permission", "invalid", err.Error())
	}
	return http.StatusNoContent, nil, nil
}

func (s *Server) grant(r *repository, u *User, permission string, by *User) error {
	if _, ok := roles[permission]; !ok {
		return fmt.Errorf("no permission %q: want read, triage, write, maintain or admin", permission)
	}
	r.Collaborators[strings.ToLower(u.Login)] = permission
	s.wrote(by, "grant %s %s on %s", u.Login, permission, r.fullName())
	return nil
}

func (s *Server) getBranch(c *call) (int, any, error) {
	name := c.r.PathValue("ref")
	sha, err := s.git(c.repo).resolve("refs/heads/" + name)
	if err != nil {
		return 0, nil, refuse(http.StatusNotFound, "Branch not found")
	}
	o := s.branchObject(c.repo, name, sha)
	s.mu.Lock()
	defer s.mu.Unlock()
	o["protection"] = c.repo.protection(name)
	o["protected"] = len(c.repo.Required[name])+len(c.repo.Ruled[name]) > 0
	return http.StatusOK, o, nil
}

func (s *Server) branchObject(r *repository, name, sha string) object {
	return object{"name": name, "protected": false, "commit": object{"sha": sha, "url": s.api("/repos/%s/commits/%s", r.fullName(), sha)}}
}

func (s *Server) listBranches(c *call) (int, any, error) {
	heads, err := s.git(c.repo).heads()
	if err != nil {
		return 0, nil, err
	}
	names := slices.Sorted(maps.Keys(heads))
	return http.StatusOK, paged(s, c, names, func(name string) object { return s.branchObject(c.repo, name, heads[name]) }), nil
}

func (s *Server) getRef(c *call) (int, any, error) {
	ref := "refs/" + c.r.PathValue("ref")
	sha, err := s.git(c.repo).resolve(ref)
	if err != nil {
		return 0, nil, errNotFound
	}
	return http.StatusOK, object{
		"ref": ref, "node_id": nodeID("REF", c.repo.ID), "url": s.api("/repos/%s/git/%s", c.repo.fullName(), ref),
		"object": object{"type": "commit", "sha": sha, "url": s.api("/repos/%s/git/commits/%s", c.repo.fullName(), sha)},
	}, nil
}

func (s *Server) deleteRef(c *call) (int, any, error) {
	branch, ok := strings.CutPrefix("refs/"+c.r.PathValue("ref"), "refs/heads/")
	if !ok {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "Reference cannot be deleted")
	}
	if err := s.deleteBranch(c.repo, branch, c.who.user); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}

// deleteBranch deletes a branch with all that follows from it. The mutex must not be held.
func (s *Server) deleteBranch(r *repository, branch string, by *User) error {
	return s.pushed(r, by, func() error {
		ref := "refs/heads/" + branch
		if _, err := s.git(r).resolve(ref); err != nil {
			return refuse(http.StatusUnprocessableEntity, "Reference does not exist")
		}
		_, err := s.git(r).run("update-ref", "-d", ref)
		return err
	})
}
