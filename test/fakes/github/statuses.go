package fakegithub

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Status is a commit status.
type Status struct {
	ID          int64     `json:"id"`
	State       string    `json:"state"` // error, failure, pending or success
	Context     string    `json:"context"`
	Description string    `json:"description"`
	TargetURL   string    `json:"target_url"`
	Creator     string    `json:"creator"`
	CreatedAt   time.Time `json:"created_at"`
}

// CheckRun is a check run. Status is queued, in_progress or completed.
type CheckRun struct {
	ID          int64           `json:"id"`
	Name        string          `json:"name"`
	HeadSHA     string          `json:"head_sha"`
	Status      string          `json:"status"`
	Conclusion  string          `json:"conclusion"`
	DetailsURL  string          `json:"details_url"`
	ExternalID  string          `json:"external_id"`
	Output      json.RawMessage `json:"output,omitempty"` // as the client sent it
	StartedAt   *time.Time      `json:"started_at,omitempty"`
	CompletedAt *time.Time      `json:"completed_at,omitempty"`
}

var (
	onStatuses     = need{permissions: []string{"statuses"}, write: true, role: writer}
	onStatusesRead = need{permissions: []string{"statuses"}, role: reader}
	onChecks       = need{permissions: []string{"checks"}, write: true, role: writer}
	onChecksRead   = need{permissions: []string{"checks"}, role: reader}
)

var statusRoutes = []route{
	{pattern: "POST /repos/{owner}/{repo}/statuses/{sha}", need: onStatuses, run: (*Server).postStatus, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/commits/{ref...}/status", need: onStatusesRead, run: (*Server).combinedStatus, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/commits/{ref...}/statuses", need: onStatusesRead, run: (*Server).listStatuses, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/commits/{ref...}/check-runs", need: onChecksRead, run: (*Server).listCheckRuns, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/commits/{ref...}", need: onContentsRead, run: (*Server).getCommit, unlocked: true},
	{pattern: "POST /repos/{owner}/{repo}/check-runs", need: onChecks, run: (*Server).postCheckRun, unlocked: true},
	{pattern: "GET /repos/{owner}/{repo}/check-runs/{id}", need: onChecksRead, run: (*Server).getCheckRun},
	{pattern: "PATCH /repos/{owner}/{repo}/check-runs/{id}", need: onChecks, run: (*Server).patchCheckRun},
}

func (s *Server) postStatus(c *call) (int, any, error) {
	var in struct {
		State, Context, Description string
		TargetURL                   string `json:"target_url"`
	}
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if !slices.Contains([]string{"error", "failure", "pending", "success"}, in.State) {
		return 0, nil, invalid("Status", "state", "custom", "state is not included in the list")
	}
	if len([]rune(in.Description)) > 140 {
		return 0, nil, invalid("Status", "description", "custom", "description is too long (maximum is 140 characters)")
	}
	sha, err := s.git(c.repo).commit(c.r.PathValue("sha"))
	if err != nil || !strings.EqualFold(sha, c.r.PathValue("sha")) {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.r.PathValue("sha"))
	}
	if in.Context == "" {
		in.Context = "default"
	}
	branches := []object{}
	for _, name := range s.branchesAt(c.repo, sha) {
		branches = append(branches, object{"name": name, "protected": false, "commit": object{"sha": sha, "url": s.api("/repos/%s/commits/%s", c.repo.fullName(), sha)}})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{ID: s.id(), State: in.State, Context: in.Context, Description: in.Description, TargetURL: in.TargetURL, Creator: c.who.user.Login, CreatedAt: s.stamp()}
	c.repo.Statuses[sha] = append(c.repo.Statuses[sha], st)
	s.wrote(c.who.user, "status %s %s %s %q", c.repo.fullName(), st.Context, st.State, st.Description)
	s.emit(c.repo, "status", "", c.who.user, object{
		"id": st.ID, "sha": sha, "name": c.repo.fullName(), "target_url": orNull(st.TargetURL), "context": st.Context,
		"description": orNull(st.Description), "state": st.State, "created_at": st.CreatedAt, "updated_at": st.CreatedAt, "branches": branches,
		"commit": object{"sha": sha, "url": s.api("/repos/%s/commits/%s", c.repo.fullName(), sha)},
	})
	return http.StatusCreated, s.statusObject(c.repo, sha, st), nil
}

