package fakegithub

import (
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Comment is a comment in the conversation of an issue or pull request.
type Comment struct {
	ID        int64     `json:"id"`
	Issue     int       `json:"issue"`
	User      string    `json:"user"`
	Body      string    `json:"body"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

var onIssuesComment = need{permissions: []string{"issues", "pull_requests"}, write: true, role: reader}

func (s *Server) commentObject(r *repository, m *Comment) object {
	u := s.user(m.User)
	at := s.api("/repos/%s/issues/comments/%d", r.fullName(), m.ID)
	kind := "issues"
	if r.issue(m.Issue).Pull != nil {
		kind = "pull"
	}
	return object{
		"url": at, "html_url": s.web("/%s/%s/%d#issuecomment-%d", r.fullName(), kind, m.Issue, m.ID),
		"issue_url": s.api("/repos/%s/issues/%d", r.fullName(), m.Issue), "id": m.ID, "node_id": nodeID("IC", m.ID),
		"user": s.userObject(u), "created_at": m.CreatedAt, "updated_at": m.UpdatedAt, "body": m.Body,
		"author_association": s.association(u, r), "reactions": reactions(at), "performed_via_github_app": s.via(u),
	}
}

func (s *Server) listComments(c *call) (int, any, error) {
	is, err := c.issue()
	if err != nil {
		return 0, nil, err
	}
	since, _ := time.Parse(time.RFC3339, c.r.URL.Query().Get("since")) // like GitHub: what is no time filters nothing
	var out []*Comment
	for _, m := range c.repo.Comments {
		if m.Issue == is.Number && !m.UpdatedAt.Before(since) {
			out = append(out, m)
		}
	}
	return http.StatusOK, paged(s, c, out, func(m *Comment) object { return s.commentObject(c.repo, m) }), nil
}

func (s *Server) postComment(c *call) (int, any, error) {
	is, err := c.issue()
	if err != nil {
		return 0, nil, err
	}
	body, err := c.commentBody()
	if err != nil {
		return 0, nil, err
	}
	m := s.comment(c.repo, is, body, c.who.user)
	return http.StatusCreated, s.commentObject(c.repo, m), nil
}

// commentBody reads the body of a comment; GitHub takes neither an empty one nor one beyond 65536 characters.
func (c *call) commentBody() (string, error) {
	var in struct{ Body string }
	if err := c.decode(&in); err != nil {
		return "", err
	}
	if strings.TrimSpace(in.Body) == "" {
		return "", invalid("IssueComment", "body", "missing_field", "Body cannot be blank")
	}
	if utf8.RuneCountInString(in.Body) > 65536 {
		return "", invalid("IssueComment", "body", "unprocessable", "Body is too long (maximum is 65536 characters)")
	}
	return in.Body, nil
}

func (s *Server) comment(r *repository, is *Issue, body string, by *User) *Comment {
	now := s.stamp()
	m := &Comment{ID: s.id(), Issue: is.Number, User: by.Login, Body: body, CreatedAt: now, UpdatedAt: now}
	r.Comments = append(r.Comments, m)
	is.Comments++
	s.touch(is)
	s.wrote(by, "comment %s#%d %q", r.fullName(), is.Number, firstLine(body))
	s.emitComment(r, m, "created", by, nil)
	return m
}

// firstLine shortens a text for the list of writes.
func firstLine(text string) string {
	line, _, more := strings.Cut(strings.TrimSpace(text), "\n")
	if runes := []rune(line); len(runes) > 80 {
		line, more = string(runes[:80]), true
	}
	if more {
		line += "…"
	}
	return line
}

// comment finds the comment that the path names.
func (c *call) comment() (*Comment, error) {
	id, err := c.number("id")
	if err != nil {
		return nil, err
	}
	for _, m := range c.repo.Comments {
		if m.ID == id {
			return m, nil
		}
	}
	return nil, errNotFound
}

func (s *Server) getComment(c *call) (int, any, error) {
	m, err := c.comment()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.commentObject(c.repo, m), nil
}

// mayEdit refuses those who neither wrote a text nor may write to the repository.
func (s *Server) mayEdit(r *repository, who principal, author string) error {
	if strings.EqualFold(author, who.user.Login) {
		return nil
	}
	return s.permits(who, r, need{permissions: onIssuesComment.permissions, write: true, role: writer})
}

func (s *Server) patchComment(c *call) (int, any, error) {
	m, err := c.comment()
	if err != nil {
		return 0, nil, err
	}
	if err := s.mayEdit(c.repo, c.who, m.User); err != nil {
		return 0, nil, err
	}
	body, err := c.commentBody()
	if err != nil {
		return 0, nil, err
	}
	if body != m.Body {
		from := m.Body
		m.Body, m.UpdatedAt = body, s.stamp()
		s.wrote(c.who.user, "edit comment on %s#%d %q", c.repo.fullName(), m.Issue, firstLine(body))
		s.emitComment(c.repo, m, "edited", c.who.user, object{"changes": object{"body": object{"from": from}}})
	}
	return http.StatusOK, s.commentObject(c.repo, m), nil
}

func (s *Server) deleteComment(c *call) (int, any, error) {
	m, err := c.comment()
	if err != nil {
		return 0, nil, err
	}
	if err := s.mayEdit(c.repo, c.who, m.User); err != nil {
		return 0, nil, err
	}
	c.repo.Comments = slices.DeleteFunc(c.repo.Comments, func(x *Comment) bool { return x == m })
	c.repo.issue(m.Issue).Comments--
	s.wrote(c.who.user, "delete comment on %s#%d", c.repo.fullName(), m.Issue)
	s.emitComment(c.repo, m, "deleted", c.who.user, nil)
	return http.StatusNoContent, nil, nil
}

func (s *Server) eventObject(r *repository, e *Event) object {
	u := s.user(e.Actor)
	o := object{
		"id": e.ID, "node_id": nodeID("EV", e.ID), "url": s.api("/repos/%s/issues/events/%d", r.fullName(), e.ID),
		"actor": s.userObject(u), "event": e.Event, "commit_id": orNull(e.CommitID), "commit_url": nil,
		"created_at": e.CreatedAt, "performed_via_github_app": s.via(u),
	}
	if e.CommitID != "" {
		o["commit_url"] = s.api("/repos/%s/commits/%s", r.fullName(), e.CommitID)
	}
	if e.Label != "" {
		o["label"] = object{"name": e.Label, "color": e.Color}
	}
	return o
}

func (s *Server) listIssueEvents(c *call) (int, any, error) {
	is, err := c.issue()
	if err != nil {
		return 0, nil, err
	}
	var out []*Event
	for _, e := range c.repo.Events {
		if e.Issue == is.Number {
			out = append(out, e)
		}
	}
	return http.StatusOK, paged(s, c, out, func(e *Event) object { return s.eventObject(c.repo, e) }), nil
}

// listRepositoryEvents lists newest first, each with its issue.
func (s *Server) listRepositoryEvents(c *call) (int, any, error) {
	out := slices.Clone(c.repo.Events)
	slices.Reverse(out)
	return http.StatusOK, paged(s, c, out, func(e *Event) object {
		o := s.eventObject(c.repo, e)
		o["issue"] = s.issueObject(c.repo, c.repo.issue(e.Issue))
		return o
	}), nil
}
