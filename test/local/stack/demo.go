package stack

import (
	"fmt"

	"codexk8s.dev/shared/stage"
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
	for _, l := range stage.Default().Catalogue() { // now, to be clicked; the platform itself makes them in minutes
		if err := s.GitHub.CreateLabel(Repository, fakegithub.Label{Name: l.Name, Color: l.Colour, Description: l.Description}); err != nil {
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
