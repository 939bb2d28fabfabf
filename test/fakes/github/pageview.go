package fakegithub

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// homeView is the list of repositories, of everybody or of one account.
type homeView struct {
	Repositories []string
	Writes       []string // latest first
}

// latestWrites is how many changes the first page shows.
const latestWrites = 50

func (s *Server) homePage(_ *http.Request, f *frame) (bool, error) {
	writes := s.Writes()
	slices.Reverse(writes)
	f.Own = homeView{s.Repositories(), writes[:min(latestWrites, len(writes))]}
	return true, nil
}

func (s *Server) accountPage(r *http.Request, f *frame) (bool, error) {
	s.mu.Lock()
	u := s.st.Users[strings.ToLower(r.PathValue("owner"))]
	s.mu.Unlock()
	if u == nil {
		return false, nil
	}
	f.Title = u.Login
	var own homeView
	for _, name := range s.Repositories() {
		if owner, _, _ := strings.Cut(name, "/"); owner == u.Login {
			own.Repositories = append(own.Repositories, name)
		}
	}
	f.Own = own
	return true, nil
}

func (s *Server) appPage(r *http.Request, f *frame) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.PathValue("app") != s.st.App.Slug {
		return false, nil
	}
	f.Title, f.Own = s.st.App.Slug, struct {
		ID          int64
		HookURL     string
		Permissions map[string]string
	}{s.st.App.ID, s.st.App.Hook.URL, maps.Clone(s.st.App.Permissions)}
	return true, nil
}

// listView is a repository's issues or pull requests, newest first.
type listView struct {
	Kind   string // issues or pull
	Issues []Issue
	Labels map[string]*Label
	New    []action
}

func (s *Server) issuesPage(repo *repository, _ *http.Request, f *frame) (bool, error) {
	add, err := f.offers(action{
		Name: "Open an issue", Kind: "primary", Method: http.MethodPost, Path: "/repos/" + repo.fullName() + "/issues",
		Fields: []field{{Name: "title", Title: "Title"}, {Name: "body", Title: "What should be done?", Long: true}},
	})
	f.Tab, f.Own = "issues", s.list(repo, "issues", add)
	return true, err
}

func (s *Server) pullsPage(repo *repository, _ *http.Request, f *frame) (bool, error) {
	f.Tab, f.Own = "pulls", s.list(repo, "pull", nil)
	return true, nil
}

func (s *Server) list(repo *repository, kind string, add []action) listView {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := listView{Kind: kind, Labels: labelsOf(repo), New: add}
	for _, is := range slices.Backward(repo.Issues) {
		if (is.Pull != nil) == (kind == "pull") {
			v.Issues = append(v.Issues, clone(is))
		}
	}
	return v
}

// labelsOf are copies of a repository's labels by name. The mutex must be held.
func labelsOf(repo *repository) map[string]*Label {
	all := map[string]*Label{}
	for _, l := range repo.Labels {
		label := *l
		all[l.Name] = &label
	}
	return all
}

// branchView is one branch; Delete is empty for the default branch.
type branchView struct {
	Name, SHA string
	Delete    []action
}

func (s *Server) branchesPage(repo *repository, _ *http.Request, f *frame) (bool, error) {
	heads, err := s.git(repo).heads()
	if err != nil {
		return false, err
	}
	var own []branchView
	for _, name := range slices.Sorted(maps.Keys(heads)) {
		b := branchView{Name: name, SHA: heads[name]}
		if name != repo.DefaultBranch {
			b.Delete, err = f.offers(action{
				Name: "Delete", Kind: "danger", Method: http.MethodDelete, Path: "/repos/" + repo.fullName() + "/git/refs/heads/" + pathOf(name),
			})
			if err != nil {
				return false, err
			}
		}
		own = append(own, b)
	}
	f.Tab, f.Own = "branches", own
	return true, nil
}

