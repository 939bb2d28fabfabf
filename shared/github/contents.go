package github

import (
	"context"
	"errors"
	"net/http"
	"time"

	gh "github.com/google/go-github/v66/github"
)

// Contents is what a repository has under a path, at a branch or commit ("" = the default branch): a file, or the list
// of a folder; neither if there is nothing. A *Refused is about the repository or the branch.
// https://docs.github.com/en/rest/repos/contents#get-repository-content
func (c *Client) Contents(ctx context.Context, owner, name, path, ref string, now time.Time) (*gh.RepositoryContent, []*gh.RepositoryContent, error) {
	file, list, _, err := c.Repositories.GetContents(ctx, owner, name, path, &gh.RepositoryContentGetOptions{Ref: ref})
	// "There is no such file", which is an answer like any other, and a branch or a repository that is gone are all 404.
	// Only the message differs.
	var refused *Refused
	if err = ClassifyError(err, now); errors.As(err, &refused) && refused.Status == http.StatusNotFound && refused.Message == "Not Found" {
		return nil, nil, nil
	}
	return file, list, err
}
