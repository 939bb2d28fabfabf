package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codexk8s.dev/functions/console/internal/api"
)

func (a *app) runs() *cobra.Command {
	runs := &cobra.Command{Use: "runs", Short: "What agents do and did"}
	runs.AddCommand(a.listRuns(), a.viewRun(), a.watchRun(), a.timeline(), a.start(), a.cancel(), a.rerun(), a.revise())
	return runs
}

// every is how long a command that watches waits before it looks again.
const every = 2 * time.Second

// again does it, and with watch again and again until it says that it is done.
func again(ctx context.Context, watch bool, do func() (done bool, err error)) error {
	for {
		done, err := do()
		if err != nil || done || !watch {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

func (a *app) listRuns() *cobra.Command {
	var p api.ListRunsParams
	var watch bool
	c := &cobra.Command{
		Use: "list [FILTER...]", Short: "Runs, the newest first", Annotations: map[string]string{operation: "listRuns"},
		Example: "  codexk8s runs list state:active project:shop\n  codexk8s runs list state:failed --limit 5 -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Q = strings.Join(args, " ")
			return again(cmd.Context(), watch, func() (bool, error) {
				var list api.RunList
				if printed, err := a.ask(func() (*http.Response, error) { return a.client.ListRuns(cmd.Context(), &p) }, &list); err != nil || printed {
					return false, err
				}
				t := a.table("ID", "STATE", "WHERE", "STAGE", "MODEL", "BY", "COST", "ASKED FOR", "TITLE")
				for _, r := range list.Items {
					t.row(r.Id, stateOf(r), fmt.Sprintf("%s#%d", r.Repository, r.Issue), r.Stage, r.Model, r.RequestedBy, dollars(r.CostMicrousd), when(r.CreatedAt), r.Title)
				}
				if err := t.print(); err != nil {
					return false, err
				}
				if list.Next != "" {
					a.warn("There are more: --cursor %s\n", list.Next)
				}
				return false, nil
			})
		},
	}
	c.Flags().IntVar(&p.Limit, "limit", 0, "how many, 1 to 200 (50)")
	c.Flags().StringVar(&p.Cursor, "cursor", "", "where to go on, as the page before said")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "look again and again")
	return c
}

func (a *app) viewRun() *cobra.Command {
	return &cobra.Command{
		Use: "view RUN", Short: "A run, with what it has cost and made", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "getRun"},
		RunE: func(cmd *cobra.Command, args []string) error {
			var d api.RunDetail
			if printed, err := a.ask(func() (*http.Response, error) { return a.client.GetRun(cmd.Context(), args[0]) }, &d); err != nil || printed {
				return err
			}
			r := d.Run
			a.say("%s\n", plain(r.Title))
			t := a.table("Run", r.Id)
			for _, line := range [][2]string{
				{"State", stateOf(r)}, {"Why", r.Message}, {"Where", fmt.Sprintf("%s#%d", r.Repository, r.Issue)}, {"Project", r.Project}, {"Stage", r.Stage + " " + string(r.Kind)},
				{"Model", strings.TrimSpace(r.Model + " " + r.Reasoning)}, {"Asked for", when(r.CreatedAt) + " by " + r.RequestedBy}, {"Ended", when(r.FinishedAt)},
				{"Cost", fmt.Sprintf("%s, %d calls, %d tokens in, %d out", dollars(d.Usage.CostMicrousd), d.Usage.Calls, d.Usage.InputTokens, d.Usage.OutputTokens)},
				{"Progress", d.Progress}, {"Pull request", r.PullRequestUrl}, {"Summary", d.Summary},
			} {
				if strings.TrimSpace(line[1]) != "" {
					t.row(line[0], line[1])
				}
			}
			for _, ask := range d.Asks {
				t.row("Asked", fmt.Sprintf("%s %s (%s)", ask.Id, ask.Title, ask.State))
			}
			return t.print()
		},
	}
}

// final are the states in which a run stays.
var final = []api.State{api.StateSucceeded, api.StateFailed, api.StateCancelled, api.StateTimedOut}

func (a *app) watchRun() *cobra.Command {
	var status bool
	c := &cobra.Command{
		Use: "watch RUN", Short: "Follow a run to its end", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			last := ""
			return again(cmd.Context(), true, func() (bool, error) {
				var d api.RunDetail
				printed, err := a.ask(func() (*http.Response, error) { return a.client.GetRun(cmd.Context(), args[0]) }, &d)
				if err != nil {
					return false, err
				}
				if now := stateOf(d.Run) + "  " + plain(d.Progress); now != last && !printed {
					a.say("%s\n", now)
					last = now
				}
				switch {
				case !slices.Contains(final, d.Run.State):
					return false, nil
				case status && d.Run.State != api.StateSucceeded:
					return true, ending{exitFailed, fmt.Errorf("the run is %s", stateOf(d.Run))}
				}
				return true, nil
			})
		},
	}
	c.Flags().BoolVar(&status, "exit-status", false, "end with 1 unless the run has succeeded")
	return c
}

func (a *app) timeline() *cobra.Command {
	return &cobra.Command{
		Use: "timeline RUN", Short: "What was decided about a run and what happened", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "getTimeline"},
		RunE: func(cmd *cobra.Command, args []string) error {
			var l api.Timeline
			if printed, err := a.ask(func() (*http.Response, error) { return a.client.GetTimeline(cmd.Context(), args[0]) }, &l); err != nil || printed {
				return err
			}
			t := a.table("AT", "WHO", "WHAT", "WHY", "DETAIL")
			for _, s := range l.Items {
				t.row(when(s.At), s.Actor, s.Action, s.Reason, s.Detail)
			}
			return t.print()
		},
	}
}

func (a *app) logs() *cobra.Command {
	p := api.GetLogParams{From: -usualLines}
	var follow bool
	c := &cobra.Command{
		Use: "logs RUN", Short: "The end of a run's log, or all of it as it comes", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "getLog"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return again(cmd.Context(), follow, func() (bool, error) {
				var l api.Log
				printed, err := a.ask(func() (*http.Response, error) { return a.client.GetLog(cmd.Context(), args[0], &p) }, &l)
				if err != nil {
					return false, err
				}
				for _, line := range l.Items {
					if !printed {
						a.say("%6d  %s\n", line.Seq, plain(line.Text))
					}
					p.From = line.Seq + 1
				}
				if p.From < 0 {
					p.From = 1
				}
				if !follow || len(l.Items) > 0 {
					return false, nil
				}
				var d api.RunDetail
				_, err = (&app{client: a.client}).ask(func() (*http.Response, error) { return a.client.GetRun(cmd.Context(), args[0]) }, &d)
				return slices.Contains(final, d.Run.State), err
			})
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the run is over")
	c.Flags().Int64Var(&p.From, "from", -usualLines, "the first line; negative numbers count from the end")
	c.Flags().IntVar(&p.Limit, "limit", 0, "how many lines, 1 to 2000 (500)")
	c.Flags().StringVar(&p.Grep, "grep", "", "only lines that contain this text, whatever its case")
	return c
}

const usualLines = 500
