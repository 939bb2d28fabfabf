package main

import (
	"fmt"
	"io"
	"time"

	"codexk8s.dev/test/local/stack"
)

// printGuide says where to look and how to play.
func printGuide(w io.Writer, s *stack.Stack, took time.Duration) {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	p("\nReady after %.1f s. Agents run %s.", took.Seconds(), s.Agents())
	for _, note := range s.Notes {
		p("Note: %s.", note)
	}
	p("\n  Console    %s", s.ConsoleURL())
	p("  Webhook    %s", s.WebhookURL())
	if s.GitHub != nil {
		p("  GitHub     %s/%s (a fake one)", s.GitHub.URL(), stack.Repository)
		p("  Issue      %s", s.IssuePage())
	}
	if s.Chat != nil {
		p("  Chats      %s (fake ones; requests of agents are shown there, and their buttons work)", s.Chat.URL())
		for _, page := range s.Chat.Pages() {
			p("    %-13s %s", page.Name, page.URL)
		}
	}
	if at := s.Callbacks(); at != "" {
		p("  Callbacks  %s, with /telegram, /slack, /mattermost or /jira behind it", at)
	}
	p("  Contract   %s (for an approver of your own; make conform URL=… checks it)", s.ContractURL())
	if s.Model != nil {
		p("  Model      played, deterministic; OPENAI_API_KEY replaces it")
	}
	p("  State      %s (logs in platform/logs; FRESH=1 starts over)", s.Dir)
	p("  Postgres   psql '%s'", s.Platform.DatabaseURL())
	p("  Explain    make explain ISSUE=%s#%d DATABASE_URL='%s'", stack.Repository, stack.Issue, s.Platform.DatabaseURL())
	p("  Kubernetes kubectl --kubeconfig '%s' get jobs -A -l app.kubernetes.io/managed-by=codexk8s", s.Kubeconfig())
	if s.GitHub != nil {
		api := s.GitHub.URL() + "/repos/" + stack.Repository
		curl := `  curl -X POST -H "Authorization: Bearer ` + stack.OwnerToken + `" `
		p("\nOpen the issue in a browser and click the label %s: an agent works on it and opens a pull request. Review that one.", stack.LabelDev)
		p("At the top of each page you can switch to %s or %s, to see what they may not do. The same with curl:\n", stack.Reader, stack.Stranger)
		p("%s%s/issues/%d/labels -d '{\"labels\":[%q]}'", curl, api, stack.Issue, stack.LabelDev)
		p("\nAsk for changes in its pull request (#2, if nobody opened an issue before it), then approve it:\n")
		p("%s%s/pulls/2/reviews -d '{\"event\":\"REQUEST_CHANGES\",\"body\":%q}'", curl, api, stack.ReviewBody)
		p("%s%s/pulls/2/reviews -d '{\"event\":\"APPROVE\"}'", curl, api)
	}
	p("\nCtrl-C stops everything. Events as they pass:\n")
}
