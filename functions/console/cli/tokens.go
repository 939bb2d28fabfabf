package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"codexk8s.dev/functions/console/internal/api"
)

// tokens are made and revoked in the browser: no program may, so these commands say no by a token. They are here for
// who asks, and for the day when a person signs in to the program itself.
func (a *app) tokens() *cobra.Command {
	tokens := &cobra.Command{Use: "tokens", Short: "By what programs come in your name; made and revoked at <console>/tokens, as no token may do it"}
	var n api.NewToken
	var scopes []string
	make := &cobra.Command{
		Use: "make NAME", Short: "Make a token", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "makeToken"},
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Name = args[0]
			for _, s := range scopes {
				n.Scopes = append(n.Scopes, api.Scope(s))
			}
			var made api.Token
			printed, err := a.ask(func() (*http.Response, error) { return a.client.MakeToken(cmd.Context(), n) }, &made)
			if err == nil && !printed {
				a.say("%s\n", made.Secret)
			}
			return err
		},
	}
	make.Flags().StringSliceVar(&scopes, "scope", []string{"read"}, "read, runs, approve")
	make.Flags().StringSliceVar(&n.Projects, "project", nil, "only in these; none = in all of yours")
	make.Flags().IntVar(&n.Days, "days", 0, "how long it is good, 366 at most (90)")
	tokens.AddCommand(make, &cobra.Command{
		Use: "list", Short: "Your tokens", Args: cobra.NoArgs, Annotations: map[string]string{operation: "listTokens"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			var l api.TokenList
			if printed, err := a.ask(func() (*http.Response, error) { return a.client.ListTokens(cmd.Context()) }, &l); err != nil || printed {
				return err
			}
			t := a.table("ID", "NAME", "SCOPES", "PROJECTS", "UNTIL", "USED")
			for _, k := range l.Items {
				t.row(k.Id, k.Name, fmt.Sprint(k.Scopes), fmt.Sprint(k.Projects), when(k.ExpiresAt), when(k.UsedAt))
			}
			return t.print()
		},
	}, &cobra.Command{
		Use: "revoke TOKEN", Short: "End a token at once, by its id", Args: cobra.ExactArgs(1), Annotations: map[string]string{operation: "revokeToken"},
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := a.ask(func() (*http.Response, error) { return a.client.RevokeToken(cmd.Context(), args[0]) }, nil)
			return err
		},
	})
	return tokens
}

// raw is for what has no command of its own yet.
func (a *app) raw() *cobra.Command {
	return &cobra.Command{
		Use: "api METHOD PATH", Short: "Send a request of the API as it is; a body comes from standard input", Args: cobra.ExactArgs(2),
		Example: "  codexk8s api GET /v1/runs?limit=1",
		RunE: func(cmd *cobra.Command, args []string) error {
			method, path := strings.ToUpper(args[0]), args[1]
			if err := a.open(); err != nil {
				return err
			}
			body := io.Reader(http.NoBody)
			if method != http.MethodGet && !a.isTerminal() {
				body = a.in
			}
			req, err := http.NewRequestWithContext(cmd.Context(), method, strings.TrimRight(a.client.Server, "/")+"/"+strings.TrimLeft(path, "/"), body)
			if err != nil {
				return ending{exitUsage, err}
			}
			req.Header.Set("Content-Type", "application/json")
			var answer any
			a.output = "json"
			_, err = a.ask(func() (*http.Response, error) {
				for _, edit := range a.client.RequestEditors {
					if err := edit(cmd.Context(), req); err != nil {
						return nil, err
					}
				}
				return a.client.Client.Do(req)
			}, &answer)
			return err
		},
	}
}
