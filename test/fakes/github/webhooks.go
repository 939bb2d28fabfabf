package fakegithub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/google/uuid"
)

// emit tells the subscribed hooks of r and, where it is installed, of the App. The payload shows the state of now; the
// sending comes later. All hooks get the event under one GUID: it is "shared with all deliveries for all webhooks that
// subscribe to this event", says the schema hook-delivery of https://github.com/github/rest-api-description. The mutex
// must be held.
func (s *Server) emit(r *repository, event, action string, by *User, fields object) {
	var payload object
	once := func() object {
		if payload == nil {
			payload = s.payload(r, action, by, fields)
		}
		return payload
	}
	guid := uuid.NewString()
	for _, h := range r.Hooks {
		if h.wants(event) {
			s.send(h, r, guid, event, action, once())
		}
	}
	if in := s.installationOn(r); in != nil && s.st.App.Hook.wants(event) {
		forApp := maps.Clone(once())
		forApp["installation"] = object{"id": in.ID, "node_id": nodeID("MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9u", in.ID)}
		s.send(s.st.App.Hook, r, guid, event, action, forApp)
	}
}

// payload adds what every payload has.
func (s *Server) payload(r *repository, action string, by *User, fields object) object {
	o := object{"repository": s.repositoryObject(r), "sender": s.userObject(by)}
	if action != "" {
		o["action"] = action
	}
	if owner := s.user(r.Owner); owner.Type == "Organization" {
		o["organization"] = s.organizationObject(owner)
	}
	maps.Copy(o, fields)
	return o
}

// send queues one payload for one hook.
func (s *Server) send(h *hook, r *repository, guid, event, action string, payload object) {
	data, err := plainJSON(payload)
	if err != nil {
		s.log.Error("fake github: encoding a webhook failed", "event", event, "error", err)
		return
	}
	d := Delivery{GUID: guid, Event: event, Action: action, RepositoryID: r.ID, Payload: data}
	if h == s.st.App.Hook {
		d.InstallationID = s.installationOn(r).ID
	}
	s.queue.add(s.job(h, d))
}

// plainJSON writes &, < and > as they are. The deliveries API of this server escapes them, so the payload that it shows
// has not the bytes that were sent: a client must not count on that at GitHub either.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// job addresses a delivery.
func (s *Server) job(h *hook, d Delivery) job {
	d.ID, d.Hook, d.URL = s.id(), h.ID, h.URL
	j := job{hook: h, secret: h.Secret, contentType: h.ContentType, target: "repository", targetID: d.RepositoryID, d: d}
	if h == s.st.App.Hook {
		j.target, j.targetID = "integration", s.st.App.ID
	}
	return j
}

// emitIssue reports a change of an issue, or of a pull request, whose changes are events of their own.
func (s *Server) emitIssue(r *repository, is *Issue, action string, by *User, extra object) {
	o := object{}
	maps.Copy(o, extra)
	if is.Pull == nil {
		shown := s.issueObject(r, is)
		delete(shown, "closed_by") // of the REST API only
		o["issue"] = shown
		s.emit(r, "issues", action, by, o)
		return
	}
	o["number"], o["pull_request"] = is.Number, s.pullObject(r, is, true)
	s.emit(r, "pull_request", action, by, o)
}

func (s *Server) emitComment(r *repository, m *Comment, action string, by *User, extra object) {
	o := object{"issue": s.issueObject(r, r.issue(m.Issue)), "comment": s.commentObject(r, m)}
	maps.Copy(o, extra)
	s.emit(r, "issue_comment", action, by, o)
}

// emitReview writes the state in lower case and when the review last changed, as webhooks, unlike the REST API, have
// it.
func (s *Server) emitReview(r *repository, is *Issue, v *Review, action string, by *User, extra object) {
	o := s.reviewObject(r, v)
	o["state"], o["body"], o["updated_at"] = strings.ToLower(v.State), orNull(v.Body), v.UpdatedAt
	fields := object{"review": o, "pull_request": s.pullObject(r, is, false)}
	maps.Copy(fields, extra)
	s.emit(r, "pull_request_review", action, by, fields)
}

func (s *Server) emitRemark(r *repository, is *Issue, m *ReviewComment, by *User) {
	s.emit(r, "pull_request_review_comment", "created", by, object{"comment": s.remarkObject(r, m), "pull_request": s.pullObject(r, is, false)})
}

// emitPush reports a branch that moved, came or went. The repository of a push differs from that of other events: times
// are numbers, the URL is the page, the owner has a name.
func (s *Server) emitPush(r *repository, ch refChange, by *User) {
	repo := s.repositoryObject(r)
	repo["created_at"], repo["pushed_at"], repo["url"] = r.CreatedAt.Unix(), r.PushedAt.Unix(), s.web("/%s", r.fullName())
	repo["stargazers"], repo["master_branch"] = 0, r.DefaultBranch
	owner := s.userObject(s.user(r.Owner))
	owner["name"], owner["email"] = r.Owner, nil
	repo["owner"] = owner
	email := fmt.Sprintf("%d+%s@users.noreply.github.com", by.ID, by.Login)
	commits := []object{}
	for _, k := range ch.commits {
		commits = append(commits, s.pushedCommit(r, k))
	}
	compare := s.web("/%s/compare/%s...%s", r.fullName(), ch.before[:12], ch.after[:12])
	o := object{
		"ref": "refs/heads/" + ch.branch, "before": ch.before, "after": ch.after, "created": ch.before == zeroSHA, "deleted": ch.after == zeroSHA,
		"forced": ch.forced, "base_ref": nil, "compare": compare, "commits": commits, "head_commit": nil, "repository": repo,
		"pusher": object{"name": by.Login, "email": email},
	}
	if len(commits) > 0 {
		o["head_commit"] = commits[len(commits)-1]
	}
	s.emit(r, "push", "", by, o)
	refers := object{
		"ref": ch.branch, "full_ref": "refs/heads/" + ch.branch, "ref_type": "branch", "master_branch": r.DefaultBranch,
		"description": orNull(r.Description), "pusher_type": "user",
	}
	switch zeroSHA {
	case ch.before:
		s.emit(r, "create", "", by, refers)
	case ch.after:
		delete(refers, "master_branch")
		delete(refers, "description")
		s.emit(r, "delete", "", by, refers)
	}
}

func (s *Server) pushedCommit(r *repository, k gitCommit) object {
	list := func(paths []string) []string { return append([]string{}, paths...) } // [] rather than null
	person := object{"name": k.name, "email": k.email, "date": k.at}
	if u := s.st.Users[strings.ToLower(k.name)]; u != nil {
		person["username"] = u.Login // GitHub goes by the address; here nobody has one
	}
	return object{
		"id": k.sha, "tree_id": k.tree, "distinct": true, "message": k.message, "timestamp": k.at, "url": s.web("/%s/commit/%s", r.fullName(), k.sha),
		"author": person, "committer": person, "added": list(k.added), "removed": list(k.removed), "modified": list(k.changed),
	}
}
