package fakegithub

import (
	"strconv"
	"strings"
	"time"
)

// fileChange is one file of a pull request.
type fileChange struct {
	path, previous, status, sha, patch string
	additions, deletions               int
}

// diffStats are the figures of a pull request.
type diffStats struct{ commits, additions, deletions, files int }

// mergeBase answers the commit that a pull request is compared with: where head left base.
func (g gitRepo) mergeBase(base, head string) (string, error) {
	out, err := g.run("merge-base", base, head)
	return strings.TrimSpace(out), err
}

// ahead counts the commits of head that base lacks.
func (g gitRepo) ahead(base, head string) (int, error) {
	out, err := g.run("rev-list", "--count", base+".."+head)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(out))
}

func (g gitRepo) stats(base, head string) (diffStats, error) {
	n, err := g.ahead(base, head)
	if err != nil {
		return diffStats{}, err
	}
	files, err := g.files(base, head, false)
	if err != nil {
		return diffStats{}, err
	}
	st := diffStats{commits: n, files: len(files)}
	for _, f := range files {
		st.additions += f.additions
		st.deletions += f.deletions
	}
	return st, nil
}

// files lists what head changes since it left base, with patches if asked for.
func (g gitRepo) files(base, head string, patches bool) ([]fileChange, error) {
	from, err := g.mergeBase(base, head)
	if err != nil {
		return nil, err
	}
	raw, err := g.run("diff", "--raw", "-z", "-M", "--abbrev=40", from, head)
	if err != nil {
		return nil, err
	}
	numbers, err := g.run("diff", "--numstat", "-z", "-M", from, head)
	if err != nil {
		return nil, err
	}
	files := parseRaw(raw)
	parseNumbers(numbers, files)
	if !patches {
		return files, nil
	}
	text, err := g.run("diff", "--no-color", "-M", from, head)
	if err != nil {
		return nil, err
	}
	splitPatches(text, files)
	return files, nil
}

var statuses = map[byte]string{'A': "added", 'M': "modified", 'D': "removed", 'R': "renamed", 'C': "copied", 'T': "changed"}

// parseRaw reads git diff --raw -z: ":modes shas status NUL path NUL", with two paths for renames.
func parseRaw(raw string) []fileChange {
	var files []fileChange
	parts := strings.Split(strings.TrimSuffix(raw, "\x00"), "\x00")
	for i := 0; i+1 < len(parts); i++ {
		meta := strings.Fields(parts[i])
		if len(meta) != 5 {
			return files
		}
		f := fileChange{status: statuses[meta[4][0]], sha: meta[3]}
		if f.status == "removed" {
			f.sha = meta[2]
		}
		i++
		f.path = parts[i]
		if f.status == "renamed" || f.status == "copied" {
			f.previous = f.path
			i++
			f.path = parts[i]
		}
		files = append(files, f)
	}
	return files
}

// parseNumbers reads git diff --numstat -z, which lists the same files in the same order.
func parseNumbers(text string, files []fileChange) {
	parts := strings.Split(text, "\x00")
	for i, n := 0, 0; i < len(parts) && n < len(files); i, n = i+1, n+1 {
		fields := strings.SplitN(parts[i], "\t", 3)
		if len(fields) != 3 {
			return
		}
		files[n].additions, _ = strconv.Atoi(fields[0]) // "-" for binary files
		files[n].deletions, _ = strconv.Atoi(fields[1])
		if fields[2] == "" {
			i += 2 // a rename's two paths follow
		}
	}
}

// splitPatches gives each file its part of the diff from its first hunk on, as GitHub's patch field has it.
func splitPatches(text string, files []fileChange) {
	n, hunks := -1, false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "diff --git ") {
			if n >= 0 && n < len(files) {
				files[n].patch = strings.TrimSuffix(files[n].patch, "\n")
			}
			n, hunks = n+1, false
			continue
		}
		hunks = hunks || strings.HasPrefix(line, "@@ ")
		if hunks && n >= 0 && n < len(files) {
			files[n].patch += line
		}
	}
	if n >= 0 && n < len(files) {
		files[n].patch = strings.TrimSuffix(files[n].patch, "\n")
	}
}

// spot is a line of a patch: its position, and its line in the old and new file (0 = not in it).
type spot struct{ position, left, right int }

// hunkAt finds the first line of a patch that is wanted, and cuts its hunk out down to there, as GitHub's diff_hunk
// has it. False if the patch does not show such a line.
func hunkAt(patch string, wanted func(spot) bool) (string, spot, bool) {
	var hunk []string
	var left, right int // of the line to come
	for position, text := range strings.Split(patch, "\n") {
		if strings.HasPrefix(text, "@@ ") {
			hunk = []string{text}
			left, right = hunkStart(text)
			continue
		}
		hunk = append(hunk, text)
		at := spot{position: position}
		if !strings.HasPrefix(text, "+") {
			at.left = left
			left++
		}
		if !strings.HasPrefix(text, "-") {
			at.right = right
			right++
		}
		if wanted(at) {
			return strings.Join(hunk, "\n"), at, true
		}
	}
	return "", spot{}, false
}

// hunkStart reads the two first lines of "@@ -1,7 +1,6 @@".
func hunkStart(header string) (left, right int) {
	fields := strings.Fields(header)
	if len(fields) < 3 {
		return 0, 0
	}
	number := func(text string) int {
		first, _, _ := strings.Cut(text[1:], ",")
		n, _ := strconv.Atoi(first) // git writes digits
		return n
	}
	return number(fields[1]), number(fields[2])
}

// gitCommit is one commit as pushes and lists of commits show it.
type gitCommit struct {
	sha, tree, message, name, email  string
	at                               time.Time
	parents, added, removed, changed []string
}

// log lists the commits of new that neither old nor (for a new branch) the default branch has, oldest first, at most 20
// as in a push payload of GitHub's events API.
func (g gitRepo) log(exclude, sha string) ([]gitCommit, error) {
	args := []string{"log", "--max-count=20", "--reverse", "--name-status", "--no-renames", "--format=%x01%H%x02%T%x02%P%x02%an%x02%ae%x02%ct%x02%B%x02", sha}
	if exclude != "" {
		args = append(args, "^"+exclude)
	}
	out, err := g.run(args...)
	if err != nil {
		return nil, err
	}
	var commits []gitCommit
	for block := range strings.SplitSeq(out, "\x01") {
		f := strings.Split(block, "\x02")
		if len(f) != 8 {
			continue
		}
		seconds, _ := strconv.ParseInt(f[5], 10, 64)
		c := gitCommit{sha: f[0], tree: f[1], parents: strings.Fields(f[2]), name: f[3], email: f[4], at: time.Unix(seconds, 0).UTC(), message: strings.TrimSpace(f[6])}
		for line := range strings.Lines(f[7]) {
			status, path, ok := strings.Cut(strings.TrimSpace(line), "\t")
			if !ok {
				continue
			}
			switch status[0] {
			case 'A':
				c.added = append(c.added, path)
			case 'D':
				c.removed = append(c.removed, path)
			default:
				c.changed = append(c.changed, path)
			}
		}
		commits = append(commits, c)
	}
	return commits, nil
}
