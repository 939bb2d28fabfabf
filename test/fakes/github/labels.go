package fakegithub

import (
	"cmp"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Label is a label of a repository.
type Label struct {
	ID          int64  `json:"id"`
	Name        string `json:"name"`
	Color       string `json:"color"`
	Description string `json:"description"`
	Default     bool   `json:"default"`
}

// Label names that every new repository on GitHub has.
var defaultLabels = []Label{
	{Name: "bug", Color: "d73a4a", Description: "Something isn't working", Default: true},
	{Name: "documentation", Color: "0075ca", Description: "Improvements or additions to documentation", Default: true},
	{Name: "enhancement", Color: "a2eeef", Description: "New feature or request", Default: true},
}

var (
	onIssuesRead   = need{permissions: []string{"issues", "pull_requests"}, role: reader}
	onIssuesTriage = need{permissions: []string{"issues", "pull_requests"}, write: true, role: triager}
)

var labelRoutes = []route{
	{pattern: "GET /repos/{owner}/{repo}/labels", need: onIssuesRead, run: (*Server).listLabels},
	{pattern: "POST /repos/{owner}/{repo}/labels", need: onIssuesTriage, run: (*Server).createLabel},
	{pattern: "GET /repos/{owner}/{repo}/labels/{name}", need: onIssuesRead, run: (*Server).getLabel},
	{pattern: "PATCH /repos/{owner}/{repo}/labels/{name}", need: onIssuesTriage, run: (*Server).editLabel},
	{pattern: "DELETE /repos/{owner}/{repo}/labels/{name}", need: onIssuesTriage, run: (*Server).deleteLabel},
	{pattern: "GET /repos/{owner}/{repo}/issues/{number}/labels", need: onIssuesRead, run: (*Server).listIssueLabels},
	{pattern: "POST /repos/{owner}/{repo}/issues/{number}/labels", need: onIssuesTriage, run: (*Server).postIssueLabels},
	{pattern: "PUT /repos/{owner}/{repo}/issues/{number}/labels", need: onIssuesTriage, run: (*Server).putIssueLabels},
	{pattern: "DELETE /repos/{owner}/{repo}/issues/{number}/labels", need: onIssuesTriage, run: (*Server).clearIssueLabels},
	{pattern: "DELETE /repos/{owner}/{repo}/issues/{number}/labels/{name}", need: onIssuesTriage, run: (*Server).deleteIssueLabel},
}

// label finds a label as GitHub does: without regard to case. Nil if there is none.
func (r *repository) label(name string) *Label {
	for _, l := range r.Labels {
		if strings.EqualFold(l.Name, name) {
			return l
		}
	}
	return nil
}

// ensureLabel makes a label that is not there yet, grey as GitHub makes it.
func (s *Server) ensureLabel(r *repository, name string) *Label {
	if l := r.label(name); l != nil {
		return l
	}
	l := &Label{ID: s.id(), Name: name, Color: "ededed"}
	r.Labels = append(r.Labels, l)
	return l
}

func (s *Server) listLabels(c *call) (int, any, error) {
	return http.StatusOK, paged(s, c, c.repo.Labels, func(l *Label) object { return s.labelObject(c.repo, l) }), nil
}

func (s *Server) getLabel(c *call) (int, any, error) {
	l := c.repo.label(c.r.PathValue("name"))
	if l == nil {
		return 0, nil, errNotFound
	}
	return http.StatusOK, s.labelObject(c.repo, l), nil
}

func (s *Server) createLabel(c *call) (int, any, error) {
	var in struct{ Name, Color, Description string }
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if err := fitsLabel(in.Name, cmp.Or(in.Color, "ededed"), in.Description); err != nil {
		return 0, nil, err
	}
	if c.repo.label(in.Name) != nil {
		return 0, nil, invalid("Label", "name", "already_exists", "")
	}
	l := s.ensureLabel(c.repo, in.Name)
	l.Description = in.Description
	if in.Color != "" {
		l.Color = in.Color
	}
	s.wrote(c.who.user, "create label %s in %s", l.Name, c.repo.fullName())
	return http.StatusCreated, s.labelObject(c.repo, l), nil
}

var sixDigits = regexp.MustCompile(`^[0-9a-fA-F]{6}$`)

// fitsLabel refuses what GitHub refuses; lengths are in characters.
func fitsLabel(name, colour, description string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return invalid("Label", "name", "missing_field", "")
	case utf8.RuneCountInString(name) > 50:
		return invalid("Label", "name", "custom", "name is too long (maximum is 50 characters)")
	case !sixDigits.MatchString(colour):
		return invalid("Label", "color", "invalid", "")
	case utf8.RuneCountInString(description) > 100:
		return invalid("Label", "description", "custom", "description is too long (maximum is 100 characters)")
	}
	return nil
}

