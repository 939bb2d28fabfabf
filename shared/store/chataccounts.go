package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
)

// CodeFor is how long a one-time code is valid.
const CodeFor = 15 * time.Minute

// LinkCode makes a one-time code with which the member of that login shows which account of a channel is theirs: the
// account that sends the code is linked. Only the code's hash is kept. ErrNotFound if no member has the login, or
// GitHub's number for it is not known.
func (db *DB) LinkCode(ctx context.Context, login string) (code string, err error) {
	code = rand.Text() // 130 bits
	hash := sha256.Sum256([]byte(code))
	err = db.inTx(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, `
			DELETE FROM chat_codes
			WHERE expires_at <= $1
		`, tx.now); err != nil {
			return fmt.Errorf("removing codes that have expired: %w", err)
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO chat_codes (hash, github_id, login, expires_at)
			SELECT $1, github_id, login, $3
			FROM members
			WHERE login = $2 AND github_id IS NOT NULL
			LIMIT 1
		`, hash[:], strings.ToLower(login), tx.now.Add(CodeFor))
		if err != nil {
			return fmt.Errorf("keeping a code for @%s: %w", login, err)
		}
		if tag.RowsAffected() == 0 {
			return fmt.Errorf("@%s is not a member of any project, or GitHub's number of it is not known yet (write login@number into the projects file): %w", login, ErrNotFound)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return code, nil
}

// LinkAccount links the account to the member the code was made for, and uses up the code. ErrNotFound for a code that
// is unknown, used, or too old.
func (db *DB) LinkAccount(ctx context.Context, code string, by events.Voter) (who events.GitHubAccount, err error) {
	hash := sha256.Sum256([]byte(strings.ToUpper(code)))
	err = db.keep(ctx, func(tx *Tx) ([]events.Record, error) {
		err := tx.QueryRow(ctx, `
			WITH code AS (
				DELETE FROM chat_codes
				WHERE hash = $1 AND expires_at > $2
				RETURNING github_id, login
			)
			INSERT INTO chat_accounts (channel, account, github_id, login, name, linked_at)
			SELECT $3, $4, github_id, login, $5, $2
			FROM code
			ON CONFLICT (channel, account) DO UPDATE
			SET github_id = excluded.github_id, login = excluded.login, name = excluded.name, linked_at = excluded.linked_at
			RETURNING github_id, login
		`, hash[:], tx.now, by.Channel, by.Account, by.Name).Scan(&who.ID, &who.Login)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, fmt.Errorf("the code: %w", ErrNotFound)
		}
		if err != nil {
			return nil, fmt.Errorf("linking %s's account %s: %w", by.Channel, by.Account, err)
		}
		return []events.Record{{
			Actor: "github:" + who.Login, Action: "account.linked",
			Detail: fmt.Sprintf("%s's account %s (%s) is @%s", by.Channel, by.Account, by.Name, who.Login),
		}}, nil
	})
	return who, err
}

// Voter finds out who voted on a request of the project, and who else belongs to it. who is nil for an account that is
// linked to nobody. On GitHub the account is the person; an HTTP approver is itself.
func (tx *Tx) Voter(ctx context.Context, v events.Voter, project string) (who *approval.Person, members []approval.Person, err error) {
	var linked events.GitHubAccount
	var b pgx.Batch
	b.Queue(`
		SELECT github_id, login
		FROM chat_accounts
		WHERE channel = $1 AND account = $2
	`, v.Channel, v.Account).QueryRow(func(row pgx.Row) error { return optional(row.Scan(&linked.ID, &linked.Login)) })
	b.Queue(`
		SELECT login, coalesce(github_id, 0), role
		FROM members
		WHERE project_id IN ($1, '*')
		ORDER BY array_position($2, role), login
	`, project, access.Roles).Query(func(rows pgx.Rows) error {
		all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p approval.Person, err error) {
			err = row.Scan(&p.Login, &p.ID, &p.Role)
			p.Bot = strings.HasSuffix(p.Login, "[bot]")
			return p, err
		})
		members = strongest(all)
		return err
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return nil, nil, fmt.Errorf("looking for %s's account %s: %w", v.Channel, v.Account, err)
	}
	switch v.Channel {
	case approval.HTTP:
		return &approval.Person{Approver: v.Account}, members, nil
	case approval.GitHub, approval.Console: // people sign in to the console by GitHub
		linked = events.GitHubAccount{Login: v.Name}
		if linked.ID, err = strconv.ParseInt(v.Account, 10, 64); err != nil {
			return nil, nil, events.Malformed(fmt.Errorf("GitHub's account %q is not a number", v.Account))
		}
	}
	if linked.ID == 0 {
		return nil, members, nil
	}
	who = &approval.Person{GitHubAccount: linked, Bot: strings.HasSuffix(linked.Login, "[bot]")}
	if i := slices.IndexFunc(members, func(m approval.Person) bool { return m.ID == linked.ID }); i >= 0 {
		who = &members[i]
	}
	return who, members, nil
}

// strongest keeps the first role of each person, who may have one in the project and one everywhere.
func strongest(sorted []approval.Person) (people []approval.Person) {
	for _, p := range sorted {
		same := func(o approval.Person) bool { return o.ID == p.ID && (p.ID != 0 || o.Login == p.Login) }
		if !slices.ContainsFunc(people, same) {
			people = append(people, p)
		}
	}
	return people
}
