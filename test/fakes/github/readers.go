package fakegithub

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The readers return copies, for comparison in tests.

// AppID of the GitHub App.
func (s *Server) AppID() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.App.ID
}

// AppPrivateKey is the App's key as PEM (PKCS #1), as GitHub hands it out.
func (s *Server) AppPrivateKey() []byte { return slices.Clone(s.keyPEM) }

// InstallationID of the App on an account; 0 = it is not installed there.
func (s *Server) InstallationID(owner string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range s.st.App.Installations {
		if strings.EqualFold(in.Owner, owner) {
			return in.ID
		}
	}
	return 0
}

// Issue returns an issue or pull request.
func (s *Server) Issue(repo string, n int) (Issue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.find(repo); r != nil {
		if is := r.issue(n); is != nil {
			return clone(is), nil
		}
	}
	return Issue{}, fmt.Errorf("no issue %s#%d in the fake GitHub", repo, n)
}

func clone(is *Issue) Issue {
	out := *is
	out.Labels, out.Assignees = slices.Clone(is.Labels), slices.Clone(is.Assignees)
	if is.Pull != nil {
		p := *is.Pull
		p.Reviewers = slices.Clone(p.Reviewers)
		out.Pull = &p
	}
	return out
}

// PullRequests returns all pull requests, open or not, by number.
func (s *Server) PullRequests(repo string) []Issue {
	return read(s, repo, func(r *repository) []Issue {
		var out []Issue
		for _, is := range r.Issues {
			if is.Pull != nil {
				out = append(out, clone(is))
			}
		}
		return out
	})
}

// Comments returns the conversation of an issue or pull request.
func (s *Server) Comments(repo string, n int) []Comment {
	return read(s, repo, func(r *repository) []Comment {
		return pick(r.Comments, func(c *Comment) bool { return c.Issue == n })
	})
}

// Reviews returns the reviews of a pull request.
func (s *Server) Reviews(repo string, n int) []Review {
	return read(s, repo, func(r *repository) []Review {
		return pick(r.Reviews, func(v *Review) bool { return v.Pull == n })
	})
}

// Events returns what happened to an issue or pull request.
func (s *Server) Events(repo string, n int) []Event {
	return read(s, repo, func(r *repository) []Event {
		return pick(r.Events, func(e *Event) bool { return e.Issue == n })
	})
}

// Statuses returns the statuses of a commit, oldest first.
func (s *Server) Statuses(repo, sha string) []Status {
	return read(s, repo, func(r *repository) []Status { return slices.Clone(r.Statuses[sha]) })
}

// CheckRuns returns the check runs of a commit.
func (s *Server) CheckRuns(repo, sha string) []CheckRun {
	return read(s, repo, func(r *repository) []CheckRun {
		return pick(r.CheckRuns, func(c *CheckRun) bool { return c.HeadSHA == sha })
	})
}

// Branches returns the branches with their commits.
func (s *Server) Branches(repo string) (map[string]string, error) {
	s.mu.Lock()
	r := s.find(repo)
	s.mu.Unlock()
	if r == nil {
		return nil, fmt.Errorf("no repository %q in the fake GitHub", repo)
	}
	return s.git(r).heads()
}

// File returns the content of a file on a branch.
func (s *Server) File(repo, branch, path string) (string, error) {
	s.mu.Lock()
	r := s.find(repo)
	s.mu.Unlock()
	if r == nil {
		return "", fmt.Errorf("no repository %q in the fake GitHub", repo)
	}
	return s.git(r).run("cat-file", "blob", "refs/heads/"+branch+":"+path)
}

// Repositories returns the full names of all repositories.
func (s *Server) Repositories() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, key := range slices.Sorted(maps.Keys(s.st.Repos)) {
		out = append(out, s.st.Repos[key].fullName())
	}
	return out
}

// Deliveries returns all attempts to deliver webhooks, of all hooks, oldest first, without headers and payloads.
func (s *Server) Deliveries() []Delivery {
	list := s.attempts.list(0, 0, "", time.Time{}, 1<<31)
	slices.Reverse(list)
	return list
}

// Delivery returns one attempt with headers and payload.
func (s *Server) Delivery(id int64) (Delivery, error) { return s.attempts.read(id) }

// Writes lists in order what anybody changed, one line each: "owner: label owner/name#1 +bug".
func (s *Server) Writes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.st.Writes)
}

func read[T any](s *Server, repo string, f func(*repository) []T) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.find(repo); r != nil {
		return f(r)
	}
	return nil
}

func pick[T any](list []*T, want func(*T) bool) []T {
	var out []T
	for _, v := range list {
		if want(v) {
			out = append(out, *v)
		}
	}
	return out
}