func (s *Server) statusObject(r *repository, sha string, st Status) object {
	return object{
		"url": s.api("/repos/%s/statuses/%s", r.fullName(), sha), "id": st.ID, "node_id": nodeID("SC", st.ID), "state": st.State,
		"description": orNull(st.Description), "target_url": orNull(st.TargetURL), "context": st.Context, "created_at": st.CreatedAt,
		"updated_at": st.CreatedAt, "creator": s.userObject(s.user(st.Creator)), "avatar_url": nil,
	}
}

// ref resolves the commit that the path names.
func (s *Server) ref(c *call) (string, error) {
	sha, err := s.git(c.repo).commit(c.r.PathValue("ref"))
	if err != nil {
		return "", refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.r.PathValue("ref"))
	}
	return sha, nil
}

func (s *Server) getCommit(c *call) (int, any, error) {
	sha, err := s.ref(c)
	if err != nil {
		return 0, nil, err
	}
	commits, err := s.git(c.repo).log("", sha)
	if err != nil || len(commits) == 0 {
		return 0, nil, err
	}
	return http.StatusOK, s.commitObject(c.repo, commits[len(commits)-1]), nil
}

func (s *Server) listStatuses(c *call) (int, any, error) {
	sha, err := s.ref(c)
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(c.repo.Statuses[sha])
	slices.Reverse(list)
	return http.StatusOK, paged(s, c, list, func(st Status) object { return s.statusObject(c.repo, sha, st) }), nil
}

// combinedStatus takes the latest status of each context, and the worst of them.
func (s *Server) combinedStatus(c *call) (int, any, error) {
	sha, err := s.ref(c)
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	latest := map[string]Status{}
	for _, st := range c.repo.Statuses[sha] {
		latest[st.Context] = st
	}
	list, state := []object{}, "success"
	if len(latest) == 0 {
		state = "pending"
	}
	for _, name := range slices.Sorted(maps.Keys(latest)) {
		st := latest[name]
		list = append(list, s.statusObject(c.repo, sha, st))
		switch {
		case st.State == "failure", st.State == "error":
			state = "failure"
		case st.State == "pending" && state == "success":
			state = "pending"
		}
	}
	return http.StatusOK, object{
		"state": state, "statuses": list, "sha": sha, "total_count": len(list), "repository": s.repositoryObject(c.repo),
		"commit_url": s.api("/repos/%s/commits/%s", c.repo.fullName(), sha), "url": s.api("/repos/%s/commits/%s/status", c.repo.fullName(), sha),
	}, nil
}

// checkRunBody is what create and update take; nil leaves a field as it is.
type checkRunBody struct {
	Name        *string         `json:"name"`
	HeadSHA     string          `json:"head_sha"`
	Status      *string         `json:"status"`
	Conclusion  *string         `json:"conclusion"`
	DetailsURL  *string         `json:"details_url"`
	ExternalID  *string         `json:"external_id"`
	Output      json.RawMessage `json:"output"`
	StartedAt   *time.Time      `json:"started_at"`
	CompletedAt *time.Time      `json:"completed_at"`
}

var conclusions = []string{"success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"}

// fill applies a body to a check run; a conclusion completes it, and completed needs a conclusion.
func (s *Server) fill(run *CheckRun, in checkRunBody) error {
	set := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	set(&run.Name, in.Name)
	set(&run.Status, in.Status)
	set(&run.Conclusion, in.Conclusion)
	set(&run.DetailsURL, in.DetailsURL)
	set(&run.ExternalID, in.ExternalID)
	if in.Output != nil {
		run.Output = in.Output
	}
	if in.StartedAt != nil {
		run.StartedAt = in.StartedAt
	}
	if in.Conclusion != nil {
		run.Status = "completed"
	}
	if !slices.Contains([]string{"queued", "in_progress", "completed"}, run.Status) {
		return invalid("CheckRun", "status", "invalid", "")
	}
	if run.Status == "completed" {
		if !slices.Contains(conclusions, run.Conclusion) {
			return invalid("CheckRun", "conclusion", "invalid", "")
		}
		now := s.stamp()
		run.CompletedAt = &now
		if in.CompletedAt != nil {
			run.CompletedAt = in.CompletedAt
		}
	}
	return nil
}

