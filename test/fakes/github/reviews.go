package fakegithub

import (
	"net/http"
	"strings"
	"time"
)

// Review is a review of a pull request. State is as the REST API writes it: APPROVED, CHANGES_REQUESTED, COMMENTED,
// PENDING or DISMISSED.
type Review struct {
	ID          int64      `json:"id"`
	Pull        int        `json:"pull"`
	User        string     `json:"user"`
	Body        string     `json:"body"`
	State       string     `json:"state"`
	CommitID    string     `json:"commit_id"`
	SubmittedAt *time.Time `json:"submitted_at,omitempty"`
	UpdatedAt   *time.Time `json:"updated_at,omitempty"`
}

var onDismissals = need{permissions: []string{"pull_requests"}, write: true, role: writer}

var reviewRoutes = []route{
	{pattern: "GET /repos/{owner}/{repo}/pulls/{number}/reviews", need: onPullsRead, run: (*Server).listReviews},
	{pattern: "POST /repos/{owner}/{repo}/pulls/{number}/reviews", need: onPullsWrite, run: (*Server).postReview, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/pulls/{number}/reviews/{id}", need: onPullsRead, run: (*Server).getReview},
	{pattern: "PUT /repos/{owner}/{repo}/pulls/{number}/reviews/{id}", need: onPullsWrite, run: (*Server).putReview},
	{pattern: "POST /repos/{owner}/{repo}/pulls/{number}/reviews/{id}/events", need: onPullsWrite, run: (*Server).submitPending},
	{pattern: "PUT /repos/{owner}/{repo}/pulls/{number}/reviews/{id}/dismissals", need: onDismissals, run: (*Server).dismissReview},
	{pattern: "GET /repos/{owner}/{repo}/pulls/{number}/reviews/{id}/comments", need: onPullsRead, run: (*Server).listOneReviewsComments},
	{pattern: "GET /repos/{owner}/{repo}/pulls/{number}/comments", need: onPullsRead, run: (*Server).listReviewComments},
	{pattern: "POST /repos/{owner}/{repo}/pulls/{number}/comments", need: onPullsWrite, run: (*Server).postReviewComment, unlocked: true},
	{pattern: "POST /repos/{owner}/{repo}/pulls/{number}/comments/{id}/replies", need: onPullsWrite, run: (*Server).postReply},
	{pattern: "GET /repos/{owner}/{repo}/pulls/comments/{id}", need: onPullsRead, run: (*Server).getReviewComment},
}

// states of a review by the event that submits it.
var reviewStates = map[string]string{"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED", "": "PENDING"}

func (s *Server) reviewObject(r *repository, v *Review) object {
	u := s.user(v.User)
	page := s.web("/%s/pull/%d#pullrequestreview-%d", r.fullName(), v.Pull, v.ID)
	pull := s.api("/repos/%s/pulls/%d", r.fullName(), v.Pull)
	o := object{
		"id": v.ID, "node_id": nodeID("PRR", v.ID), "user": s.userObject(u), "body": v.Body, "state": v.State, "html_url": page,
		"pull_request_url": pull, "author_association": s.association(u, r), "commit_id": v.CommitID,
		"_links": object{"html": object{"href": page}, "pull_request": object{"href": pull}},
	}
	if v.SubmittedAt != nil {
		o["submitted_at"] = v.SubmittedAt
	}
	return o
}

// visibleReviews are those of one pull request; a pending one is seen by its author only.
func (c *call) visibleReviews(pull int) []*Review {
	var out []*Review
	for _, v := range c.repo.Reviews {
		if v.Pull == pull && (v.State != "PENDING" || strings.EqualFold(v.User, c.who.user.Login)) {
			out = append(out, v)
		}
	}
	return out
}

func (s *Server) listReviews(c *call) (int, any, error) {
	is, err := c.pull()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, paged(s, c, c.visibleReviews(is.Number), func(v *Review) object { return s.reviewObject(c.repo, v) }), nil
}

func (c *call) review() (*Issue, *Review, error) {
	is, err := c.pull()
	if err != nil {
		return nil, nil, err
	}
	id, err := c.number("id")
	if err != nil {
		return nil, nil, err
	}
	for _, v := range c.visibleReviews(is.Number) {
		if v.ID == id {
			return is, v, nil
		}
	}
	return nil, nil, errNotFound
}

func (s *Server) getReview(c *call) (int, any, error) {
	_, v, err := c.review()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.reviewObject(c.repo, v), nil
}

// newReview is what a review is made of; Event APPROVE, REQUEST_CHANGES, COMMENT or "" (kept pending).
type newReview struct {
	Body, Event string
	CommitID    string `json:"commit_id"`
	Comments    []newRemark
}

func (s *Server) postReview(c *call) (int, any, error) {
	r, is, _, err := s.lockedPull(c)
	if err != nil {
		return 0, nil, err
	}
	var in newReview
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	v, err := s.addReview(r, is, in, c.who.user)
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return http.StatusOK, s.reviewObject(r, v), nil
}

// addReview reviews; the mutex must not be held.
func (s *Server) addReview(r *repository, is *Issue, in newReview, by *User) (*Review, error) {
	s.mu.Lock()
	p, author := *is.Pull, is.User
	s.mu.Unlock()
	state, ok := reviewStates[in.Event]
	if !ok {
		return nil, unprocessable("Variable $event of type PullRequestReviewEvent was provided invalid value")
	}
	if err := mayReview(in.Event, in.Body, len(in.Comments), author, by); err != nil {
		return nil, err
	}
	if in.CommitID == "" {
		in.CommitID = p.HeadSHA
	}
	if !s.git(r).isAncestor(in.CommitID, p.HeadSHA) {
		return nil, unprocessable("end_commit_oid is not part of the pull request")
	}
	if err := s.place(r, p, in.Comments); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &Review{ID: s.id(), Pull: is.Number, User: by.Login, Body: in.Body, State: state, CommitID: in.CommitID}
	r.Reviews = append(r.Reviews, v)
	for _, m := range in.Comments {
		s.addRemark(r, is, m, v, by)
	}
	if state == "PENDING" {
		s.wrote(by, "begin review of %s#%d", r.fullName(), is.Number)
		return v, nil
	}
	s.submit(r, is, v, by)
	return v, nil
}

func mayReview(event, body string, comments int, author string, by *User) error {
	own := strings.EqualFold(author, by.Login)
	switch {
	case own && event == "APPROVE":
		return unprocessable("Can not approve your own pull request")
	case own && event == "REQUEST_CHANGES":
		return unprocessable("Can not request changes on your own pull request")
	case body == "" && (event == "REQUEST_CHANGES" || event == "COMMENT" && comments == 0):
		return unprocessable("Could not create review: body is required")
	}
	return nil
}

// unprocessable is the 422 of the endpoints whose errors are plain texts.
func unprocessable(message string) *apiError {
	e := refuse(http.StatusUnprocessableEntity, "Unprocessable Entity")
	e.Errors = []any{message}
	return e
}

// submit makes a review public and tells the hooks: first the review, then each of its comments.
func (s *Server) submit(r *repository, is *Issue, v *Review, by *User) {
	now := s.stamp()
	v.SubmittedAt, v.UpdatedAt = &now, &now
	s.touch(is)
	is.Pull.Reviewers = without(is.Pull.Reviewers, v.User)
	s.wrote(by, "review %s#%d %s %q", r.fullName(), is.Number, v.State, firstLine(v.Body))
	s.emitReview(r, is, v, "submitted", by, nil)
	for _, m := range r.Remarks {
		if m.Review == v.ID {
			is.Pull.ReviewComments++
			s.emitRemark(r, is, m, by)
		}
	}
}

func without(list []string, login string) []string {
	var out []string
	for _, l := range list {
		if !strings.EqualFold(l, login) {
			out = append(out, l)
		}
	}
	return out
}

func (s *Server) submitPending(c *call) (int, any, error) {
	is, v, err := c.review()
	if err != nil {
		return 0, nil, err
	}
	var in newReview
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if v.State != "PENDING" || in.Event == "" || reviewStates[in.Event] == "" {
		return 0, nil, unprocessable("Can not submit this review")
	}
	if in.Body != "" {
		v.Body = in.Body
	}
	if err := mayReview(in.Event, v.Body, 1, is.User, c.who.user); err != nil {
		return 0, nil, err
	}
	v.State = reviewStates[in.Event]
	s.submit(c.repo, is, v, c.who.user)
	return http.StatusOK, s.reviewObject(c.repo, v), nil
}

func (s *Server) dismissReview(c *call) (int, any, error) {
	is, v, err := c.review()
	if err != nil {
		return 0, nil, err
	}
	var in struct{ Message string }
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if err := s.dismiss(c.repo, is, v, in.Message, c.who.user); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.reviewObject(c.repo, v), nil
}

func (s *Server) dismiss(r *repository, is *Issue, v *Review, message string, by *User) error {
	if v.State != "APPROVED" && v.State != "CHANGES_REQUESTED" {
		return unprocessable("Can not dismiss a " + strings.ToLower(v.State) + " pull request review")
	}
	if strings.TrimSpace(message) == "" {
		return unprocessable("Message can't be blank")
	}
	now := s.stamp()
	v.State, v.UpdatedAt = "DISMISSED", &now
	s.touch(is)
	s.note(r, is, by, "review_dismissed", nil)
	s.wrote(by, "dismiss review of %s#%d by %s", r.fullName(), is.Number, v.User)
	s.emitReview(r, is, v, "dismissed", by, nil)
	return nil
}

func (s *Server) putReview(c *call) (int, any, error) {
	is, v, err := c.review()
	if err != nil {
		return 0, nil, err
	}
	var in struct{ Body string }
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if err := s.editReview(c.repo, is, v, in.Body, c.who.user); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.reviewObject(c.repo, v), nil
}

// editReview changes the text; a review that nobody has seen yet changes without a word.
func (s *Server) editReview(r *repository, is *Issue, v *Review, body string, by *User) error {
	if !strings.EqualFold(v.User, by.Login) {
		return refuse(http.StatusForbidden, "Must be the author of the review.")
	}
	if strings.TrimSpace(body) == "" {
		return unprocessable("Body can't be blank")
	}
	if body == v.Body {
		return nil
	}
	from := v.Body
	v.Body = body
	if v.State == "PENDING" {
		s.changed()
		return nil
	}
	now := s.stamp()
	v.UpdatedAt = &now
	s.wrote(by, "edit review of %s#%d %q", r.fullName(), is.Number, firstLine(body))
	s.emitReview(r, is, v, "edited", by, object{"changes": object{"body": object{"from": from}}})
	return nil
}

// review finds a review of a pull request by its id, or nil.
func (r *repository) review(pull int, id int64) *Review {
	for _, v := range r.Reviews {
		if v.Pull == pull && v.ID == id {
			return v
		}
	}
	return nil
}
