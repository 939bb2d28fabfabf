package model

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// issueScript is what the model does when no other script matches: it looks round, writes one file that is named after
// the issue, runs the repository's tests, and says so. On a revision it writes the file again so that every review is
// answered in it.
//
// An issue with a line like "Ask first: Which words? Bonjour | Salut" has it ask that, where it is offered the tool,
// and go by the answer. Each line like `Use first: secret_sync {"name":"session-key"}` has it call that tool, one
// after the other, each when people have decided about the one before. Each line like `Use: labels_list {}` has it call
// that tool before it writes, one after the other, without anybody's word in between.
//
// A line like "Write at length: 48" has its page be that many KiB long.
//
// A prompt that names files gets each of them, with its headings. A line of the issue like "Leave out: nfr.md" has it
// leave that one out until the work comes back to it, "Leave out for good: nfr.md" for ever.
//
// Of work that comes back, its page says what was wrong with it.
//
// Where people want to learn, it explains the first line of its file.
//
// In a discussion it repeats what people wrote; words that somebody put in quotes there become a further greeting.
//
// An issue like "Add a greeting in French" gets a greeting, greetings/french.txt; every other one gets a page of
// Markdown that repeats what was asked.
var issueScript = Script{Name: "issue", Plan: planIssue}

// testCommand runs the tests of the kinds of repository that a demonstration may have.
const testCommand = `if [ -f Makefile ] && grep -q '^test:' Makefile; then make test
elif [ -f test.sh ]; then sh test.sh
elif [ -f go.mod ] && command -v go >/dev/null; then go test ./...
elif [ -f package.json ] && command -v npm >/dev/null; then npm test --silent
else echo 'no tests in this repository'; fi`

func planIssue(t Task) ([]Step, string) {
	if m := askFirst.FindStringSubmatch(t.Body); m != nil && len(t.Answers) == 0 {
		question := map[string]any{"question": m[1]}
		if options := strings.Split(m[2], "|"); len(options) > 1 {
			for i := range options {
				options[i] = strings.TrimSpace(options[i])
			}
			question["options"] = options
		}
		return []Step{{List: "."}, {Call: &Call{Tool: "ask", Arguments: question}}}, "Asked."
	}
	if first := calls(useFirst, t.Body); t.Decided < len(first) {
		return []Step{{List: "."}, first[t.Decided]}, "Asked."
	}
	if t.Discusses() {
		return []Step{{List: "."}}, answer(t)
	}
	if len(t.Files) > 0 {
		return planFiles(t)
	}
	file := planFile(t)
	steps := append([]Step{{List: "."}}, calls(use, t.Body)...)
	if t.Review != "" {
		steps = append(steps, Step{Read: file.Path})
	}
	steps = append(steps, Step{Write: &file}, Step{Run: testCommand})
	return steps, finalMessage(t, file.Path)
}

// answer is what the model says in a discussion.
func answer(t Task) string {
	if t.Talk == "" {
		return "I have read the issue and the repository. What has to be in it besides the title?"
	}
	return "I have read what you wrote:\n\n" + prefixed("> ", t.Talk) + "\n\nThe stage can begin."
}

// planFiles writes what the prompt names.
func planFiles(t Task) (steps []Step, final string) {
	if !t.SentBack() {
		steps = calls(use, t.Body)
	}
	for _, w := range t.Files {
		if m := leaveOut.FindStringSubmatch(t.Body); m != nil && strings.HasSuffix(w.Path, m[2]) && (m[1] != "" || !t.Again()) {
			continue
		}
		steps = append(steps, Step{Write: &File{Path: w.Path, Content: document(t, w)}})
	}
	return steps, finalMessage(t, t.Files[0].Path)
}

// beginAgain is the line of an issue that says which label a rethink names.
var beginAgain = regexp.MustCompile(`(?m)^Begin again at: (\S+)$`)

// document has something to say under each heading.
func document(t Task, w Wanted) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nOf the issue \"%s\".\n", w.Title, t.Title)
	for _, heading := range w.Headings {
		fmt.Fprintf(&b, "\n## %s\n\nAs the issue says: %s\n", heading, t.Title)
	}
	if m := beginAgain.FindStringSubmatch(t.Body); m != nil && strings.HasSuffix(w.Path, "/rethink.md") {
		fmt.Fprintf(&b, "\n`%s`\n", m[1])
	}
	for i, review := range t.Reviews {
		fmt.Fprintf(&b, "\n## After review %d\n\n%s\n\nDone as asked.\n", i+1, prefixed("> ", review))
	}
	return b.String()
}

// calls are those of the lines of that form; one whose arguments are no JSON has none.
func calls(form *regexp.Regexp, body string) (all []Step) {
	for _, line := range form.FindAllStringSubmatch(body, -1) {
		arguments := map[string]any{}
		_ = json.Unmarshal([]byte(line[2]), &arguments)
		all = append(all, Step{Call: &Call{Tool: line[1], Arguments: arguments}})
	}
	return all
}