func (s *Server) postCheckRun(c *call) (int, any, error) {
	var in checkRunBody
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if c.who.token == nil || c.who.token.InstallationID == 0 {
		return 0, nil, refuse(http.StatusForbidden, "You must authenticate via a GitHub App.")
	}
	if in.Name == nil || *in.Name == "" {
		return 0, nil, invalid("CheckRun", "name", "missing_field", "")
	}
	if sha, err := s.git(c.repo).commit(in.HeadSHA); err != nil || sha != in.HeadSHA {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+in.HeadSHA)
	}
	branches := s.branchesAt(c.repo, in.HeadSHA)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.stamp()
	run := &CheckRun{HeadSHA: in.HeadSHA, Status: "queued", StartedAt: &now}
	if err := s.fill(run, in); err != nil {
		return 0, nil, err
	}
	run.ID = s.id()
	c.repo.CheckRuns = append(c.repo.CheckRuns, run)
	return s.checkRunChanged(c, run, http.StatusCreated, "created", branches)
}

func (s *Server) patchCheckRun(c *call) (int, any, error) {
	run, err := c.checkRun()
	if err != nil {
		return 0, nil, err
	}
	var in checkRunBody
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	changed := *run
	if err := s.fill(&changed, in); err != nil {
		return 0, nil, err
	}
	*run = changed
	if run.Status == "completed" {
		return s.checkRunChanged(c, run, http.StatusOK, "completed", s.branchesAt(c.repo, run.HeadSHA))
	}
	s.wrote(c.who.user, "check run %s %s %s", c.repo.fullName(), run.Name, run.Status)
	return http.StatusOK, s.checkRunObject(c.repo, run), nil
}

func (s *Server) checkRunChanged(c *call, run *CheckRun, status int, action string, branches []string) (int, any, error) {
	s.wrote(c.who.user, "check run %s %s %s", c.repo.fullName(), run.Name, strings.TrimSpace(run.Status+" "+run.Conclusion))
	s.emitCheck(c.repo, run, action, branches, c.who.user)
	return status, s.checkRunObject(c.repo, run), nil
}

func (c *call) checkRun() (*CheckRun, error) {
	id, err := c.number("id")
	if err != nil {
		return nil, err
	}
	for _, run := range c.repo.CheckRuns {
		if run.ID == id {
			return run, nil
		}
	}
	return nil, errNotFound
}

func (s *Server) getCheckRun(c *call) (int, any, error) {
	run, err := c.checkRun()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.checkRunObject(c.repo, run), nil
}

func (s *Server) listCheckRuns(c *call) (int, any, error) {
	sha, err := s.ref(c)
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := c.r.URL.Query().Get("check_name")
	var list []*CheckRun
	for _, run := range c.repo.CheckRuns {
		if run.HeadSHA == sha && (name == "" || name == run.Name) {
			list = append(list, run)
		}
	}
	page := paged(s, c, list, func(run *CheckRun) object { return s.checkRunObject(c.repo, run) })
	return http.StatusOK, object{"total_count": len(list), "check_runs": page}, nil
}

func (s *Server) checkRunObject(r *repository, run *CheckRun) object {
	at := s.api("/repos/%s/check-runs/%d", r.fullName(), run.ID)
	output := object{"title": nil, "summary": nil, "text": nil, "annotations_count": 0, "annotations_url": at + "/annotations"}
	if run.Output != nil {
		_ = json.Unmarshal(run.Output, &output) // it was valid JSON when it came; another shape leaves the defaults
	}
	return object{
		"id": run.ID, "node_id": nodeID("CR", run.ID), "head_sha": run.HeadSHA, "external_id": run.ExternalID, "url": at,
		"html_url": s.web("/%s/runs/%d", r.fullName(), run.ID), "details_url": orNull(run.DetailsURL), "status": run.Status,
		"conclusion": orNull(run.Conclusion), "started_at": run.StartedAt, "completed_at": run.CompletedAt, "output": output,
		"name": run.Name, "check_suite": object{"id": run.ID}, "app": s.appObject(), "pull_requests": []object{},
	}
}
