package fakegithub

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
)

// mergeRequest is the body of PUT …/merge.
type mergeRequest struct {
	CommitTitle   string `json:"commit_title"`
	CommitMessage string `json:"commit_message"`
	SHA           string `json:"sha"`
	MergeMethod   string `json:"merge_method"` // merge (default) or squash
}

func (s *Server) putMerge(c *call) (int, any, error) {
	r, is, _, err := s.lockedPull(c)
	if err != nil {
		return 0, nil, err
	}
	var in mergeRequest
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	sha, err := s.mergePull(r, is, in, c.who.user)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{"sha": sha, "merged": true, "message": "Pull Request successfully merged"}, nil
}

// mergePull merges, moves the base branch, closes the pull request and the issues that it says it closes. The mutex
// must not be held.
func (s *Server) mergePull(r *repository, is *Issue, in mergeRequest, by *User) (string, error) {
	var merged string
	err := s.pushed(r, by, func() error {
		s.mu.Lock()
		p, open, title := *is.Pull, is.State == "open", is.Title
		s.mu.Unlock()
		switch {
		case !open, p.Draft:
			return refuse(http.StatusMethodNotAllowed, "Pull Request is not mergeable")
		case in.SHA != "" && in.SHA != p.HeadSHA:
			return refuse(http.StatusConflict, "Head branch was modified. Review and try the merge again.")
		case in.MergeMethod != "" && in.MergeMethod != "merge" && in.MergeMethod != "squash":
			return refuse(http.StatusMethodNotAllowed, "Rebase merges are not allowed on this repository.")
		}
		g := s.git(r)
		base, err := g.resolve("refs/heads/" + p.Base)
		if err != nil {
			return refuse(http.StatusMethodNotAllowed, "Base branch was modified. Review and try the merge again.")
		}
		merged, err = g.merge(base, p.HeadSHA, mergeMessage(r, is.Number, title, p, in), in.MergeMethod == "squash", by, s.now())
		if err != nil {
			return conflict(err)
		}
		if _, err := g.run("update-ref", "refs/heads/"+p.Base, merged, base); err != nil {
			return err
		}
		s.markMerged(r, is, merged, by)
		return nil
	})
	return merged, err
}

func mergeMessage(r *repository, n int, title string, p Pull, in mergeRequest) string {
	head, text := fmt.Sprintf("Merge pull request #%d from %s/%s", n, r.Owner, p.Head), title
	if in.MergeMethod == "squash" {
		head, text = fmt.Sprintf("%s (#%d)", title, n), ""
	}
	if in.CommitTitle != "" {
		head = in.CommitTitle
	}
	if in.CommitMessage != "" {
		text = in.CommitMessage
	}
	return head + "\n\n" + text + "\n"
}

// closing finds "closes #12" in a text, after
// https://docs.github.com/en/issues/tracking-your-work-with-issues/using-issues/linking-a-pull-request-to-an-issue.
var closing = regexp.MustCompile(`(?i)\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d+)`)

func (s *Server) markMerged(r *repository, is *Issue, sha string, by *User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.stamp()
	is.Pull.MergedAt, is.Pull.MergedBy, is.Pull.MergeCommit = &now, by.Login, sha
	s.wrote(by, "merge %s#%d into %s", r.fullName(), is.Number, is.Pull.Base)
	s.note(r, is, by, "merged", nil)
	r.Events[len(r.Events)-1].CommitID = sha
	s.setState(r, is, "closed", "", by)
	if is.Pull.Base != r.DefaultBranch {
		return
	}
	for _, m := range closing.FindAllStringSubmatch(is.Body, -1) {
		n, _ := strconv.Atoi(m[1]) // only digits match
		if other := r.issue(n); other != nil && other.Pull == nil {
			s.setState(r, other, "closed", "completed", by)
		}
	}
}
