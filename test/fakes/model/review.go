package model

import (
	"regexp"
	"strings"
)

// reviewScript is what the model does when it is to review a pull request: it looks at the change, runs the tests, and
// finds something on the first line of what the issue led to, and something about a file that was not changed. Each
// line of the issue like "Find: `src/price.go:3` **major**: it rounds down" is a finding in place of those.
var reviewScript = Script{Name: "review", Match: "## How to review", Plan: planReview}

var (
	find      = regexp.MustCompile(`(?m)^Find: (.+)$`)
	changeOf  = regexp.MustCompile("`(git diff [^`]+)`")
	delivered = regexp.MustCompile("(?m)^- `([^`\n]+\\.md)`: ")
)

func planReview(t Task) ([]Step, string) {
	command := "git diff HEAD~1"
	if m := changeOf.FindStringSubmatch(t.Prompt); m != nil {
		command = m[1]
	}
	var findings []string
	for _, m := range find.FindAllStringSubmatch(t.Body, -1) {
		findings = append(findings, "- "+strings.TrimSpace(m[1]))
	}
	if len(findings) == 0 {
		path := planFile(t).Path
		if _, list, ok := strings.Cut(t.Prompt, "It had to deliver:"); ok {
			if m := delivered.FindStringSubmatch(list); m != nil {
				path = m[1]
			}
		}
		findings = []string{
			"- `" + path + ":1` **minor**: the first line says it for one reader only; name the others too.",
			"- `README.md` **minor**: nobody is told of it there.",
		}
	}
	return []Step{{Run: command}, {Run: testCommand}},
		"It does what the issue asks, and could be merged. The worst is that some readers do not find it. Load was not tried.\n\n## Findings\n\n" + strings.Join(findings, "\n")
}
