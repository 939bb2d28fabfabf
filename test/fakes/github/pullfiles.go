package fakegithub

import (
	"fmt"
	"net/http"
	"net/url"
)

func (s *Server) listFiles(c *call) (int, any, error) {
	r, _, p, err := s.lockedPull(c)
	if err != nil {
		return 0, nil, err
	}
	files, err := s.git(r).files(p.BaseSHA, p.HeadSHA, true)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, paged(s, c, files, func(f fileChange) object { return s.fileObject(r, p.HeadSHA, f) }), nil
}

func (s *Server) fileObject(r *repository, head string, f fileChange) object {
	path := (&url.URL{Path: f.path}).EscapedPath()
	o := object{
		"sha": f.sha, "filename": f.path, "status": f.status, "additions": f.additions, "deletions": f.deletions,
		"changes": f.additions + f.deletions, "blob_url": s.web("/%s/blob/%s/%s", r.fullName(), head, path),
		"raw_url":      s.web("/%s/raw/%s/%s", r.fullName(), head, path),
		"contents_url": s.api("/repos/%s/contents/%s?ref=%s", r.fullName(), path, head),
	}
	if f.patch != "" {
		o["patch"] = f.patch
	}
	if f.previous != "" {
		o["previous_filename"] = f.previous
	}
	return o
}

func (s *Server) listCommits(c *call) (int, any, error) {
	r, _, p, err := s.lockedPull(c)
	if err != nil {
		return 0, nil, err
	}
	commits, err := s.git(r).log(p.BaseSHA, p.HeadSHA)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, paged(s, c, commits, func(k gitCommit) object { return s.commitObject(r, k) }), nil
}

func (s *Server) commitObject(r *repository, k gitCommit) object {
	person := object{"name": k.name, "email": k.email, "date": k.at}
	parents := []object{}
	for _, sha := range k.parents {
		parents = append(parents, object{"sha": sha, "url": s.api("/repos/%s/commits/%s", r.fullName(), sha)})
	}
	at := s.api("/repos/%s/commits/%s", r.fullName(), k.sha)
	return object{
		"sha": k.sha, "node_id": "C_" + k.sha[:20], "url": at, "html_url": s.web("/%s/commit/%s", r.fullName(), k.sha),
		"comments_url": at + "/comments", "author": nil, "committer": nil, "parents": parents,
		"commit": object{
			"author": person, "committer": person, "message": k.message, "comment_count": 0,
			"tree": object{"sha": k.tree, "url": s.api("/repos/%s/git/trees/%s", r.fullName(), k.tree)},
			"url":  s.api("/repos/%s/git/commits/%s", r.fullName(), k.sha),
		},
	}
}

func pullRef(n int) string { return fmt.Sprintf("refs/pull/%d/head", n) }
