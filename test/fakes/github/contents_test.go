package fakegithub

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v66/github"
)

func TestContents(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	gh := client(t, s, "acme-token")
	long := strings.Repeat("twelve bytes", 10)
	input := "commit refs/heads/more\ncommitter A <a@example.com> 1 +0000\ndata 1\n.\nfrom refs/heads/main^0\n"
	for _, f := range [][3]string{
		{"100644", "long.txt", long}, {"100644", "big.txt", strings.Repeat("x", maxContent+1)}, {"120000", "src/link", "../long.txt"}, {"120000", "away", "/etc/passwd"},
	} {
		input += "M " + f[0] + " inline " + f[1] + "\ndata " + strconv.Itoa(len(f[2])) + "\n" + f[2] + "\n"
	}
	if _, err := s.git(s.find(repo)).feed(input, nil, "fast-import", "--quiet"); err != nil {
		t.Fatal(err)
	}
	type answer struct{ Type, Path, Encoding, Text, Target string }
	for at, want := range map[string]answer{
		"main src/cart.go": {Type: "file", Path: "src/cart.go", Encoding: "base64", Text: "package src\n\nvar total = 1\n"},
		"more long.txt":    {Type: "file", Path: "long.txt", Encoding: "base64", Text: long},
		"more src/link":    {Type: "file", Path: "long.txt", Encoding: "base64", Text: long},
		"more away":        {Type: "symlink", Path: "away", Target: "/etc/passwd"},
		"more big.txt":     {Type: "file", Path: "big.txt", Encoding: "none"},
	} {
		ref, path, _ := strings.Cut(at, " ")
		file, _, _, err := gh.Repositories.GetContents(ctx, "acme", "shop", path, &github.RepositoryContentGetOptions{Ref: ref})
		if err != nil {
			t.Errorf("%s: %v", at, err)
			continue
		}
		got := answer{Type: file.GetType(), Path: file.GetPath(), Encoding: file.GetEncoding(), Target: file.GetTarget()}
		got.Text, _ = file.GetContent() // go-github refuses the encoding "none"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", at, diff)
		}
		if at == "more long.txt" && strings.IndexByte(*file.Content, '\n') != base64Line {
			t.Errorf("the base64 is not in lines: %q", *file.Content)
		}
	}
	_, dir, _, err := gh.Repositories.GetContents(ctx, "acme", "shop", "src", nil)
	if err != nil || len(dir) != 1 || dir[0].GetPath() != "src/cart.go" || dir[0].GetType() != "file" {
		t.Errorf("directory %v, %v", dir, err)
	}
	_, root, _, err := gh.Repositories.GetContents(ctx, "acme", "shop", "", nil)
	if err != nil || len(root) == 0 {
		t.Errorf("root %v, %v", root, err)
	}
	var many strings.Builder
	fmt.Fprintf(&many, "commit refs/heads/many\ncommitter A <a@example.com> 1 +0000\ndata 1\n.\nfrom refs/heads/main^0\n")
	fmt.Fprintf(&many, "M 160000 %s all/0module\n", strings.Repeat("1", 40))
	for n := range maxListed {
		fmt.Fprintf(&many, "M 100644 inline all/f%04d\ndata 1\nx\n", n)
	}
	if _, err := s.git(s.find(repo)).feed(many.String(), nil, "fast-import", "--quiet"); err != nil {
		t.Fatal(err)
	}
	_, dir, _, err = gh.Repositories.GetContents(ctx, "acme", "shop", "all", &github.RepositoryContentGetOptions{Ref: "many"})
	if err != nil || len(dir) != maxListed || dir[0].GetType() != "file" || dir[0].GetPath() != "all/0module" {
		t.Errorf("%d entries, %v", len(dir), err)
	}
	_, _, _, err = gh.Repositories.GetContents(ctx, "acme", "shop", "none.txt", nil)
	refused(t, err, http.StatusNotFound, "Not Found")
	_, _, _, err = gh.Repositories.GetContents(ctx, "acme", "shop", "long.txt", &github.RepositoryContentGetOptions{Ref: "gone"})
	refused(t, err, http.StatusNotFound, "No commit found for the ref gone")
	if err := s.CreateRepository("acme/empty", nil); err != nil {
		t.Fatal(err)
	}
	_, _, _, err = gh.Repositories.GetContents(ctx, "acme", "empty", "x", nil)
	refused(t, err, http.StatusNotFound, "This repository is empty.")
}
