package fakegithub

import (
	"net/http"
	"strings"
	"time"
)

// ReviewComment is a comment on a line of a pull request.
type ReviewComment struct {
	ID        int64     `json:"id"`
	Review    int64     `json:"review"`
	Pull      int       `json:"pull"`
	User      string    `json:"user"`
	Body      string    `json:"body"`
	Path      string    `json:"path"`
	Line      int       `json:"line"` // in the file named by Side; 0 = the whole file
	StartLine int       `json:"start_line,omitempty"`
	Side      string    `json:"side"` // RIGHT: the new file, LEFT: the old one
	Position  int       `json:"position"`
	DiffHunk  string    `json:"diff_hunk"`
	CommitID  string    `json:"commit_id"`
	InReplyTo int64     `json:"in_reply_to,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// newRemark is what a comment on a line is made of.
type newRemark struct {
	Path, Body, Side string
	Line, Position   int
	StartLine        int    `json:"start_line"`
	CommitID         string `json:"commit_id"`
	InReplyTo        int64  `json:"in_reply_to"`
	hunk             string
}

// place finds each comment's place in the diff, or refuses. The mutex must not be held.
func (s *Server) place(r *repository, p Pull, remarks []newRemark) error {
	if len(remarks) == 0 {
		return nil
	}
	files, err := s.git(r).files(p.BaseSHA, p.HeadSHA, true)
	if err != nil {
		return err
	}
	patches := map[string]string{}
	for _, f := range files {
		patches[f.path] = f.patch
	}
	for i := range remarks {
		m := &remarks[i]
		patch, ok := patches[m.Path]
		if !ok {
			return unprocessable("Path could not be resolved")
		}
		if strings.TrimSpace(m.Body) == "" {
			return unprocessable("Body can't be blank")
		}
		if m.Side == "" {
			m.Side = "RIGHT"
		}
		hunk, at, ok := hunkAt(patch, func(p spot) bool {
			switch {
			case m.Line == 0:
				return m.Position > 0 && p.position == m.Position // the older way of naming a place
			case m.Side == "LEFT":
				return p.left == m.Line
			}
			return p.right == m.Line
		})
		if !ok {
			return unprocessable("Line could not be resolved")
		}
		m.hunk, m.Position = hunk, at.position
		if m.Line == 0 {
			m.Line = max(at.right, at.left)
		}
	}
	return nil
}

func (s *Server) addRemark(r *repository, is *Issue, in newRemark, v *Review, by *User) *ReviewComment {
	now := s.stamp()
	m := &ReviewComment{
		ID: s.id(), Review: v.ID, Pull: is.Number, User: by.Login, Body: in.Body, Path: in.Path, Line: in.Line, StartLine: in.StartLine,
		Side: in.Side, Position: in.Position, DiffHunk: in.hunk, CommitID: v.CommitID, InReplyTo: in.InReplyTo, CreatedAt: now, UpdatedAt: now,
	}
	r.Remarks = append(r.Remarks, m)
	s.wrote(by, "comment %s#%d %s:%d %q", r.fullName(), is.Number, m.Path, m.Line, firstLine(m.Body))
	return m
}

func (s *Server) remarkObject(r *repository, m *ReviewComment) object {
	u := s.user(m.User)
	at := s.api("/repos/%s/pulls/comments/%d", r.fullName(), m.ID)
	page := s.web("/%s/pull/%d#discussion_r%d", r.fullName(), m.Pull, m.ID)
	pull := s.api("/repos/%s/pulls/%d", r.fullName(), m.Pull)
	o := object{
		"url": at, "pull_request_review_id": m.Review, "id": m.ID, "node_id": nodeID("PRRC", m.ID), "diff_hunk": m.DiffHunk, "path": m.Path,
		"position": m.Position, "original_position": m.Position, "commit_id": m.CommitID, "original_commit_id": m.CommitID,
		"user": s.userObject(u), "body": m.Body, "created_at": m.CreatedAt, "updated_at": m.UpdatedAt, "html_url": page,
		"pull_request_url": pull, "author_association": s.association(u, r), "reactions": reactions(at), "start_line": nil,
		"original_start_line": nil, "start_side": nil, "line": m.Line, "original_line": m.Line, "side": m.Side, "subject_type": "line",
		"_links": object{"self": object{"href": at}, "html": object{"href": page}, "pull_request": object{"href": pull}},
	}
	if m.StartLine != 0 {
		o["start_line"], o["original_start_line"], o["start_side"] = m.StartLine, m.StartLine, m.Side
	}
	if m.InReplyTo != 0 {
		o["in_reply_to_id"] = m.InReplyTo
	}
	return o
}

// remarks lists the comments on lines of one pull request that are public, or of one review of it.
func (c *call) remarks(pull int, review int64) []*ReviewComment {
	seen := map[int64]bool{}
	for _, v := range c.visibleReviews(pull) {
		seen[v.ID] = v.State != "PENDING" || review == v.ID
	}
	var out []*ReviewComment
	for _, m := range c.repo.Remarks {
		if m.Pull == pull && seen[m.Review] && (review == 0 || review == m.Review) {
			out = append(out, m)
		}
	}
	return out
}

func (s *Server) listReviewComments(c *call) (int, any, error) {
	is, err := c.pull()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, paged(s, c, c.remarks(is.Number, 0), func(m *ReviewComment) object { return s.remarkObject(c.repo, m) }), nil
}

// listOneReviewsComments leaves out the lines, as GitHub does: this list has positions only.
func (s *Server) listOneReviewsComments(c *call) (int, any, error) {
	is, v, err := c.review()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, paged(s, c, c.remarks(is.Number, v.ID), func(m *ReviewComment) object {
		o := s.remarkObject(c.repo, m)
		for _, name := range []string{"line", "original_line", "start_line", "original_start_line", "side", "start_side", "subject_type"} {
			delete(o, name)
		}
		return o
	}), nil
}

func (s *Server) getReviewComment(c *call) (int, any, error) {
	id, err := c.number("id")
	if err != nil {
		return 0, nil, err
	}
	for _, m := range c.repo.Remarks {
		if m.ID == id {
			return http.StatusOK, s.remarkObject(c.repo, m), nil
		}
	}
	return 0, nil, errNotFound
}

// postReviewComment comments on one line without a review around it; GitHub makes one of it, state COMMENTED.
func (s *Server) postReviewComment(c *call) (int, any, error) {
	r, is, p, err := s.lockedPull(c)
	if err != nil {
		return 0, nil, err
	}
	var in newRemark
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if in.InReplyTo != 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.reply(c, is, in.InReplyTo, in.Body)
	}
	placed := []newRemark{in}
	if err := s.place(r, p, placed); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &Review{ID: s.id(), Pull: is.Number, User: c.who.user.Login, State: "COMMENTED", CommitID: p.HeadSHA}
	r.Reviews = append(r.Reviews, v)
	m := s.addRemark(r, is, placed[0], v, c.who.user)
	s.submit(r, is, v, c.who.user)
	return http.StatusCreated, s.remarkObject(r, m), nil
}

func (s *Server) postReply(c *call) (int, any, error) {
	is, err := c.pull()
	if err != nil {
		return 0, nil, err
	}
	id, err := c.number("id")
	if err != nil {
		return 0, nil, err
	}
	var in newRemark
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	return s.reply(c, is, id, in.Body)
}

// reply answers a comment on a line, at the same place.
func (s *Server) reply(c *call, is *Issue, to int64, body string) (int, any, error) {
	if strings.TrimSpace(body) == "" {
		return 0, nil, unprocessable("Body can't be blank")
	}
	for _, m := range c.repo.Remarks {
		if m.ID != to || m.Pull != is.Number {
			continue
		}
		v := &Review{ID: s.id(), Pull: is.Number, User: c.who.user.Login, State: "COMMENTED", CommitID: m.CommitID}
		c.repo.Reviews = append(c.repo.Reviews, v)
		in := newRemark{Path: m.Path, Body: body, Side: m.Side, Line: m.Line, Position: m.Position, InReplyTo: m.ID, hunk: m.DiffHunk}
		answer := s.addRemark(c.repo, is, in, v, c.who.user)
		s.submit(c.repo, is, v, c.who.user)
		return http.StatusCreated, s.remarkObject(c.repo, answer), nil
	}
	return 0, nil, errNotFound
}