// planFile is the one file that the task leads to.
func planFile(t Task) File {
	if m := greetingTitle.FindStringSubmatch(t.Title); m != nil {
		return greetingFile(t, strings.ToLower(m[1]))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", t.Title)
	if t.Body != "" {
		fmt.Fprintf(&b, "\n%s\n", t.Body)
	}
	if m := atLength.FindStringSubmatch(t.Body); m != nil {
		kib, _ := strconv.Atoi(m[1]) // three digits at most
		for b.WriteString("\n"); b.Len() < kib<<10; {
			b.WriteString("And then somebody said hello, and somebody else said it back.\n")
		}
	}
	for _, answer := range t.Answers {
		fmt.Fprintf(&b, "\n## As decided\n\n%s\n", prefixed("> ", answer))
	}
	for i, review := range t.Reviews {
		fmt.Fprintf(&b, "\n## After review %d\n\n%s\n\nDone as asked.\n", i+1, prefixed("> ", review))
	}
	if t.SentBack() {
		fmt.Fprintf(&b, "\n## Put right\n\n%s\n", strings.Join(faultLine.FindAllString(t.Prompt, -1), "\n"))
	}
	return File{Path: t.Path(t.Slug() + ".md"), Content: b.String()}
}

// faultLine is what is wrong with work that comes back.
var faultLine = regexp.MustCompile(`(?m)^- .+$`)

var (
	askFirst      = regexp.MustCompile(`(?m)^Ask first: (.+\?)[ \t]*(.*)$`)
	atLength      = regexp.MustCompile(`(?m)^Write at length: ([0-9]{1,3})[ \t\r]*$`)
	leaveOut      = regexp.MustCompile(`(?m)^Leave out( for good)?: ([a-z_]+\.md)[ \t\r]*$`)
	useFirst      = regexp.MustCompile(`(?m)^Use first: ([a-z_]+) (\{.*\})[ \t\r]*$`)
	use           = regexp.MustCompile(`(?m)^Use: ([a-z_]+) (\{.*\})[ \t\r]*$`)
	greetingTitle = regexp.MustCompile(`(?i)\bgreeting in ([a-z]+)`)
	quotedText    = regexp.MustCompile("[\"“«`]([^\"”»`\n]{1,80})[\"”»`]")
)

// greetings are the ones that a demonstration may ask for.
var greetings = map[string]string{
	"dutch": "Hallo, wereld!", "english": "Hello, world!", "french": "Bonjour, le monde !", "german": "Hallo, Welt!",
	"italian": "Ciao, mondo!", "japanese": "こんにちは、世界！", "polish": "Witaj, świecie!", "portuguese": "Olá, mundo!",
	"russian": "Привет, мир!", "spanish": "¡Hola, mundo!", "ukrainian": "Привіт, світе!",
}

// greetingFile has one greeting a line. A review that quotes some words gets these as a further line; one that quotes
// nothing is answered by a comment.
func greetingFile(t Task, language string) File {
	text, ok := greetings[language]
	if !ok {
		text = "Hello, " + language + " world!"
	}
	lines := append([]string{text}, t.Answers...)
	if quoted := quotedText.FindStringSubmatch(t.Talk); quoted != nil {
		lines = append(lines, quoted[1])
	}
	for _, review := range t.Reviews {
		if quoted := quotedText.FindStringSubmatch(review); quoted != nil {
			lines = append(lines, quoted[1])
			continue
		}
		lines = append(lines, prefixed("# review: ", review))
	}
	return File{Path: t.Path("greetings/" + language + ".txt"), Content: strings.Join(lines, "\n") + "\n"}
}

// finalMessage is the description of the pull request: one line of at most 72 characters, then the details.
func finalMessage(t Task, path string) string {
	subject := []rune(t.Title)
	if t.Review != "" {
		subject = []rune("Answer the review: " + t.Title)
	}
	if len(subject) > 72 {
		subject = append(subject[:71], '…')
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", string(subject))
	if t.Review != "" {
		fmt.Fprintf(&b, "The review asked for:\n\n%s\n\nChanged `%s` accordingly.\n", prefixed("> ", t.Review), path)
	} else {
		fmt.Fprintf(&b, "Adds `%s`.\n", path)
	}
	b.WriteString("\nTested by running the repository's tests, where it has any. Nothing is left open.")
	if strings.Contains(t.Prompt, "## Explain as you go") {
		fmt.Fprintf(&b, "\n\n## Why it is done this way\n\n- `%s:1` The greeting comes first, so that who reads only one line has it.", path)
	}
	return b.String()
}

// prefixed puts prefix before every line.
func prefixed(prefix, text string) string {
	return prefix + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+prefix)
}
