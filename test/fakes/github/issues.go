package fakegithub

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Issue is an issue, or (Pull set) a pull request, which on GitHub is an issue too.
type Issue struct {
	ID          int64      `json:"id"`
	Number      int        `json:"number"`
	Title       string     `json:"title"`
	Body        string     `json:"body"`
	User        string     `json:"user"`
	State       string     `json:"state"` // open or closed
	StateReason string     `json:"state_reason,omitempty"`
	Labels      []string   `json:"labels"`
	Assignees   []string   `json:"assignees,omitempty"`
	Comments    int        `json:"comments"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
	ClosedAt    *time.Time `json:"closed_at,omitempty"`
	ClosedBy    string     `json:"closed_by,omitempty"`
	EditedAt    *time.Time `json:"edited_at,omitempty"` // the text, not the title
	EditedBy    string     `json:"edited_by,omitempty"`
	Pull        *Pull      `json:"pull,omitempty"`
}

// Event is an entry of an issue's list of events.
type Event struct {
	ID        int64     `json:"id"`
	Issue     int       `json:"issue"`
	Event     string    `json:"event"` // labeled, unlabeled, closed, reopened, assigned, merged, …
	Actor     string    `json:"actor"`
	Label     string    `json:"label,omitempty"`
	Color     string    `json:"color,omitempty"`
	CommitID  string    `json:"commit_id,omitempty"`
	CreatedAt time.Time `json:"created_at"`
}

var onIssuesOpen = need{permissions: []string{"issues"}, write: true, role: reader}

var issueRoutes = []route{
	{pattern: "GET /repos/{owner}/{repo}/issues", need: onIssuesRead, run: (*Server).listIssues},
	{pattern: "POST /repos/{owner}/{repo}/issues", need: onIssuesOpen, run: (*Server).postIssue},
	{pattern: "GET /repos/{owner}/{repo}/issues/{number}", need: onIssuesRead, run: (*Server).getIssue},
	{pattern: "PATCH /repos/{owner}/{repo}/issues/{number}", need: onIssuesComment, run: (*Server).patchIssue},
	{pattern: "GET /repos/{owner}/{repo}/issues/{number}/events", need: onIssuesRead, run: (*Server).listIssueEvents},
	{pattern: "GET /repos/{owner}/{repo}/issues/events", need: onIssuesRead, run: (*Server).listRepositoryEvents},
	{pattern: "GET /repos/{owner}/{repo}/issues/{number}/comments", need: onIssuesRead, run: (*Server).listComments},
	{pattern: "POST /repos/{owner}/{repo}/issues/{number}/comments", need: onIssuesComment, run: (*Server).postComment},
	{pattern: "GET /repos/{owner}/{repo}/issues/comments/{id}", need: onIssuesRead, run: (*Server).getComment},
	{pattern: "PATCH /repos/{owner}/{repo}/issues/comments/{id}", need: onIssuesComment, run: (*Server).patchComment},
	{pattern: "DELETE /repos/{owner}/{repo}/issues/comments/{id}", need: onIssuesComment, run: (*Server).deleteComment},
}

func (is *Issue) has(label string) bool { return is.labelAt(label) >= 0 }

// labelAt is where the label is in the issue's list; -1 if it is not on it.
func (is *Issue) labelAt(label string) int {
	return slices.IndexFunc(is.Labels, func(have string) bool { return strings.EqualFold(have, label) })
}

func (s *Server) touch(is *Issue) { is.UpdatedAt = s.stamp() }

// note appends to the issue's events.
func (s *Server) note(r *repository, is *Issue, by *User, event string, l *Label) {
	e := &Event{ID: s.id(), Issue: is.Number, Event: event, Actor: by.Login, CreatedAt: s.stamp()}
	if l != nil {
		e.Label, e.Color = l.Name, l.Color
	}
	r.Events = append(r.Events, e)
}

func (s *Server) issueObject(r *repository, is *Issue) object {
	u := s.user(is.User)
	at := s.api("/repos/%s/issues/%d", r.fullName(), is.Number)
	o := object{
		"url": at, "repository_url": s.api("/repos/%s", r.fullName()), "labels_url": at + "/labels{/name}",
		"comments_url": at + "/comments", "events_url": at + "/events", "html_url": s.web("/%s/issues/%d", r.fullName(), is.Number),
		"id": is.ID, "node_id": nodeID("I", is.ID), "number": is.Number, "title": is.Title, "user": s.userObject(u),
		"labels": s.labelObjects(r, is.Labels), "state": is.State, "state_reason": orNull(is.StateReason), "locked": false,
		"assignee": nil, "assignees": []object{}, "milestone": nil, "comments": is.Comments, "created_at": is.CreatedAt,
		"updated_at": is.UpdatedAt, "closed_at": is.ClosedAt, "closed_by": nil, "author_association": s.association(u, r),
		"active_lock_reason": nil, "body": orNull(is.Body), "reactions": reactions(at), "timeline_url": at + "/timeline",
		"performed_via_github_app": s.via(u), "type": nil,
		"sub_issues_summary": object{"total": 0, "completed": 0, "percent_completed": 0},
	}
	if is.ClosedBy != "" {
		o["closed_by"] = s.userObject(s.user(is.ClosedBy))
	}
	if people := s.userObjects(is.Assignees); len(people) > 0 {
		o["assignee"], o["assignees"] = people[0], people
	}
	if is.Pull != nil {
		page := s.web("/%s/pull/%d", r.fullName(), is.Number)
		o["html_url"], o["draft"] = page, is.Pull.Draft
		o["pull_request"] = object{
			"url": s.api("/repos/%s/pulls/%d", r.fullName(), is.Number), "html_url": page,
			"diff_url": page + ".diff", "patch_url": page + ".patch", "merged_at": is.Pull.MergedAt,
		}
	}
	return o
}

func (s *Server) userObjects(logins []string) []object {
	out := []object{}
	for _, login := range logins {
		out = append(out, s.userObject(s.user(login)))
	}
	return out
}

func (s *Server) listIssues(c *call) (int, any, error) {
	q := c.r.URL.Query()
	var want []string
	if text := q.Get("labels"); text != "" {
		want = strings.Split(text, ",")
	}
	since, _ := time.Parse(time.RFC3339, q.Get("since")) // like GitHub: what is no time filters nothing
	var out []*Issue
	for _, is := range c.repo.Issues {
		all := !slices.ContainsFunc(want, func(l string) bool { return !is.has(l) })
		if all && inState(q.Get("state"), is.State) && !is.UpdatedAt.Before(since) &&
			(q.Get("creator") == "" || strings.EqualFold(q.Get("creator"), is.User)) {
			out = append(out, is)
		}
	}
	order(out, q.Get("sort"), q.Get("direction"))
	return http.StatusOK, paged(s, c, out, func(is *Issue) object { return s.issueObject(c.repo, is) }), nil
}

func inState(want, have string) bool {
	if want == "" {
		want = "open"
	}
	return want == "all" || want == have
}

// order sorts as the lists of issues and pull requests do: newest first, unless asked otherwise.
func order(list []*Issue, by, direction string) {
	slices.SortStableFunc(list, func(a, b *Issue) int {
		n := a.Number - b.Number
		switch by {
		case "updated":
			n = a.UpdatedAt.Compare(b.UpdatedAt)
		case "comments":
			n = a.Comments - b.Comments
		}
		if direction != "asc" {
			n = -n
		}
		return n
	})
}

func (s *Server) getIssue(c *call) (int, any, error) {
	is, err := c.issue()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.issueObject(c.repo, is), nil
}

func (s *Server) postIssue(c *call) (int, any, error) {
	var in struct {
		Title, Body string
		Labels      []string
		Assignees   []string
	}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if strings.TrimSpace(in.Title) == "" {
		return 0, nil, invalid("Issue", "title", "missing_field", "")
	}
	if s.permits(c.who, c.repo, onIssuesTriage) != nil {
		in.Labels, in.Assignees = nil, nil // GitHub drops them without a word
	}
	is := s.openIssue(c.repo, in.Title, in.Body, c.who.user)
	s.addLabels(c.repo, is, in.Labels, c.who.user)
	if in.Assignees != nil {
		s.assign(c.repo, is, in.Assignees, c.who.user)
	}
	return http.StatusCreated, s.issueObject(c.repo, is), nil
}

func (s *Server) openIssue(r *repository, title, body string, by *User) *Issue {
	now := s.stamp()
	is := &Issue{ID: s.id(), Number: len(r.Issues) + 1, Title: title, Body: body, User: by.Login, State: "open", CreatedAt: now, UpdatedAt: now}
	r.Issues = append(r.Issues, is)
	s.wrote(by, "open %s#%d %q", r.fullName(), is.Number, title)
	s.emitIssue(r, is, "opened", by, nil)
	return is
}

func (s *Server) patchIssue(c *call) (int, any, error) {
	is, err := c.issue()
	if err != nil {
		return 0, nil, err
	}
	by := c.who.user
	if s.permits(c.who, c.repo, onIssuesTriage) != nil && !strings.EqualFold(is.User, by.Login) {
		return 0, nil, refuse(http.StatusForbidden, "Must have admin rights to Repository.")
	}
	var in struct {
		Title, Body, State *string
		StateReason        string `json:"state_reason"`
		Labels, Assignees  *[]string
	}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if in.State != nil && *in.State != "open" && *in.State != "closed" {
		return 0, nil, invalid("Issue", "state", "invalid", "")
	}
	if in.State != nil && *in.State == "open" {
		if err := s.mayReopen(c.repo, is); err != nil {
			return 0, nil, err
		}
	}
	s.rewrite(c.repo, is, in.Title, in.Body, by)
	if in.Labels != nil {
		s.setLabels(c.repo, is, *in.Labels, by)
	}
	if in.Assignees != nil {
		s.assign(c.repo, is, *in.Assignees, by)
	}
	if in.State != nil {
		s.setState(c.repo, is, *in.State, in.StateReason, by)
	}
	return http.StatusOK, s.issueObject(c.repo, is), nil
}

// rewrite changes title and body, where given and different.
func (s *Server) rewrite(r *repository, is *Issue, title, body *string, by *User) {
	changes := object{}
	if title != nil && *title != is.Title {
		changes["title"] = object{"from": is.Title}
		is.Title = *title
		s.note(r, is, by, "renamed", nil)
	}
	if body != nil && *body != is.Body {
		changes["body"] = object{"from": is.Body}
		now := s.stamp()
		is.Body, is.EditedAt, is.EditedBy = *body, &now, by.Login
	}
	if len(changes) == 0 {
		return
	}
	s.touch(is)
	s.wrote(by, "edit %s#%d", r.fullName(), is.Number)
	s.emitIssue(r, is, "edited", by, object{"changes": changes})
}

// setState closes or reopens; nothing happens if it is so already.
func (s *Server) setState(r *repository, is *Issue, state, reason string, by *User) {
	if is.State == state {
		return
	}
	is.State, is.StateReason, is.ClosedAt, is.ClosedBy = state, "", nil, ""
	event, verb := "reopened", "reopen"
	if state == "closed" {
		event, verb = "closed", "close"
		now := s.stamp()
		is.ClosedAt, is.ClosedBy = &now, by.Login
	}
	if is.Pull == nil {
		is.StateReason = map[string]string{"closed": "completed", "open": "reopened"}[state]
		if state == "closed" && reason != "" {
			is.StateReason = reason
		}
	}
	s.touch(is)
	s.note(r, is, by, event, nil)
	s.wrote(by, "%s %s#%d", verb, r.fullName(), is.Number)
	s.emitIssue(r, is, event, by, nil)
}

func (s *Server) assign(r *repository, is *Issue, logins []string, by *User) {
	before := is.Assignees
	is.Assignees = nil
	for _, login := range logins {
		u := s.st.Users[strings.ToLower(login)]
		if u == nil {
			continue // GitHub ignores who cannot be assigned
		}
		is.Assignees = append(is.Assignees, u.Login)
		if !slices.Contains(before, u.Login) {
			s.touch(is)
			s.note(r, is, by, "assigned", nil)
			s.wrote(by, "assign %s#%d to %s", r.fullName(), is.Number, u.Login)
			s.emitIssue(r, is, "assigned", by, object{"assignee": s.userObject(u)})
		}
	}
}
