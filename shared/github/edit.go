package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// An Edit is the last change of an issue's text, its title not included.
type Edit struct {
	At time.Time // zero = the text is as it was written
	By Editor
}

// Editor is who made an Edit. Of a deleted account GitHub tells nothing.
type Editor struct {
	Login string
	ID    int64 // GitHub's number of the account; 0 for a program
}

const lastEdit = `query($owner: String!, $name: String!, $issue: Int!) {
  repository(owner: $owner, name: $name) {
    issue(number: $issue) { lastEditedAt editor { login ... on User { databaseId } } }
  }
}`

// LastEdit asks GitHub who last changed the text of an issue. The REST API doesn't tell, GraphQL does:
// https://docs.github.com/en/graphql/reference/objects#issue. An issue that is not there gives a *Refused with 404.
func (c *Client) LastEdit(ctx context.Context, owner, name string, issue int) (Edit, error) {
	var out struct {
		Repository *struct {
			Issue *struct {
				LastEditedAt *time.Time `json:"lastEditedAt"`
				Editor       *struct {
					Login      string `json:"login"`
					DatabaseID int64  `json:"databaseId"`
				} `json:"editor"`
			} `json:"issue"`
		} `json:"repository"`
	}
	err := c.query(ctx, lastEdit, map[string]any{"owner": owner, "name": name, "issue": issue}, &out)
	if err != nil {
		return Edit{}, fmt.Errorf("asking who last edited issue %s/%s#%d: %w", owner, name, issue, err)
	}
	if out.Repository == nil || out.Repository.Issue == nil {
		return Edit{}, fmt.Errorf("asking who last edited issue %s/%s#%d: GitHub's answer has no issue", owner, name, issue)
	}
	is := out.Repository.Issue
	if is.LastEditedAt == nil {
		return Edit{}, nil
	}
	edit := Edit{At: *is.LastEditedAt}
	if is.Editor != nil {
		edit.By = Editor{Login: is.Editor.Login, ID: is.Editor.DatabaseID}
	}
	return edit, nil
}

// query asks the GraphQL API, which answers 200 whatever is wrong.
// https://docs.github.com/en/graphql/guides/using-graphql-clients, and for the errors' types
// https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
func (c *Client) query(ctx context.Context, text string, variables map[string]any, data any) error {
	// An Enterprise Server has its REST API at /api/v3 and this one at /api/graphql.
	path := "graphql"
	if strings.HasSuffix(c.BaseURL.Path, "/api/v3/") {
		path = "../graphql"
	}
	req, err := c.NewRequest(http.MethodPost, path, map[string]any{"query": text, "variables": variables})
	if err != nil {
		return err
	}
	answer := struct {
		Data   any `json:"data"`
		Errors []struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"errors"`
	}{Data: data}
	resp, err := c.Do(ctx, req, &answer)
	if err != nil {
		return err
	}
	if len(answer.Errors) == 0 {
		return nil
	}
	said := answer.Errors[0]
	cause := errors.New("github's GraphQL API: " + said.Message)
	switch said.Type {
	case "RATE_LIMITED":
		until, guessed := after(resp.Rate.Reset.Time, time.Now())
		return &RateLimited{Until: until, Guessed: guessed, cause: cause}
	case "NOT_FOUND":
		return &Refused{Status: http.StatusNotFound, Message: said.Message, cause: cause}
	case "FORBIDDEN", "INSUFFICIENT_SCOPES":
		return &Refused{Status: http.StatusForbidden, Message: said.Message, cause: cause}
	}
	return cause
}