// pathOf escapes the parts of a path and keeps its slashes.
func pathOf(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// filesView is a folder or a file at a commit.
type filesView struct {
	Ref, At string
	Commit  commitLine
	Parents []place // the way from the root
	Entries []fileEntry
	File    *fileText
	Readme  string
}

type place struct{ Name, Link string }

type fileEntry struct {
	Name, Kind, Link string
	Size             int
}

// fileText is a file's text; Note stands in its place where there is none to show.
type fileText struct {
	Text, Note string
	Markdown   bool
}

func (s *Server) rootPage(repo *repository, _ *http.Request, f *frame) (bool, error) {
	return s.files(repo, f, repo.DefaultBranch, "")
}

func (s *Server) filesPage(repo *repository, r *http.Request, f *frame) (bool, error) {
	heads, err := s.git(repo).heads()
	if err != nil {
		return false, err
	}
	ref, at, _ := strings.Cut(r.PathValue("ref"), "/")
	for name := range heads { // a branch's name may have slashes
		if rest, ok := strings.CutPrefix(r.PathValue("ref")+"/", name+"/"); ok && len(name) > len(ref) {
			ref, at = name, rest
		}
	}
	return s.files(repo, f, ref, strings.Trim(at, "/"))
}

func (s *Server) files(repo *repository, f *frame, ref, at string) (bool, error) {
	g := s.git(repo)
	f.Tab = "files"
	sha, ok := g.known(ref)
	if !ok {
		f.Own = filesView{Ref: ref}
		return ref == repo.DefaultBranch && at == "", nil // a repository may be empty
	}
	commits, err := g.history(sha, 1)
	if err != nil || len(commits) == 0 {
		return false, err
	}
	v := filesView{Ref: ref, At: at, Commit: commits[0]}
	link := func(kind, to string) string {
		return "/" + repo.fullName() + "/" + kind + "/" + pathOf(ref) + "/" + pathOf(to)
	}
	for i, name := range strings.Split(at, "/") {
		v.Parents = append(v.Parents, place{name, link("tree", strings.Join(strings.Split(at, "/")[:i+1], "/"))})
	}
	entries, err := g.tree(sha, at)
	if err != nil {
		return false, err
	}
	if at != "" && len(entries) == 1 && entries[0].kind == "tree" {
		entries, err = g.tree(sha, at+"/")
	} else if at != "" && len(entries) == 1 {
		v.File, err = g.text(entries[0])
		entries = nil
	} else if at != "" {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		kind := map[string]string{"tree": "tree"}[e.kind]
		if kind == "" {
			kind = "blob"
		}
		name := strings.TrimPrefix(e.path, at+"/")
		v.Entries = append(v.Entries, fileEntry{name, e.kind, link(kind, e.path), e.size})
		if strings.EqualFold(name, "README.md") {
			if t, err := g.text(e); err == nil {
				v.Readme = t.Text
			}
		}
	}
	f.Own = v
	return true, nil
}

// maxShown is how much of a file a page shows.
const maxShown = 256 << 10

func (g gitRepo) text(e treeEntry) (*fileText, error) {
	switch {
	case e.kind == "commit":
		return &fileText{Note: "A submodule at " + e.sha + "."}, nil
	case e.size > maxShown:
		return &fileText{Note: "Too large to show: " + strconv.Itoa(e.size) + " bytes."}, nil
	}
	text, err := g.run("cat-file", "blob", e.sha)
	if err != nil {
		return nil, err
	}
	if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
		return &fileText{Note: "A binary file of " + strconv.Itoa(e.size) + " bytes."}, nil
	}
	return &fileText{Text: text, Markdown: strings.HasSuffix(strings.ToLower(e.path), ".md")}, nil
}

// known is the commit that a name stands for, if there is one.
func (g gitRepo) known(name string) (sha string, ok bool) {
	sha, err := g.commit(name)
	return sha, err == nil
}

// commitsPage lists a branch's latest commits.
func (s *Server) commitsPage(repo *repository, r *http.Request, f *frame) (bool, error) {
	g := s.git(repo)
	sha, ok := g.known(r.PathValue("ref"))
	if !ok {
		return false, nil
	}
	commits, err := g.history(sha, 100)
	f.Tab, f.Own = "branches", struct {
		Ref     string
		Commits []commitLine
	}{r.PathValue("ref"), commits}
	return true, err
}

func (s *Server) commitPage(repo *repository, r *http.Request, f *frame) (bool, error) {
	g := s.git(repo)
	sha, ok := g.known(r.PathValue("ref"))
	if !ok {
		return false, nil
	}
	commits, err := g.history(sha, 1)
	if err != nil || len(commits) == 0 {
		return false, err
	}
	text, err := g.run("show", "--format=", "--no-color", "-M", "-m", "--first-parent", sha)
	f.Tab, f.Own = "branches", struct {
		Commit commitLine
		Files  []fileDiff
	}{commits[0], readDiff(text)}
	return true, err
}

// diffText is a pull request's diff as text.
func (s *Server) diffText(w http.ResponseWriter, r *http.Request, number string) {
	n, _ := strconv.Atoi(number) // 0 is no pull request
	repo, is, _, err := s.onPull(r.PathValue("owner")+"/"+r.PathValue("repo"), n, "", onPullsRead)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	p := *is.Pull
	s.mu.Unlock()
	text, err := s.git(repo).run("diff", "--no-color", "-M", p.BaseSHA+"..."+p.HeadSHA)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text)) // the browser may have gone
}