// editLabel changes what the body names, and no more. Issues go with a renamed label.
func (s *Server) editLabel(c *call) (int, any, error) {
	l := c.repo.label(c.r.PathValue("name"))
	if l == nil {
		return 0, nil, errNotFound
	}
	in := struct {
		Name        string `json:"new_name"`
		Color       string
		Description string
	}{l.Name, l.Color, l.Description}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if err := fitsLabel(in.Name, in.Color, in.Description); err != nil {
		return 0, nil, err
	}
	if taken := c.repo.label(in.Name); taken != nil && taken != l {
		return 0, nil, invalid("Label", "name", "already_exists", "")
	}
	for _, is := range c.repo.Issues {
		if i := is.labelAt(l.Name); i >= 0 {
			is.Labels[i] = in.Name
		}
	}
	s.wrote(c.who.user, "edit label %s in %s: %s", l.Name, c.repo.fullName(), in.Name)
	l.Name, l.Color, l.Description = in.Name, in.Color, in.Description
	return http.StatusOK, s.labelObject(c.repo, l), nil
}

// deleteLabel takes it off all issues, too.
func (s *Server) deleteLabel(c *call) (int, any, error) {
	l := c.repo.label(c.r.PathValue("name"))
	if l == nil {
		return 0, nil, errNotFound
	}
	for _, is := range c.repo.Issues {
		if i := is.labelAt(l.Name); i >= 0 {
			is.Labels = slices.Delete(is.Labels, i, i+1)
		}
	}
	c.repo.Labels = slices.DeleteFunc(c.repo.Labels, func(have *Label) bool { return have == l })
	s.wrote(c.who.user, "delete label %s of %s", l.Name, c.repo.fullName())
	return http.StatusNoContent, nil, nil
}

func (s *Server) listIssueLabels(c *call) (int, any, error) {
	is, err := c.issue()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, paged(s, c, is.Labels, func(name string) object { return s.labelObject(c.repo, s.ensureLabel(c.repo, name)) }), nil
}

// labelNames reads both bodies that GitHub takes: {"labels": [...]} and a bare list.
func (c *call) labelNames() ([]string, error) {
	var in struct {
		Labels []string `json:"labels"`
	}
	var err error
	if strings.HasPrefix(strings.TrimSpace(string(c.body)), "[") {
		err = c.decode(&in.Labels)
	} else {
		err = c.decode(&in)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range in.Labels {
		if err := fitsLabel(name, "ededed", ""); err != nil {
			return nil, err
		}
	}
	return in.Labels, nil
}

func (s *Server) postIssueLabels(c *call) (int, any, error) {
	is, err := c.issue()
	if err != nil {
		return 0, nil, err
	}
	names, err := c.labelNames()
	if err != nil {
		return 0, nil, err
	}
	s.addLabels(c.repo, is, names, c.who.user)
	return http.StatusOK, s.labelObjects(c.repo, is.Labels), nil
}

func (s *Server) putIssueLabels(c *call) (int, any, error) {
	is, err := c.issue()
	if err != nil {
		return 0, nil, err
	}
	names, err := c.labelNames()
	if err != nil {
		return 0, nil, err
	}
	s.setLabels(c.repo, is, names, c.who.user)
	return http.StatusOK, s.labelObjects(c.repo, is.Labels), nil
}

func (s *Server) clearIssueLabels(c *call) (int, any, error) {
	is, err := c.issue()
	if err != nil {
		return 0, nil, err
	}
	s.setLabels(c.repo, is, nil, c.who.user)
	return http.StatusNoContent, nil, nil
}

func (s *Server) deleteIssueLabel(c *call) (int, any, error) {
	is, err := c.issue()
	if err != nil {
		return 0, nil, err
	}
	if !s.removeLabel(c.repo, is, c.r.PathValue("name"), c.who.user) {
		return 0, nil, refuse(http.StatusNotFound, "Label does not exist")
	}
	return http.StatusOK, s.labelObjects(c.repo, is.Labels), nil
}

// addLabels puts the labels that are not on the issue yet; each is an event and a webhook of its own.
func (s *Server) addLabels(r *repository, is *Issue, names []string, by *User) {
	for _, name := range names {
		if is.has(name) {
			continue
		}
		l := s.ensureLabel(r, name)
		is.Labels = append(is.Labels, l.Name)
		s.touch(is)
		s.note(r, is, by, "labeled", l)
		s.wrote(by, "label %s#%d +%s", r.fullName(), is.Number, l.Name)
		s.emitIssue(r, is, "labeled", by, object{"label": s.labelObject(r, l)})
	}
}

// removeLabel takes a label off; false if it is not on.
func (s *Server) removeLabel(r *repository, is *Issue, name string, by *User) bool {
	i := is.labelAt(name)
	if i < 0 {
		return false
	}
	l := s.ensureLabel(r, is.Labels[i])
	is.Labels = slices.Delete(is.Labels, i, i+1)
	s.touch(is)
	s.note(r, is, by, "unlabeled", l)
	s.wrote(by, "label %s#%d -%s", r.fullName(), is.Number, l.Name)
	s.emitIssue(r, is, "unlabeled", by, object{"label": s.labelObject(r, l)})
	return true
}

// setLabels makes the labels be exactly these.
func (s *Server) setLabels(r *repository, is *Issue, names []string, by *User) {
	for _, have := range slices.Clone(is.Labels) {
		if !slices.ContainsFunc(names, func(want string) bool { return strings.EqualFold(want, have) }) {
			s.removeLabel(r, is, have, by)
		}
	}
	s.addLabels(r, is, names, by)
}
