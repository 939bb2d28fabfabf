package fakegithub

import "net/http"

// pullEdit is the body of PATCH …/pulls/{number}.
type pullEdit struct{ Title, Body, State, Base *string }

func (s *Server) patchPull(c *call) (int, any, error) {
	var in pullEdit
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	is, err := s.editPull(c, in)
	if err != nil {
		return 0, nil, err
	}
	if in.Base != nil {
		if err := s.changeBase(c.repo, is, *in.Base, c.who); err != nil {
			return 0, nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return http.StatusOK, s.pullObject(c.repo, is, true), nil
}

// editPull does what needs no Git.
func (s *Server) editPull(c *call, in pullEdit) (*Issue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	is, err := c.pull()
	if err != nil {
		return nil, err
	}
	if err := s.mayEdit(c.repo, c.who, is.User); err != nil {
		return nil, err
	}
	if in.State != nil && *in.State != "open" && *in.State != "closed" {
		return nil, invalid("PullRequest", "state", "invalid", "")
	}
	if in.State != nil && *in.State == "open" {
		if err := s.mayReopen(c.repo, is); err != nil {
			return nil, err
		}
	}
	s.rewrite(c.repo, is, in.Title, in.Body, c.who.user)
	if in.State != nil {
		s.setState(c.repo, is, *in.State, "", c.who.user)
	}
	return is, nil
}

// mayReopen refuses what can't be open again.
func (s *Server) mayReopen(r *repository, is *Issue) error {
	if is.Pull == nil || is.State == "open" {
		return nil
	}
	no := func(why string) error {
		return invalid("PullRequest", "state", "invalid", "state cannot be changed. "+why)
	}
	if is.Pull.MergedAt != nil {
		return no("The pull request has been merged.")
	}
	for _, branch := range []string{is.Pull.Head, is.Pull.Base} {
		if _, err := s.git(r).resolve("refs/heads/" + branch); err != nil {
			return no("The " + branch + " branch has been deleted.")
		}
	}
	return nil
}

// setDraft makes a pull request a draft or ready; nothing happens if it is so already.
func (s *Server) setDraft(r *repository, is *Issue, draft bool, by *User) {
	if is.Pull.Draft == draft {
		return
	}
	is.Pull.Draft = draft
	action, event := "ready_for_review", "ready_for_review"
	if draft {
		action, event = "converted_to_draft", "convert_to_draft"
	}
	s.touch(is)
	s.note(r, is, by, event, nil)
	s.wrote(by, "%s %s#%d", action, r.fullName(), is.Number)
	s.emitIssue(r, is, action, by, nil)
}

// changeBase lets an open pull request go into another branch. The mutex must not be held.
func (s *Server) changeBase(r *repository, is *Issue, base string, who principal) error {
	lock := s.pushLock(r)
	lock.Lock() // both branches stay where they are meanwhile
	defer lock.Unlock()
	s.mu.Lock()
	p, open := *is.Pull, is.State == "open"
	err := s.mayEdit(r, who, is.User)
	s.mu.Unlock()
	switch {
	case err != nil:
		return err
	case base == p.Base:
		return nil
	case !open:
		return invalid("PullRequest", "base", "invalid", "Cannot change the base branch of a closed pull request.")
	}
	return s.turn(r, is, base, who.user)
}

// turn lets a pull request go into another branch. The pushes of the repository are locked, the mutex is not held.
func (s *Server) turn(r *repository, is *Issue, base string, by *User) error {
	s.mu.Lock()
	p := *is.Pull
	s.mu.Unlock()
	g := s.git(r)
	sha, err := g.resolve("refs/heads/" + base)
	if err != nil {
		return invalid("PullRequest", "base", "invalid", "")
	}
	st, err := g.stats(sha, p.HeadSHA)
	if err != nil || st.commits == 0 {
		return invalid("PullRequest", "", "custom", "There are no new commits between base branch '"+base+"' and head branch '"+p.Head+"'")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	is.Pull.Base, is.Pull.BaseSHA = base, sha
	is.Pull.take(st)
	s.touch(is)
	s.note(r, is, by, "base_ref_changed", nil)
	s.wrote(by, "base of %s#%d is %s", r.fullName(), is.Number, base)
	s.emitIssue(r, is, "edited", by, object{"changes": object{"base": object{
		"ref": object{"from": p.Base}, "sha": object{"from": p.BaseSHA},
	}}})
	return nil
}

// mergedInto is where the newest pull request of the branch was merged; "" = nowhere. GitHub turns pull requests into
// the branch to there when it is deleted, and closes them if there is none.
// https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/managing-branches-in-your-repository/deleting-and-restoring-branches-in-a-pull-request
func (s *Server) mergedInto(r *repository, branch string) (base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, is := range r.Issues {
		if is.Pull != nil && is.Pull.Head == branch && is.Pull.MergedAt != nil {
			base = is.Pull.Base
		}
	}
	return base
}
