package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"codexk8s.dev/functions/console/internal/api"
)

// A login is where somebody is signed in. It is kept in a file that only they can read.
type login struct {
	Host  string `json:"host"`
	Token string `json:"token"`
}

func loginFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", ending{exitFailed, fmt.Errorf("no place for the login: %w", err)}
	}
	return filepath.Join(dir, "codexk8s", "login.json"), nil
}

// credentials are the console's address and the token: of flag and environment, else of the login. The login's token
// goes nowhere but to its own host.
func (a *app) credentials() (host, token string, err error) {
	file, err := loginFile()
	if err != nil {
		return "", "", err
	}
	var kept login
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", "", ending{exitFailed, fmt.Errorf("reading the login: %w", err)}
	}
	host, token = a.host, os.Getenv("CODEXK8S_TOKEN")
	if host == "" {
		host = kept.Host
	}
	if token == "" && strings.TrimRight(host, "/") == kept.Host {
		token = kept.Token
	}
	if host == "" || token == "" {
		return "", "", ending{exitUnknown, errors.New("you are not signed in: codexk8s auth login https://<console>")}
	}
	return host, token, nil
}

func (a *app) auth() *cobra.Command {
	auth := &cobra.Command{Use: "auth", Short: "Sign in and out"}
	auth.AddCommand(
		&cobra.Command{
			Use: "login HOST", Short: "Sign in by a token, read from standard input", Args: cobra.ExactArgs(1),
			Long: "Sign in by a token that you made at HOST/tokens. It is read from standard input and kept in a file that only you can read.",
			RunE: func(cmd *cobra.Command, args []string) error { return a.logIn(cmd, args[0]) },
		},
		&cobra.Command{
			Use: "logout", Short: "Forget the token; it stays valid until it is revoked", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				file, err := loginFile()
				if err != nil {
					return err
				}
				if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
					return ending{exitFailed, err}
				}
				return nil
			},
		},
		&cobra.Command{
			Use: "status", Short: "Who you are, and what you may do where", Args: cobra.NoArgs, Annotations: map[string]string{operation: "getMe"},
			RunE: func(cmd *cobra.Command, _ []string) error {
				var me api.Me
				if printed, err := a.ask(func() (*http.Response, error) { return a.client.GetMe(cmd.Context()) }, &me); err != nil || printed {
					return err
				}
				a.say("%s is signed in at %s\n", me.Login, a.client.Server)
				t := a.table("PROJECT", "ROLE")
				for _, m := range me.Roles {
					t.row(m.Project, string(m.Role))
				}
				return t.print()
			},
		})
	return auth
}

// logIn tries the token before it is kept.
func (a *app) logIn(cmd *cobra.Command, host string) error {
	u, err := url.Parse(host)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ending{exitUsage, fmt.Errorf("%q is no address: write https://console.example.com", host)}
	}
	if a.isTerminal() {
		a.warn("Paste a token made at %s/tokens: ", strings.TrimRight(host, "/"))
	}
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if token := strings.TrimSpace(line); token != "" {
		return a.tryLogin(cmd, login{Host: u.Scheme + "://" + u.Host, Token: token})
	}
	return ending{exitUsage, fmt.Errorf("no token came in: %w", err)}
}

func (a *app) tryLogin(cmd *cobra.Command, l login) error {
	a.host = l.Host
	if err := os.Setenv("CODEXK8S_TOKEN", l.Token); err != nil {
		return ending{exitFailed, err}
	}
	var me api.Me
	if printed, err := a.ask(func() (*http.Response, error) { return a.client.GetMe(cmd.Context()) }, &me); err != nil || printed {
		return err
	}
	file, err := loginFile()
	if err != nil {
		return err
	}
	data, err := json.Marshal(l)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		return ending{exitFailed, fmt.Errorf("keeping the login: %w", err)}
	}
	a.say("%s is signed in at %s\n", me.Login, l.Host)
	return nil
}

// isTerminal reports whether a person types the input.
func (a *app) isTerminal() bool {
	f, ok := a.in.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && info.Mode().Type()&os.ModeDevice != 0 && f.Name() != os.DevNull
}
