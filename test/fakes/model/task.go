package model

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// A Task is what the user's messages ask for. The prompts of shared/prompt carry issue and review between fences
// ("<<<DATA issue <nonce>" … "DATA issue <nonce>>>>"); any other text is a task too, its first line being the title.
type Task struct {
	Prompt  string   // the last user message
	Number  int      // of the issue; 0 when the prompt names none
	Title   string   // of the issue, one line
	Body    string   // of the issue
	Review  string   // what the reviewer wrote, when the present task is a revision
	Reviews []string // all reviews in the conversation, oldest first
	Talk    string   // what was said in a discussion, when the present task is a turn of one or comes after it
	Answers []string // what people answered to the agent's questions, oldest first
	Decided int      // how many of the agent's requests people have decided about
	Scope   []string // globs that may be written; empty means everything
	Files   []Wanted // that the prompt asks for by name
}

// Wanted is a file that the prompt asks for, and the headings that it wants in it.
type Wanted struct {
	Path, Title string
	Headings    []string
}

var (
	issueNumber = regexp.MustCompile(`issue #(\d+)`)
	wantedFile  = regexp.MustCompile("(?m)^`([^`\n]+\\.md)`: (.+)\n((?:\\S.*\n)*)")
	boldPoint   = regexp.MustCompile(`\*\*([^*\n]+)\*\*`)
	scopeLine   = regexp.MustCompile("may change only paths that match one of:((?: `[^`]+`)+)")
	backticked  = regexp.MustCompile("`([^`]+)`")
	// Codex sends some of its own context in the user's role, as one element or under a fixed heading.
	contextElement = regexp.MustCompile(`^\s*<[a-z_]+>`)
)

// isContext says whether a message in the user's role was written by the Codex CLI and not by its user.
func isContext(text string) bool {
	return contextElement.MatchString(text) || strings.HasPrefix(text, "# AGENTS.md instructions")
}

// readTask works out the task from the user's messages, oldest first. A message without fences after one with them
// ("the container was lost, continue") leaves the task as it is.
func readTask(users []string) Task {
	var t Task
	var told []string
	for _, text := range users {
		t.Prompt = text
		for _, decision := range decisionsIn(text) {
			if !slices.Contains(told, decision) {
				told = append(told, decision)
				t.decided(decision)
			}
		}
		issue, ok := fenced(text, "issue")
		if !ok {
			continue
		}
		t.Review, _ = reviewOf(text)
		t.Talk, _ = fenced(text, "talk")
		if t.Review != "" {
			t.Reviews = append(t.Reviews, t.Review)
		}
		title, body, _ := strings.Cut(issue, "\n")
		t.Title = strings.TrimSpace(strings.TrimPrefix(title, "Title:"))
		if first, rest, _ := strings.Cut(body, "\n"); strings.HasPrefix(first, "Labels: ") {
			body = rest
		}
		t.Body = strings.TrimSpace(body)
		t.Number, t.Scope, t.Files = 0, nil, wantedIn(text)
		if m := issueNumber.FindStringSubmatch(text); m != nil {
			t.Number, _ = strconv.Atoi(m[1])
		}
		if m := scopeLine.FindStringSubmatch(text); m != nil {
			for _, glob := range backticked.FindAllStringSubmatch(m[1], -1) {
				t.Scope = append(t.Scope, glob[1])
			}
		}
	}
	if t.Title == "" {
		first, rest, _ := strings.Cut(strings.TrimSpace(t.Prompt), "\n")
		t.Title, t.Body = strings.TrimSpace(first), strings.TrimSpace(rest)
	}
	return t
}

// wantedIn are the files that the prompt wants, each with its outline below.
func wantedIn(text string) (all []Wanted) {
	for _, m := range wantedFile.FindAllStringSubmatch(text, -1) {
		w := Wanted{Path: m[1], Title: m[2]}
		for _, point := range boldPoint.FindAllStringSubmatch(m[3], -1) {
			w.Headings = append(w.Headings, strings.Trim(point[1], " .:"))
		}
		all = append(all, w)
	}
	return all
}

// Discusses reports whether the task is to answer people and no more.
func (t Task) Discusses() bool { return strings.Contains(t.Prompt, ", discuss issue #") }

// SentBack reports whether the last message sends the work back.
func (t Task) SentBack() bool {
	return strings.Contains(t.Prompt, "The platform has looked at what you deliver")
}

// Again reports whether the last message says to go on with a task that was told before.
func (t Task) Again() bool { return !strings.Contains(t.Prompt, "<<<DATA issue ") }

// reviewOf returns the review's text without the line that names its author.
func reviewOf(text string) (string, bool) {
	review, ok := fenced(text, "review")
	if !ok {
		return "", false
	}
	if first, rest, more := strings.Cut(review, "\n"); more && strings.HasPrefix(first, "Review by ") {
		review = rest
	}
	return strings.TrimSpace(review), true
}

// decided notes how a request ended. What people answered is part of the work; their yes or no is not.
func (t *Task) decided(decision string) {
	t.Decided++
	if _, answer, said := strings.Cut(decision, "\nAnswer: "); said && strings.Contains(decision, "\nOutcome: answered") {
		t.Answers = append(t.Answers, answer)
	}
}

// decisionsIn returns what stands in the fences of decisions.
func decisionsIn(text string) (all []string) {
	for {
		decision, ok := fenced(text, "decision")
		if !ok {
			return all
		}
		all = append(all, decision)
		_, text, _ = strings.Cut(text, "<<<DATA decision ")
	}
}

// fenced returns the text between the fences with the label.
func fenced(text, label string) (string, bool) {
	_, rest, ok := strings.Cut(text, "<<<DATA "+label+" ")
	if !ok {
		return "", false
	}
	nonce, rest, ok := strings.Cut(rest, "\n")
	if !ok {
		return "", false
	}
	inside, _, ok := strings.Cut(rest, "DATA "+label+" "+nonce+">>>")
	return strings.TrimSpace(inside), ok
}

// Path returns a path for a new file with the name, inside the first folder that the write scope opens as a whole.
func (t Task) Path(name string) string {
	for _, glob := range t.Scope {
		folder, rest, _ := strings.Cut(glob, "*")
		if strings.Trim(rest, "*/") == "" && (folder == "" || strings.HasSuffix(folder, "/")) {
			return path.Join(folder, name)
		}
	}
	return name
}

// Slug is the title as a file name: lower-case letters and digits, joined by hyphens, at most 48 bytes.
func (t Task) Slug() string {
	var b strings.Builder
	for _, r := range strings.ToLower(t.Title) {
		switch {
		case r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 48 {
			break
		}
	}
	slug := strings.Trim(b.String(), "-")
	if slug == "" {
		return "task-" + strconv.Itoa(t.Number)
	}
	return slug
}
