package stack

import (
	"fmt"

	fakegithub "codexk8s.dev/test/fakes/github"
)

// demoFiles are the demonstration's repository. Its test fails on an empty greeting.
var demoFiles = map[string]string{
	"README.md":             "# Greetings\n\nOne file per language below `greetings/`, one greeting a line. `sh greet.sh LANGUAGE` prints the first.\n",
	"greetings/english.txt": "Hello, world!\n",
	"greet.sh":              "#!/bin/sh\n# Prints the greeting in a language: sh greet.sh english\nhead -n 1 \"$(dirname \"$0\")/greetings/$1.txt\"\n",
	"test.sh":               "#!/bin/sh\n# Every language has a greeting.\nset -e\nfor file in greetings/*.txt; do\n  language=$(basename \"$file\" .txt)\n  test -n \"$(sh greet.sh \"$language\")\" || { echo \"$language has no greeting\"; exit 1; }\n  echo \"ok $language\"\ndone\n",
}

const issueBody = "People from Québec ask for it. Add `greetings/french.txt` beside the English one, with one greeting a line."

// demoLabels are those of the process that a person sets, so that they are there to be clicked.
var demoLabels = []fakegithub.Label{
	{Name: LabelDev, Color: "1d76db", Description: "An agent works on the issue and opens a pull request"},
	{Name: "run:dev:revise", Color: "1d76db", Description: "An agent reworks the pull request"},
	{Name: "run:abort", Color: "b60205", Description: "Stop the run"},
	{Name: "state:blocked", Color: "e99695", Description: "Nothing starts while this is set"},
	{Name: "need:input", Color: "fbca04", Description: "Nothing starts while this is set"},
	{Name: "[ai-model-gpt-5.3-codex]", Color: "d4c5f9", Description: "This model for the next run"},
	{Name: "[ai-reasoning-low]", Color: "d4c5f9", Description: "How hard the model thinks"},
}

// fillGitHub makes what the demonstration needs, unless it is there from an earlier start.
func (s *Stack) fillGitHub() error {
	for _, login := range []string{Owner, Reader, Stranger} {
		if _, err := s.GitHub.CreateUser(login); err != nil {
			return fmt.Errorf("making the user %s: %w", login, err)
		}
	}
	if err := s.GitHub.CreateRepository(Repository, demoFiles); err != nil {
		return fmt.Errorf("making the repository %s: %w", Repository, err)
	}
	if err := s.GitHub.SetPrivate(Repository, false); err != nil { // so that the stranger sees it
		return fmt.Errorf("showing %s to all: %w", Repository, err)
	}
	for _, c := range []struct{ login, permission string }{{Owner, "admin"}, {Reader, "triage"}} {
		if err := s.GitHub.AddCollaborator(Repository, c.login, c.permission); err != nil {
			return fmt.Errorf("letting %s in: %w", c.login, err)
		}
	}
	for _, l := range demoLabels {
		if err := s.GitHub.CreateLabel(Repository, l); err != nil {
			return fmt.Errorf("making the label %s: %w", l.Name, err)
		}
	}
	if _, err := s.GitHub.Issue(Repository, Issue); err == nil {
		return nil
	}
	if _, err := s.GitHub.CreateIssue(Repository, IssueTitle, issueBody, Owner); err != nil {
		return fmt.Errorf("opening the issue: %w", err)
	}
	return nil
}
