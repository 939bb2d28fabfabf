package store

import (
	"cmp"
	"context"
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/stage"
)

// The pull request of stage.Branch is kept in work_items, where the release before keeps its only one; the others are
// in pull_requests.

// queuePulls reads the item's pull requests, in the order of their numbers. That of stage.Branch is of the stage that
// last reported it.
func queuePulls(b *pgx.Batch, item *stage.Item) {
	b.Queue(`
		SELECT '' AS branch,
		       coalesce((SELECT a.stage
		                 FROM artefacts a
		                 WHERE a.repository = w.repository AND a.issue = w.issue AND a.name = 'pull_request' AND a.value = w.pull_request::text
		                 ORDER BY a.made_at DESC
		                 LIMIT 1), ''),
		       pull, pull_request AS number, pull_request_url, head_sha
		FROM work_items w
		WHERE repository = $1 AND issue = $2 AND pull_request > 0
		UNION ALL
		SELECT branch, stage, pull, number, url, head_sha
		FROM pull_requests
		WHERE repository = $1 AND issue = $2
		ORDER BY number
	`, item.RepositoryKey, item.Issue).Query(func(rows pgx.Rows) (err error) {
		item.Pulls, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (stage.Pull, error) {
			var branch, of string
			var p stage.Pull
			err := row.Scan(&branch, &of, &p, &p.Number, &p.URL, &p.HeadSHA)
			p.Branch = cmp.Or(branch, stage.Branch(item.Issue))
			p.Stage = cmp.Or(of, item.Process.OwnerOf(p.Branch))
			return p, err
		})
		return err
	})
}

// ownPull joins to a run r and its work item w the branch on which it works, with the pull request that this has.
const ownPull = `
		CROSS JOIN LATERAL (
			SELECT 'codexk8s/issue-' || r.issue AS branch, w.pull_request AS number, w.pull_request_url AS url, w.head_sha, w.pull
			WHERE coalesce(r.granted ->> 'branch', 'codexk8s/issue-' || r.issue) = 'codexk8s/issue-' || r.issue
			UNION ALL
			SELECT branch, number, url, head_sha, pull
			FROM pull_requests
			WHERE repository = r.repository AND issue = r.issue AND branch = r.granted ->> 'branch'
			UNION ALL
			SELECT r.granted ->> 'branch', 0, '', '', NULL
			LIMIT 1
		) o`

// pullOf is the item's pull request of the branch; the zero Pull if there is none.
func pullOf(i stage.Item, branch string) stage.Pull {
	for _, p := range i.Pulls {
		if p.Branch == branch {
			return p
		}
	}
	return stage.Pull{}
}

// queueSeen stores those of the item's pull requests that are not as before.
func queueSeen(b *pgx.Batch, i, before stage.Item) {
	for _, p := range i.Pulls {
		if p.Branch == stage.Branch(i.Issue) || reflect.DeepEqual(p, pullOf(before, p.Branch)) {
			continue
		}
		b.Queue(`
			INSERT INTO pull_requests (repository, issue, branch, stage, number, url, head_sha, pull)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (repository, issue, branch) DO UPDATE
			SET stage = excluded.stage, number = excluded.number, url = excluded.url, head_sha = excluded.head_sha, pull = excluded.pull
		`, i.RepositoryKey, i.Issue, p.Branch, p.Stage, p.Number, p.URL, p.HeadSHA, p)
	}
}

// issueOfPull returns the issue that the pull request belongs to; 0 if it is none of ours. key is the repository's.
func (db *DB) issueOfPull(ctx context.Context, key string, pull int) (issue int, err error) {
	err = db.pool.QueryRow(ctx, `
		SELECT issue
		FROM work_items
		WHERE repository = $1 AND pull_request = $2 AND pull_request > 0
		UNION ALL
		SELECT issue
		FROM pull_requests
		WHERE repository = $1 AND number = $2
		LIMIT 1
	`, key, pull).Scan(&issue)
	if err = optional(err); err != nil {
		return 0, fmt.Errorf("looking for the issue of pull request %s#%d: %w", key, pull, err)
	}
	return issue, nil
}
