package fakegithub

import (
	"strconv"
	"strings"
	"time"
)

// fileDiff is one file of a diff.
type fileDiff struct {
	Name  string // "old → new" for a renamed file
	Note  string // in place of lines: binary, or only its mode changed
	Lines []diffLine
	Added int
	Gone  int
}

// diffLine is a line of a diff. Kind is add, del, hunk or "". A number is 0 where the line is not in that version.
type diffLine struct {
	Kind, Text string
	Old, New   int
}

// readDiff reads what git diff prints.
func readDiff(text string) []fileDiff {
	var files []fileDiff
	var f *fileDiff
	var head bool
	var left, right int
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "diff --git "):
			files = append(files, fileDiff{Name: nameIn(line)})
			f, head = &files[len(files)-1], true
		case f == nil:
		case strings.HasPrefix(line, "@@ "):
			head = false
			left, right = hunkStart(line)
			f.Lines = append(f.Lines, diffLine{Kind: "hunk", Text: line})
		case head:
			f.header(line)
		case strings.HasPrefix(line, "+"):
			f.Lines = append(f.Lines, diffLine{"add", line[1:], 0, right})
			f.Added++
			right++
		case strings.HasPrefix(line, "-"):
			f.Lines = append(f.Lines, diffLine{"del", line[1:], left, 0})
			f.Gone++
			left++
		case strings.HasPrefix(line, " "):
			f.Lines = append(f.Lines, diffLine{"", line[1:], left, right})
			left, right = left+1, right+1
		default: // "\ No newline at end of file"
			f.Lines = append(f.Lines, diffLine{Kind: "hunk", Text: strings.TrimPrefix(line, `\ `)})
		}
	}
	return files
}

// header reads a line between "diff --git" and the first hunk.
func (f *fileDiff) header(line string) {
	if from, ok := strings.CutPrefix(line, "rename from "); ok {
		f.Name = from
	}
	if to, ok := strings.CutPrefix(line, "rename to "); ok {
		f.Name += " → " + to
	}
	if strings.HasPrefix(line, "Binary files ") {
		f.Note = "A binary file."
	}
	if strings.HasPrefix(line, "new mode ") {
		f.Note = "Its mode changed."
	}
}

// nameIn is the new name in "diff --git a/x b/x"; where both are the same there is no doubt about its spaces.
func nameIn(line string) string {
	names := strings.TrimPrefix(line, "diff --git ")
	if half := len(names) / 2; len(names)%2 == 1 && strings.TrimPrefix(names[:half], "a/") == strings.TrimPrefix(names[half+1:], "b/") {
		return strings.TrimPrefix(names[:half], "a/")
	}
	_, name, _ := cutLast(names, " b/")
	if quoted, err := strconv.Unquote(strings.TrimSpace(name)); err == nil {
		return quoted
	}
	return name
}

// commitLine is a commit as pages show it.
type commitLine struct {
	SHA, Message, Who string
	At                time.Time
}

// history lists the latest commits from sha on, newest first.
func (g gitRepo) history(sha string, n int) ([]commitLine, error) {
	out, err := g.run("log", "--max-count="+strconv.Itoa(n), "--format=%x01%H%x02%an%x02%ct%x02%B", sha, "--")
	if err != nil {
		return nil, err
	}
	var commits []commitLine
	for block := range strings.SplitSeq(out, "\x01") {
		f := strings.Split(block, "\x02")
		if len(f) != 4 {
			continue
		}
		seconds, _ := strconv.ParseInt(f[2], 10, 64) // git writes digits
		commits = append(commits, commitLine{f[0], strings.TrimSpace(f[3]), f[1], time.Unix(seconds, 0).UTC()})
	}
	return commits, nil
}
