package fakegithub

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// issueView is an issue or a pull request with all that was said and done.
type issueView struct {
	Issue
	Kind    string // issues or pull, as in its address
	Labels  []action
	Talk    []entry
	Links   []Issue // the pull requests that close this issue, or the issues that this pull request closes
	Edit    []action
	State   []action
	Comment []action

	// Of a pull request.
	Review  []action
	Merge   []action
	Checks  []check
	Commits []commitLine
	Files   []fileDiff
}

// entry is one thing in the timeline. What is said has a text, what is done has words.
type entry struct {
	ID         int64
	At, Edited time.Time
	Who        string
	Words      string // "added", "approved these changes", …
	Said       bool
	Text       string
	Label      *Label
	Place      string     // of a comment on a line
	Hunk       []diffLine // the line and what is above it
	Link       place
	Decision   string // of a review: APPROVED, …
	Dismissing []action
}

type check struct{ Name, State, Text, Link string }

func (s *Server) issuePage(repo *repository, r *http.Request, f *frame) (bool, error) {
	n, _ := strconv.Atoi(r.PathValue("number")) // 0 is no issue
	v, found := s.viewIssue(repo, n)
	if !found {
		return false, nil
	}
	if !strings.Contains(r.URL.Path, "/"+v.Kind+"/") {
		f.Elsewhere = "/" + repo.fullName() + "/" + v.Kind + "/" + strconv.Itoa(n)
		return true, nil
	}
	f.Title, f.Tab, f.Own = v.Title+" · "+repo.fullName()+" #"+strconv.Itoa(n), "issues", v
	if v.Pull != nil {
		f.Tab = "pulls"
		if err := s.viewPull(repo, v); err != nil {
			return false, err
		}
	}
	slices.SortStableFunc(v.Talk, func(a, b entry) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	return true, v.offer(f, repo.fullName())
}

// viewIssue copies what the state knows.
func (s *Server) viewIssue(repo *repository, n int) (*issueView, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	is := repo.issue(n)
	if is == nil {
		return nil, false
	}
	v := &issueView{Issue: clone(is), Kind: "issues"}
	if is.Pull != nil {
		v.Kind = "pull"
	}
	v.Talk = conversation(repo, n)
	v.Links = links(repo, is)
	for _, known := range knownLabels(repo) {
		l := new(*known)
		at := "/repos/" + repo.fullName() + "/issues/" + strconv.Itoa(n) + "/labels"
		a := action{Name: l.Name, Label: l, Method: http.MethodPost, Path: at, Body: object{"labels": []string{l.Name}}}
		if is.has(l.Name) {
			a.Kind, a.Method, a.Path, a.Body = "on", http.MethodDelete, at+"/"+url.PathEscape(l.Name), nil
		}
		v.Labels = append(v.Labels, a)
	}
	if is.Pull != nil {
		v.Checks = checks(repo, is.Pull.HeadSHA)
	}
	return v, true
}

// knownLabels are the repository's in the order in which they were made, those that every repository has at the end.
func knownLabels(repo *repository) []*Label {
	var own, usual []*Label
	for _, l := range repo.Labels {
		if l.Default {
			usual = append(usual, l)
		} else {
			own = append(own, l)
		}
	}
	return append(own, usual...)
}

// links are what a pull request closes when it is merged, or the pull requests that close an issue.
func links(repo *repository, is *Issue) []Issue {
	var out []Issue
	for _, other := range repo.Issues {
		pull, issue := other, is
		if is.Pull != nil {
			pull, issue = is, other
		}
		if pull.Pull == nil || issue.Pull != nil {
			continue
		}
		for _, m := range closing.FindAllStringSubmatch(pull.Body, -1) {
			if m[1] == strconv.Itoa(issue.Number) {
				out = append(out, clone(other))
				break
			}
		}
	}
	return out
}

// conversation is what was said and done.
func conversation(repo *repository, n int) []entry {
	var talk []entry
	for _, e := range repo.Events {
		if e.Issue != n {
			continue
		}
		done := entry{ID: e.ID, At: e.CreatedAt, Who: e.Actor, Words: words(e.Event)}
		if e.Label != "" {
			done.Label = &Label{Name: e.Label, Color: e.Color}
		}
		if e.CommitID != "" {
			done.Link = place{e.CommitID, "/" + repo.fullName() + "/commit/" + e.CommitID}
		}
		talk = append(talk, done)
	}
	for _, m := range repo.Comments {
		if m.Issue == n {
			talk = append(talk, entry{ID: m.ID, At: m.CreatedAt, Edited: m.UpdatedAt, Who: m.User, Words: "commented", Said: true, Text: m.Body})
		}
	}
	for _, w := range repo.Reviews {
		if w.Pull == n && w.SubmittedAt != nil {
			talk = append(talk, entry{ID: w.ID, At: *w.SubmittedAt, Who: w.User, Words: words(w.State), Said: true, Text: w.Body, Decision: w.State})
		}
	}
	for _, m := range repo.Remarks {
		if m.Pull == n {
			talk = append(talk, entry{
				ID: m.ID, At: m.CreatedAt, Who: m.User, Words: "commented on a line", Said: true, Text: m.Body,
				Place: m.Path + ":" + strconv.Itoa(m.Line), Hunk: lastLines(m.DiffHunk),
			})
		}
	}
	return talk
}

// lastLines are the end of a hunk, enough to see what a comment is about.
func lastLines(hunk string) []diffLine {
	files := readDiff("diff --git a/x b/x\n" + hunk)
	if len(files) == 0 {
		return nil
	}
	lines := files[0].Lines
	return lines[max(0, len(lines)-4):]
}

// words say what an event or the state of a review is.
func words(event string) string {
	known := map[string]string{
		"labeled": "added", "unlabeled": "removed", "closed": "closed this", "reopened": "reopened this", "merged": "merged this with",
		"assigned": "assigned somebody", "convert_to_draft": "made this a draft", "ready_for_review": "said that this is ready for review",
		"base_ref_changed": "changed the base branch", "head_ref_deleted": "deleted the head branch", "review_dismissed": "dismissed a review",
		"APPROVED": "approved these changes", "CHANGES_REQUESTED": "requested changes", "COMMENTED": "reviewed", "DISMISSED": "reviewed; the review was dismissed",
	}
	if text, ok := known[event]; ok {
		return text
	}
	return strings.ReplaceAll(event, "_", " ")
}

// checks are the latest status of each context and the check runs of a commit.
func checks(repo *repository, sha string) []check {
	latest := map[string]check{}
	for _, st := range repo.Statuses[sha] {
		latest[st.Context] = check{st.Context, st.State, st.Description, st.TargetURL}
	}
	for _, run := range repo.CheckRuns {
		if run.HeadSHA == sha {
			latest["run "+run.Name] = check{run.Name, cmp.Or(run.Conclusion, run.Status), "", run.DetailsURL}
		}
	}
	var out []check
	for _, name := range slices.Sorted(maps.Keys(latest)) {
		out = append(out, latest[name])
	}
	return out
}

// viewPull asks Git for what a pull request changes.
func (s *Server) viewPull(repo *repository, v *issueView) error {
	g := s.git(repo)
	base, err := g.mergeBase(v.Pull.BaseSHA, v.Pull.HeadSHA)
	if err != nil {
		return err
	}
	text, err := g.run("diff", "--no-color", "-M", base, v.Pull.HeadSHA)
	if err != nil {
		return err
	}
	v.Files = readDiff(text)
	commits, err := g.log(v.Pull.BaseSHA, v.Pull.HeadSHA)
	if err != nil {
		return err
	}
	for _, k := range commits {
		v.Commits = append(v.Commits, commitLine{k.sha, k.message, k.name, k.at})
		v.Talk = append(v.Talk, entry{
			At: k.at, Who: k.name, Words: "committed " + subject(k.message), Link: place{k.sha, "/" + repo.fullName() + "/commit/" + k.sha},
		})
	}
	return nil
}

// offer adds what the account that looks may do.
func (v *issueView) offer(f *frame, repo string) error {
	n := strconv.Itoa(v.Number)
	issue := "/repos/" + repo + "/issues/" + n
	self := issue
	if v.Pull != nil {
		self = "/repos/" + repo + "/pulls/" + n
	}
	var err error
	put := func(to *[]action, list ...action) {
		if err == nil {
			*to, err = f.offers(list...)
		}
	}
	put(&v.Labels, v.Labels...)
	put(&v.Comment, action{Name: "Comment", Method: http.MethodPost, Path: issue + "/comments", Fields: []field{{Name: "body", Title: "Comment", Long: true}}})
	put(&v.Edit, action{
		Name: "Save", Method: http.MethodPatch, Path: self,
		Fields: []field{{Name: "title", Title: "Title", Value: v.Title}, {Name: "body", Title: "Text", Value: v.Body, Long: true}},
	})
	if v.Pull == nil || v.Pull.MergedAt == nil {
		state := action{Name: "Close", Method: http.MethodPatch, Path: self, Body: object{"state": "closed"}}
		if v.Issue.State == "closed" {
			state.Name, state.Body = "Reopen", object{"state": "open"}
		}
		put(&v.State, state)
	}
	if v.Pull == nil {
		return err
	}
	review := func(name, kind, event, title string) action {
		a := action{Name: name, Kind: kind, Method: http.MethodPost, Path: self + "/reviews", Body: object{"event": event}}
		if title != "" {
			a.Fields = []field{{Name: "body", Title: title, Long: true}}
		}
		return a
	}
	put(&v.Review, review("Approve", "primary", "APPROVE", ""), review("Request changes", "danger", "REQUEST_CHANGES", "What should change?"))
	if v.Issue.State == "open" {
		put(&v.Merge, action{Name: "Merge", Kind: "primary", Method: http.MethodPut, Path: self + "/merge"})
	}
	for i, e := range v.Talk {
		if e.Decision == "APPROVED" || e.Decision == "CHANGES_REQUESTED" {
			put(&v.Talk[i].Dismissing, action{
				Name: "Dismiss", Method: http.MethodPut, Path: self + "/reviews/" + strconv.FormatInt(e.ID, 10) + "/dismissals",
				Body: object{"message": "Out of date"},
			})
		}
	}
	return err
}
