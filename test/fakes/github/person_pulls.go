package fakegithub

import "fmt"

// InlineComment is a comment of a review on one line of the new file.
type InlineComment struct {
	Path string
	Line int
	Body string
}

// Review reviews a pull request and returns the review's id. state is APPROVE, REQUEST_CHANGES or COMMENT.
func (s *Server) Review(repo string, n int, state, body string, comments []InlineComment, user string) (int64, error) {
	r, is, by, err := s.onPull(repo, n, user, onPullsWrite)
	if err != nil {
		return 0, err
	}
	in := newReview{Body: body, Event: state}
	for _, c := range comments {
		in.Comments = append(in.Comments, newRemark{Path: c.Path, Line: c.Line, Body: c.Body})
	}
	v, err := s.addReview(r, is, in, by)
	if err != nil {
		return 0, fmt.Errorf("reviewing %s#%d: %w", repo, n, err)
	}
	return v.ID, nil
}

// Merge merges a pull request with a merge commit and returns that.
func (s *Server) Merge(repo string, n int, user string) (string, error) {
	r, is, by, err := s.onPull(repo, n, user, onContents)
	if err != nil {
		return "", err
	}
	sha, err := s.mergePull(r, is, mergeRequest{}, by)
	if err != nil {
		return "", fmt.Errorf("merging %s#%d: %w", repo, n, err)
	}
	return sha, nil
}

// OpenPullRequest opens a pull request from one branch into another and returns its number.
func (s *Server) OpenPullRequest(repo, title, body, head, base, user string) (int, error) {
	s.mu.Lock()
	r, who, err := s.at(repo, user)
	if err == nil {
		err = s.permits(who, r, onPullsWrite)
	}
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	is, err := s.openPull(r, newPull{Title: title, Body: body, Head: head, Base: base}, who.user)
	if err != nil {
		return 0, fmt.Errorf("opening a pull request in %s: %w", repo, err)
	}
	return is.Number, nil
}

// onPull finds a pull request for work that takes the mutex itself.
func (s *Server) onPull(repo string, n int, login string, what need) (*repository, *Issue, *User, error) {
	var found *repository
	var pull *Issue
	var user *User
	err := s.onIssue(repo, n, login, what, func(r *repository, is *Issue, by *User) error {
		if is.Pull == nil {
			return fmt.Errorf("%s#%d is no pull request", repo, n)
		}
		found, pull, user = r, is, by
		return nil
	})
	return found, pull, user, err
}

// DismissReview takes the weight off a review, as a maintainer may.
func (s *Server) DismissReview(repo string, n int, review int64, message, user string) error {
	return s.onReview(repo, n, review, user, writer, func(r *repository, is *Issue, v *Review, by *User) error {
		return s.dismiss(r, is, v, message, by)
	})
}

// EditReview changes the text of a submitted review; only its author may.
func (s *Server) EditReview(repo string, n int, review int64, body, user string) error {
	return s.onReview(repo, n, review, user, reader, func(r *repository, is *Issue, v *Review, by *User) error {
		return s.editReview(r, is, v, body, by)
	})
}

func (s *Server) onReview(repo string, n int, review int64, login string, least role, f func(*repository, *Issue, *Review, *User) error) error {
	may := onPullsWrite
	may.role = least
	return s.onIssue(repo, n, login, may, func(r *repository, is *Issue, by *User) error {
		v := r.review(n, review)
		if v == nil {
			return fmt.Errorf("no review %d of %s#%d", review, repo, n)
		}
		if err := f(r, is, v, by); err != nil {
			return fmt.Errorf("review %d of %s#%d: %w", review, repo, n, err)
		}
		return nil
	})
}

// SetDraft converts a pull request to a draft, or declares a draft ready for review. GitHub offers both in its pages
// and in GraphQL, not in REST.
func (s *Server) SetDraft(repo string, n int, draft bool, user string) error {
	return s.onIssue(repo, n, user, onPullsWrite, func(r *repository, is *Issue, by *User) error {
		if is.Pull == nil || is.State != "open" {
			return fmt.Errorf("%s#%d is no open pull request", repo, n)
		}
		if err := s.mayEdit(r, principal{user: by}, is.User); err != nil {
			return fmt.Errorf("%s in %s: %w", by.Login, repo, err)
		}
		s.setDraft(r, is, draft, by)
		return nil
	})
}

// ChangeBase lets a pull request go into another branch.
func (s *Server) ChangeBase(repo string, n int, base, user string) error {
	r, is, by, err := s.onPull(repo, n, user, onPullsWrite)
	if err != nil {
		return err
	}
	if err := s.changeBase(r, is, base, principal{user: by}); err != nil {
		return fmt.Errorf("changing the base of %s#%d: %w", repo, n, err)
	}
	return nil
}

// DeleteBranch deletes a branch. Open pull requests from it and into it are closed.
func (s *Server) DeleteBranch(repo, branch, user string) error {
	var r *repository
	var who principal
	err := s.act(repo, user, func(found *repository, by principal) error {
		r, who = found, by
		return s.permits(by, found, onContents)
	})
	if err != nil {
		return fmt.Errorf("deleting branch %s of %s: %w", branch, repo, err)
	}
	if err := s.deleteBranch(r, branch, who.user); err != nil {
		return fmt.Errorf("deleting branch %s of %s: %w", branch, repo, err)
	}
	return nil
}
