package fakegithub

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Pull is what makes an issue a pull request. Head and Base are branches of the repository itself: there are no forks
// here.
type Pull struct {
	Head           string     `json:"head"`
	HeadSHA        string     `json:"head_sha"`
	Base           string     `json:"base"`
	BaseSHA        string     `json:"base_sha"`
	Draft          bool       `json:"draft"`
	MergedAt       *time.Time `json:"merged_at,omitempty"`
	MergedBy       string     `json:"merged_by,omitempty"`
	MergeCommit    string     `json:"merge_commit,omitempty"`
	Commits        int        `json:"commits"`
	Additions      int        `json:"additions"`
	Deletions      int        `json:"deletions"`
	ChangedFiles   int        `json:"changed_files"`
	ReviewComments int        `json:"review_comments"`
	Reviewers      []string   `json:"reviewers,omitempty"` // requested, not yet heard
}

var (
	onPullsRead  = need{permissions: []string{"pull_requests"}, role: reader}
	onPullsWrite = need{permissions: []string{"pull_requests"}, write: true, role: reader}
)

var pullRoutes = []route{
	{pattern: "GET /repos/{owner}/{repo}/pulls", need: onPullsRead, run: (*Server).listPulls},
	{pattern: "POST /repos/{owner}/{repo}/pulls", need: onPullsWrite, run: (*Server).postPull, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/pulls/{number}", need: onPullsRead, run: (*Server).getPull, unlocked: true},
	{pattern: "PATCH /repos/{owner}/{repo}/pulls/{number}", need: onPullsWrite, run: (*Server).patchPull, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/pulls/{number}/files", need: onPullsRead, run: (*Server).listFiles, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/pulls/{number}/commits", need: onPullsRead, run: (*Server).listCommits, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/pulls/{number}/merge", need: onPullsRead, run: (*Server).isMerged},
	{pattern: "PUT /repos/{owner}/{repo}/pulls/{number}/merge", need: onContents, run: (*Server).putMerge, unlocked: true},
	{pattern: "POST /repos/{owner}/{repo}/pulls/{number}/requested_reviewers", need: onPullsWrite, run: (*Server).requestReviewers},
}

// pull finds the pull request that the path names.
func (c *call) pull() (*Issue, error) {
	is, err := c.issue()
	if err != nil || is.Pull == nil {
		return nil, errNotFound
	}
	return is, nil
}

// pullObject shows a pull request; whole adds what lists leave out.
func (s *Server) pullObject(r *repository, is *Issue, whole bool) object {
	p, u := is.Pull, s.user(is.User)
	at, page := s.api("/repos/%s/pulls/%d", r.fullName(), is.Number), s.web("/%s/pull/%d", r.fullName(), is.Number)
	asIssue := s.api("/repos/%s/issues/%d", r.fullName(), is.Number)
	comment := s.api("/repos/%s/pulls/comments{/number}", r.fullName())
	statuses := s.api("/repos/%s/statuses/%s", r.fullName(), p.HeadSHA)
	href := func(url string) object { return object{"href": url} }
	repo := s.repositoryObject(r)
	maps.Copy(repo, mergeSettings)
	side := func(branch, sha string) object {
		return object{"label": r.Owner + ":" + branch, "ref": branch, "sha": sha, "user": s.userObject(s.user(r.Owner)), "repo": repo}
	}
	o := object{
		"url": at, "id": is.Pull.id(is), "node_id": nodeID("PR", is.Pull.id(is)), "html_url": page, "diff_url": page + ".diff",
		"patch_url": page + ".patch", "issue_url": asIssue, "number": is.Number, "state": is.State, "locked": false,
		"title": is.Title, "user": s.userObject(u), "body": orNull(is.Body), "created_at": is.CreatedAt, "updated_at": is.UpdatedAt,
		"closed_at": is.ClosedAt, "merged_at": p.MergedAt, "merge_commit_sha": orNull(p.MergeCommit), "assignee": nil,
		"assignees": []object{}, "requested_reviewers": s.userObjects(p.Reviewers), "requested_teams": []object{},
		"labels": s.labelObjects(r, is.Labels), "milestone": nil, "draft": p.Draft, "commits_url": at + "/commits",
		"review_comments_url": at + "/comments", "review_comment_url": comment, "comments_url": asIssue + "/comments",
		"statuses_url": statuses, "head": side(p.Head, p.HeadSHA), "base": side(p.Base, p.BaseSHA),
		"_links": object{
			"self": href(at), "html": href(page), "issue": href(asIssue), "comments": href(asIssue + "/comments"),
			"review_comments": href(at + "/comments"), "review_comment": href(comment), "commits": href(at + "/commits"), "statuses": href(statuses),
		},
		"author_association": s.association(u, r), "auto_merge": nil, "active_lock_reason": nil,
	}
	if people := s.userObjects(is.Assignees); len(people) > 0 {
		o["assignee"], o["assignees"] = people[0], people
	}
	if !whole {
		return o
	}
	o["merged"], o["mergeable"], o["rebaseable"], o["mergeable_state"], o["merged_by"] = p.MergedAt != nil, nil, nil, "unknown", nil
	if p.MergedBy != "" {
		o["merged_by"] = s.userObject(s.user(p.MergedBy))
	}
	o["comments"], o["review_comments"], o["maintainer_can_modify"] = is.Comments, p.ReviewComments, false
	o["commits"], o["additions"], o["deletions"], o["changed_files"] = p.Commits, p.Additions, p.Deletions, p.ChangedFiles
	return o
}

// id of the pull request, which on GitHub differs from that of its issue.
func (p *Pull) id(is *Issue) int64 { return is.ID + 1_000_000_000 }

func (s *Server) listPulls(c *call) (int, any, error) {
	q := c.r.URL.Query()
	owner, branch, byHead := strings.Cut(q.Get("head"), ":") // without an owner GitHub does not filter
	var out []*Issue
	for _, is := range c.repo.Issues {
		if is.Pull == nil || !inState(q.Get("state"), is.State) || q.Get("base") != "" && q.Get("base") != is.Pull.Base ||
			byHead && (!strings.EqualFold(owner, c.repo.Owner) || branch != is.Pull.Head) {
			continue
		}
		out = append(out, is)
	}
	order(out, q.Get("sort"), q.Get("direction"))
	return http.StatusOK, paged(s, c, out, func(is *Issue) object { return s.pullObject(c.repo, is, false) }), nil
}

// newPull is what a pull request is opened with.
type newPull struct {
	Title, Body, Head, Base string
	Draft                   bool
}

func (s *Server) postPull(c *call) (int, any, error) {
	var in newPull
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	is, err := s.openPull(c.repo, in, c.who.user)
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return http.StatusCreated, s.pullObject(c.repo, is, true), nil
}

// openPull opens a pull request, with the refusals of GitHub. The mutex must not be held.
func (s *Server) openPull(r *repository, in newPull, by *User) (*Issue, error) {
	if owner, branch, ok := strings.Cut(in.Head, ":"); ok {
		if !strings.EqualFold(owner, r.Owner) {
			return nil, invalid("PullRequest", "head", "invalid", "")
		}
		in.Head = branch
	}
	for field, value := range map[string]string{"title": in.Title, "head": in.Head, "base": in.Base} {
		if strings.TrimSpace(value) == "" {
			return nil, invalid("PullRequest", field, "missing_field", "")
		}
	}
	lock := s.pushLock(r)
	lock.Lock() // the branch stays where it is until the pull request knows it
	defer lock.Unlock()
	g := s.git(r)
	base, err := g.resolve("refs/heads/" + in.Base)
	if err != nil {
		return nil, invalid("PullRequest", "base", "invalid", "")
	}
	head, err := g.resolve("refs/heads/" + in.Head)
	if err != nil {
		return nil, invalid("PullRequest", "head", "invalid", "")
	}
	st, err := g.stats(base, head)
	if err != nil {
		return nil, invalid("PullRequest", "", "custom", "The "+in.Head+" branch has no history in common with "+in.Base)
	}
	if st.commits == 0 {
		return nil, invalid("PullRequest", "", "custom", "No commits between "+in.Base+" and "+in.Head)
	}

	is, err := s.addPull(r, in, by, base, head, st)
	if err != nil {
		return nil, err
	}
	if _, err := g.run("update-ref", pullRef(is.Number), head); err != nil {
		return nil, err
	}
	return is, nil
}

func (s *Server) addPull(r *repository, in newPull, by *User, base, head string, st diffStats) (*Issue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, is := range r.Issues {
		if p := is.Pull; p != nil && is.State == "open" && p.Head == in.Head && p.Base == in.Base {
			return nil, invalid("PullRequest", "", "custom", "A pull request already exists for "+r.Owner+":"+in.Head+".")
		}
	}
	now := s.stamp()
	is := &Issue{ID: s.id(), Number: len(r.Issues) + 1, Title: in.Title, Body: in.Body, User: by.Login, State: "open", CreatedAt: now, UpdatedAt: now}
	is.Pull = &Pull{Head: in.Head, HeadSHA: head, Base: in.Base, BaseSHA: base, Draft: in.Draft}
	is.Pull.take(st)
	r.Issues = append(r.Issues, is)
	s.wrote(by, "open pull request %s#%d %q %s into %s", r.fullName(), is.Number, in.Title, in.Head, in.Base)
	s.emitIssue(r, is, "opened", by, nil)
	return is, nil
}

func (p *Pull) take(st diffStats) {
	p.Commits, p.Additions, p.Deletions, p.ChangedFiles = st.commits, st.additions, st.deletions, st.files
}

// getPull also answers whether the pull request can be merged, which GitHub works out when asked.
func (s *Server) getPull(c *call) (int, any, error) {
	r, is, p, err := s.lockedPull(c)
	if err != nil {
		return 0, nil, err
	}
	g := s.git(r)
	if strings.Contains(c.r.Header.Get("Accept"), "diff") {
		text, err := g.run("diff", "--no-color", "-M", p.BaseSHA+"..."+p.HeadSHA)
		return http.StatusOK, plain{"application/vnd.github.diff; charset=utf-8", text}, err
	}
	base, unknown := g.resolve("refs/heads/" + p.Base)
	_, dirty := g.run("merge-tree", "--write-tree", base, p.HeadSHA)
	clean := dirty == nil
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.pullObject(r, is, true)
	if is.State == "open" && unknown == nil {
		o["mergeable"], o["rebaseable"], o["mergeable_state"] = clean, false, map[bool]string{true: "clean", false: "dirty"}[clean]
	}
	return http.StatusOK, o, nil
}

// lockedPull finds the pull request of the path and copies what it is now, for work outside the mutex.
func (s *Server) lockedPull(c *call) (*repository, *Issue, Pull, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	is, err := c.pull()
	if err != nil {
		return nil, nil, Pull{}, err
	}
	return c.repo, is, *is.Pull, nil
}

func (s *Server) isMerged(c *call) (int, any, error) {
	is, err := c.pull()
	if err != nil || is.Pull.MergedAt == nil {
		return 0, nil, errNotFound
	}
	return http.StatusNoContent, nil, nil
}

func (s *Server) requestReviewers(c *call) (int, any, error) {
	is, err := c.pull()
	if err != nil {
		return 0, nil, err
	}
	var in struct{ Reviewers []string }
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	for _, login := range in.Reviewers {
		u := s.st.Users[strings.ToLower(login)]
		if u == nil || s.roleOf(u, c.repo) == noRole {
			return 0, nil, refuse(http.StatusUnprocessableEntity, "Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator of the "+c.repo.fullName()+" repository.")
		}
		if strings.EqualFold(u.Login, is.User) {
			return 0, nil, refuse(http.StatusUnprocessableEntity, "Review cannot be requested from pull request author.")
		}
		if !slices.Contains(is.Pull.Reviewers, u.Login) {
			is.Pull.Reviewers = append(is.Pull.Reviewers, u.Login)
			s.wrote(c.who.user, "request review of %s#%d from %s", c.repo.fullName(), is.Number, u.Login)
			s.emitIssue(c.repo, is, "review_requested", c.who.user, object{"requested_reviewer": s.userObject(u)})
		}
	}
	return http.StatusCreated, s.pullObject(c.repo, is, false), nil
}

// conflict turns a merge that needs a person into GitHub's refusal.
func conflict(err error) error {
	if errors.Is(err, errConflict) {
		return refuse(http.StatusMethodNotAllowed, "Pull Request is not mergeable")
	}
	return err
}
