package fakegithub

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// What a branch requires before something is merged into it: by its own protection, and by rules of rulesets. Both are
// shown to whoever may read the repository; to read or change the settings themselves takes an administrator.

var protectionRoutes = []route{
	{pattern: "GET /repos/{owner}/{repo}/rules/branches/{ref...}", need: onMetadata, run: (*Server).branchRules},
	{pattern: "GET /repos/{owner}/{repo}/compare/{path...}", need: onContentsRead, run: (*Server).compareCommits, unlocked: true},
}

// RequireChecks protects the branch: these checks must pass before something is merged. None lifts the protection.
func (s *Server) RequireChecks(repo, branch string, names ...string) error {
	return s.require(repo, func(r *repository) { put(&r.Required, branch, names) })
}

// RuleChecks is RequireChecks by a ruleset.
func (s *Server) RuleChecks(repo, branch string, names ...string) error {
	return s.require(repo, func(r *repository) { put(&r.Ruled, branch, names) })
}

func put(all *map[string][]string, branch string, names []string) {
	if *all == nil {
		*all = map[string][]string{}
	}
	(*all)[branch] = slices.Clone(names)
}

func (s *Server) require(repo string, change func(*repository)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(repo)
	if r == nil {
		return fmt.Errorf("there is no repository %s", repo)
	}
	change(r)
	return nil
}

// Check has some App's check come to an end at the commit, or begin if the conclusion is "".
func (s *Server) Check(repo, sha, name, conclusion, title string) error {
	s.mu.Lock()
	r := s.find(repo)
	s.mu.Unlock()
	if r == nil {
		return fmt.Errorf("there is no repository %s", repo)
	}
	branches := s.branchesAt(r, sha)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.stamp()
	at := slices.IndexFunc(r.CheckRuns, func(run *CheckRun) bool { return run.HeadSHA == sha && run.Name == name })
	action := "created"
	if at < 0 {
		at = len(r.CheckRuns)
		r.CheckRuns = append(r.CheckRuns, &CheckRun{ID: s.id(), Name: name, HeadSHA: sha, StartedAt: &now})
	}
	run := r.CheckRuns[at]
	run.Status, run.Conclusion, run.Output = "in_progress", conclusion, []byte(fmt.Sprintf(`{"title":%q}`, title))
	if conclusion != "" {
		run.Status, run.CompletedAt, action = "completed", &now, "completed"
	}
	s.wrote(s.bot(), "check run %s %s %s", repo, name, strings.TrimSpace(run.Status+" "+conclusion))
	s.emitCheck(r, run, action, branches, s.bot())
	return nil
}

// emitCheck sends the check run's webhook, with a branch that is at its commit.
func (s *Server) emitCheck(r *repository, run *CheckRun, action string, branches []string, by *User) {
	o := s.checkRunObject(r, run)
	suite := object{"id": run.ID, "head_sha": run.HeadSHA, "head_branch": nil}
	if len(branches) > 0 {
		suite["head_branch"] = branches[0]
	}
	o["check_suite"] = suite
	s.emit(r, "check_run", action, by, object{"check_run": o})
}

// branchesAt are the names of the branches that are at the commit, sorted. It runs Git, so the mutex need not be held.
func (s *Server) branchesAt(r *repository, sha string) (names []string) {
	heads, err := s.git(r).heads()
	if err != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(heads)) {
		if heads[name] == sha {
			names = append(names, name)
		}
	}
	return names
}

// protection is what "Get a branch" shows of the branch's protection.
func (r *repository) protection(branch string) object {
	names, checks := []string{}, []object{}
	for _, name := range r.Required[branch] {
		names, checks = append(names, name), append(checks, object{"context": name, "app_id": nil})
	}
	level := "off"
	if len(names) > 0 {
		level = "non_admins"
	}
	return object{"enabled": len(names) > 0, "required_status_checks": object{"enforcement_level": level, "contexts": names, "checks": checks}}
}

// branchRules are the rules of active rulesets, of a branch that need not be there.
// https://docs.github.com/en/rest/repos/rules#get-rules-for-a-branch
func (s *Server) branchRules(c *call) (int, any, error) {
	rules := []object{}
	if names := c.repo.Ruled[c.r.PathValue("ref")]; len(names) > 0 {
		checks := []object{}
		for _, name := range names {
			checks = append(checks, object{"context": name})
		}
		source := object{"ruleset_source_type": "Repository", "ruleset_source": c.repo.fullName(), "ruleset_id": 1}
		review := maps.Clone(source)
		review["type"], review["parameters"] = "copilot_code_review", object{"review_on_push": true} // of a kind that came later
		source["type"], source["parameters"] = "required_status_checks", object{"strict_required_status_checks_policy": false, "required_status_checks": checks}
		rules = append(rules, review, source)
	}
	return http.StatusOK, rules, nil
}

// compareCommits is how head stands to base.
// https://docs.github.com/en/rest/commits/commits#compare-two-commits
func (s *Server) compareCommits(c *call) (int, any, error) {
	from, to, ok := strings.Cut(c.r.PathValue("path"), "...")
	if !ok {
		return 0, nil, errNotFound
	}
	g := s.git(c.repo)
	base, err := g.commit(from)
	if err != nil {
		return 0, nil, errNotFound
	}
	head, err := g.commit(to)
	if err != nil {
		return 0, nil, errNotFound
	}
	merged, err := g.mergeBase(base, head)
	if err != nil || merged == "" {
		return 0, nil, refuse(http.StatusNotFound, fmt.Sprintf("No common ancestor between %s and %s.", from, to))
	}
	ahead, err := g.ahead(base, head)
	if err != nil {
		return 0, nil, err
	}
	behind, err := g.ahead(head, base)
	if err != nil {
		return 0, nil, err
	}
	status := "diverged"
	switch {
	case ahead == 0 && behind == 0:
		status = "identical"
	case behind == 0:
		status = "ahead"
	case ahead == 0:
		status = "behind"
	}
	return http.StatusOK, object{
		"status": status, "ahead_by": ahead, "behind_by": behind, "total_commits": ahead, "commits": []object{}, "files": []object{},
		"merge_base_commit": object{"sha": merged}, "base_commit": object{"sha": base},
	}, nil
}
