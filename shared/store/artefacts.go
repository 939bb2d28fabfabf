package store

import (
	"slices"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/stage"
)

// queueArtefacts reads what the item's runs made, in the order in which they reported it.
func queueArtefacts(b *pgx.Batch, item *stage.Item) {
	b.Queue(`
		SELECT stage, name, value, run_id::text, made_at, superseded_at
		FROM artefacts
		WHERE repository = $1 AND issue = $2
		ORDER BY made_at, stage, name, value
	`, item.RepositoryKey, item.Issue).Query(func(rows pgx.Rows) (err error) {
		item.Artefacts, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (stage.Artefact, error) {
			var a stage.Artefact
			err := row.Scan(&a.Stage, &a.Name, &a.Value, &a.Run, zero(&a.MadeAt), zero(&a.SupersededAt))
			return a, err
		})
		return err
	})
}

// queueMade stores those of the item's artefacts that were not there before.
func queueMade(b *pgx.Batch, i stage.Item, before []stage.Artefact) {
	for _, a := range i.Artefacts {
		if slices.Contains(before, a) {
			continue
		}
		b.Queue(`
			INSERT INTO artefacts (repository, issue, stage, name, value, run_id, made_at, superseded_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (repository, issue, stage, name, value) DO UPDATE
			SET superseded_at = excluded.superseded_at
		`, i.RepositoryKey, i.Issue, a.Stage, a.Name, a.Value, a.Run, a.MadeAt, orNull(a.SupersededAt))
	}
}
