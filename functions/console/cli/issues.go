package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"codexk8s.dev/functions/console/internal/api"
)

func (a *app) issues() *cobra.Command {
	issues := &cobra.Command{Use: "issues", Short: "How issues stand, and what a storm holds on them"}
	var release, drop manner
	issues.AddCommand(a.viewIssue(), release.flags(&cobra.Command{
		Use: "release OWNER/NAME#NUMBER", Short: "Start what is held on an issue", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "releaseIssue"},
		RunE: func(cmd *cobra.Command, args []string) error {
			owner, name, issue, err := issueOf(args[0])
			if err != nil {
				return err
			}
			return a.order(cmd.Context(), release, func(ctx context.Context, p api.CancelRunParams) (*http.Response, error) {
				q := api.ReleaseIssueParams(p)
				return a.client.ReleaseIssue(ctx, owner, name, issue, &q)
			})
		},
	}), drop.flags(&cobra.Command{
		Use: "drop OWNER/NAME#NUMBER", Short: "Forget what is held on an issue", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "dropIssue"},
		RunE: func(cmd *cobra.Command, args []string) error {
			owner, name, issue, err := issueOf(args[0])
			if err != nil {
				return err
			}
			return a.order(cmd.Context(), drop, func(ctx context.Context, p api.CancelRunParams) (*http.Response, error) {
				q := api.DropIssueParams(p)
				return a.client.DropIssue(ctx, owner, name, issue, &q)
			})
		},
	}))
	return issues
}

func (a *app) viewIssue() *cobra.Command {
	var p api.GetIssueParams
	c := &cobra.Command{
		Use: "view OWNER/NAME#NUMBER", Short: "How an issue stands, and what each label would do now", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "getIssue"},
		RunE: func(cmd *cobra.Command, args []string) error {
			owner, name, issue, err := issueOf(args[0])
			if err != nil {
				return err
			}
			var d api.IssueDetail
			if printed, err := a.ask(func() (*http.Response, error) { return a.client.GetIssue(cmd.Context(), owner, name, issue, &p) }, &d); err != nil || printed {
				return err
			}
			a.say("%s#%d %s\n", d.Repository, d.Number, plain(d.Title))
			t := a.table("STAGE", "STATE", "LABEL", "RUN", "COST")
			for _, s := range d.Stages {
				t.row(s.Name, string(s.State), s.Label, s.Run, dollars(s.CostMicrousd))
			}
			if err := t.print(); err != nil {
				return err
			}
			a.say("\n")
			t = a.table("LABEL", "WOULD", "WHY")
			for _, next := range d.Prospects {
				t.row(next.Act, string(next.Does), strings.TrimSpace(next.Reason+" "+next.Why))
			}
			return t.print()
		},
	}
	c.Flags().Int64Var(&p.Before, "before", 0, "with -o json: the acts before this one, as older says")
	return c
}
