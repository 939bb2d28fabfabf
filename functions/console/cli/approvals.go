package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"codexk8s.dev/functions/console/internal/api"
)

func (a *app) approvals() *cobra.Command {
	approvals := &cobra.Command{Use: "approvals", Short: "What agents ask people"}
	var watch bool
	list := &cobra.Command{
		Use: "list", Short: "What waits for people, the oldest first", Args: cobra.NoArgs, Annotations: map[string]string{operation: "listApprovals"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return again(cmd.Context(), watch, func() (bool, error) {
				var l api.ApprovalList
				if printed, err := a.ask(func() (*http.Response, error) { return a.client.ListApprovals(cmd.Context()) }, &l); err != nil || printed {
					return false, err
				}
				t := a.table("ID", "KIND", "WHERE", "STAGE", "ASKED", "UNTIL", "TITLE")
				for _, r := range l.Items {
					t.row(r.Id, string(r.Kind), fmt.Sprintf("%s#%d", r.Repository, r.Issue), r.Stage, when(r.AskedAt), when(r.Deadline), r.Title)
				}
				return false, t.print()
			})
		},
	}
	list.Flags().BoolVarP(&watch, "watch", "w", false, "look again and again")
	approvals.AddCommand(list, &cobra.Command{
		Use: "view APPROVAL", Short: "A request, decided or not", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "getApproval"},
		RunE: func(cmd *cobra.Command, args []string) error {
			r, printed, err := a.request(cmd.Context(), args[0])
			if err != nil || printed {
				return err
			}
			return a.show(r)
		},
	}, a.vote("approve APPROVAL", "Say yes", api.VoteChoiceApprove), a.vote("deny APPROVAL", "Say no", api.VoteChoiceDeny), a.vote("answer APPROVAL", "Answer a question, in words or by the number of a choice", api.VoteChoiceAnswer))
	return approvals
}

func (a *app) request(ctx context.Context, id string) (r api.Approval, printed bool, err error) {
	printed, err = a.ask(func() (*http.Response, error) { return a.client.GetApproval(ctx, id) }, &r)
	return r, printed, err
}

// show prints a request with its real arguments.
func (a *app) show(r api.Approval) error {
	a.say("%s\n", plain(r.Title))
	t := a.table("Request", r.Id)
	t.row("State", string(r.State)+" "+r.Outcome)
	t.row("Where", fmt.Sprintf("%s#%d, %s, run %s", r.Repository, r.Issue, r.Stage, r.Run))
	t.row("Until", when(r.Deadline))
	for _, f := range r.Fields {
		t.row(f.Name, f.Value)
	}
	for i, o := range r.Options {
		t.row("Choice "+strconv.Itoa(i+1), o)
	}
	t.row("The agent says", r.Justification)
	t.row("Risk", r.Risk)
	for _, v := range r.Votes {
		t.row("Vote", v.Who+" "+v.Choice+" "+v.Text)
	}
	return t.print()
}

// vote is a command that votes on the request as it is shown: at a terminal it shows it and asks.
func (a *app) vote(use, short string, choice api.VoteChoice) *cobra.Command {
	var m manner
	vote := api.Vote{Choice: choice}
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "vote"},
		RunE: func(cmd *cobra.Command, args []string) error {
			r, _, err := (&app{client: a.client, host: a.host}).request(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if vote.Digest == "" {
				vote.Digest = r.Digest
			}
			if a.isTerminal() && !m.yes && !m.dry {
				if err := a.show(r); err != nil {
					return err
				}
				if !a.agrees() {
					return ending{exitRefused, fmt.Errorf("nothing was done")}
				}
			}
			p := api.VoteParams{IdempotencyKey: m.key, DryRun: m.dry}
			if p.IdempotencyKey == "" {
				p.IdempotencyKey = rand.Text()
			}
			var voted api.Voted
			printed, err := a.ask(func() (*http.Response, error) { return a.client.Vote(cmd.Context(), args[0], &p, vote) }, &voted)
			if err == nil && !printed {
				a.say("%s\n", map[bool]string{true: "Your vote is stored.", false: "Your vote would count."}[voted.Stored])
			}
			return err
		},
	}
	c.Flags().BoolVar(&m.dry, "dry-run", false, "say whether the vote would count, and store nothing")
	c.Flags().BoolVarP(&m.yes, "yes", "y", false, "do not ask")
	c.Flags().StringVar(&m.key, "key", "", "makes it one vote, however often it is sent; else a new one")
	c.Flags().StringVar(&vote.Digest, "digest", "", "of the request as you saw it; else as it is now")
	c.Flags().StringVarP(&vote.Text, "reason", "m", "", "the reason, or the answer in words")
	if choice == api.VoteChoiceAnswer {
		c.Flags().IntVar(&vote.Option, "option", 0, "number of the choice")
	}
	return c
}
