package fakegithub

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// maxContent is up to where a file's content comes with the object; of a larger one only the raw media type gives it.
// https://docs.github.com/en/rest/repos/contents#get-repository-content
const maxContent = 1 << 20

// maxListed is how many entries of a folder are listed.
const maxListed = 1000

// base64Line is how long GitHub's lines of base64 are.
const base64Line = 60

// symlink is the mode of a symbolic link in a tree.
const symlink = "120000"

func (s *Server) getReadme(c *call) (int, any, error) {
	c.r.SetPathValue("path", "README.md")
	return s.getContents(c)
}

// getContents answers a file with its content, the list of a directory, or what a symbolic link or submodule is.
func (s *Server) getContents(c *call) (int, any, error) {
	at, ref := strings.Trim(c.r.PathValue("path"), "/"), c.r.URL.Query().Get("ref")
	if ref == "" {
		ref = c.repo.DefaultBranch
	}
	g := s.git(c.repo)
	sha, err := g.commit(ref)
	if err != nil {
		if heads, err := g.heads(); err == nil && len(heads) == 0 {
			return 0, nil, refuse(http.StatusNotFound, "This repository is empty.")
		}
		return 0, nil, refuse(http.StatusNotFound, "No commit found for the ref "+ref)
	}
	entries, err := g.tree(sha, at)
	if err != nil {
		return 0, nil, err
	}
	if len(entries) == 1 && entries[0].path == at {
		switch e := entries[0]; {
		case e.mode == symlink:
			return s.linkContent(c, g, sha, ref, e)
		case e.kind == "blob":
			return s.fileContent(c, g, ref, e)
		case e.kind == "commit":
			return http.StatusOK, s.contentObject(c.repo, e, ref), nil
		}
		if entries, err = g.tree(sha, at+"/"); err != nil {
			return 0, nil, err
		}
	}
	if len(entries) == 0 {
		return 0, nil, errNotFound
	}
	out := []object{}
	for _, e := range entries[:min(len(entries), maxListed)] {
		o := s.contentObject(c.repo, e, ref)
		if e.kind == "commit" {
			o["type"] = "file" // a list calls submodules that, for programs that know nothing else
		}
		out = append(out, o)
	}
	return http.StatusOK, out, nil
}

func (s *Server) fileContent(c *call, g gitRepo, ref string, e treeEntry) (int, any, error) {
	content, err := g.run("cat-file", "blob", e.sha)
	if err != nil {
		return 0, nil, err
	}
	if strings.Contains(c.r.Header.Get("Accept"), "raw") {
		return http.StatusOK, plain{"application/vnd.github.raw; charset=utf-8", content}, nil
	}
	o := s.contentObject(c.repo, e, ref)
	if len(content) > maxContent {
		o["encoding"], o["content"] = "none", ""
		return http.StatusOK, o, nil
	}
	o["encoding"], o["content"] = "base64", inLines(base64.StdEncoding.EncodeToString([]byte(content)))
	return http.StatusOK, o, nil
}

// linkContent answers a link to a file of the repository with that file, any other one with its target.
func (s *Server) linkContent(c *call, g gitRepo, sha, ref string, e treeEntry) (int, any, error) {
	target, err := g.run("cat-file", "blob", e.sha)
	if err != nil {
		return 0, nil, err
	}
	if to := path.Join(path.Dir(e.path), target); !path.IsAbs(target) && !strings.HasPrefix(to, "..") {
		entries, err := g.tree(sha, to)
		if err == nil && len(entries) == 1 && entries[0].kind == "blob" && entries[0].mode != symlink {
			return s.fileContent(c, g, ref, entries[0])
		}
	}
	o := s.contentObject(c.repo, e, ref)
	o["target"] = target
	return http.StatusOK, o, nil
}

// inLines breaks base64 as GitHub does, with a line feed at the end.
func inLines(text string) string {
	var b strings.Builder
	for len(text) > base64Line {
		b.WriteString(text[:base64Line] + "\n")
		text = text[base64Line:]
	}
	if text != "" {
		b.WriteString(text + "\n")
	}
	return b.String()
}

func (s *Server) contentObject(r *repository, e treeEntry, ref string) object {
	kind := map[string]string{"blob": "file", "tree": "dir", "commit": "submodule"}[e.kind]
	if e.mode == symlink {
		kind = "symlink"
	}
	at := s.api("/repos/%s/contents/%s?ref=%s", r.fullName(), e.path, url.QueryEscape(ref))
	return object{
		"type": kind, "name": path.Base(e.path), "path": e.path, "sha": e.sha, "size": e.size, "url": at,
		"html_url": s.web("/%s/blob/%s/%s", r.fullName(), ref, e.path), "git_url": s.api("/repos/%s/git/blobs/%s", r.fullName(), e.sha),
		"download_url": nil, "_links": object{"self": at},
	}
}
