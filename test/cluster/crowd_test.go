//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/local/stack"
)

// crowdRepositories share the issues of a crowd, as GitHub sends the webhooks of one repository one after the other.
const crowdRepositories = 4

// crowd is many issues that a reader of the project labels. Each label is one webhook, one decision (no), and one
// comment that says why: effects to be counted, without a pod for each.
type crowd struct {
	repos []string
	size  int
	begun time.Time
}

// newCrowd opens the issues while no webhook is connected, so that labels are all that happens.
func (w *world) newCrowd(t *testing.T, name string, size int) *crowd {
	t.Helper()
	c := &crowd{size: size}
	for n := range crowdRepositories {
		repo := w.repo("crowd-" + name + "-" + strconv.Itoa(n))
		c.repos = append(c.repos, repo)
		if err := w.github.RemoveHooks(repo); err != nil {
			t.Fatal(err)
		}
	}
	for n := range size {
		if _, err := w.github.CreateIssue(c.repos[n%crowdRepositories], "Wish "+strconv.Itoa(n), "", reader); err != nil {
			t.Fatal(err)
		}
	}
	for _, repo := range c.repos {
		if _, err := w.github.AddHook(repo, fakegithub.HookOptions{URL: w.hook, Secret: w.secret}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.github.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// label labels every issue at once.
func (c *crowd) label(t *testing.T) {
	t.Helper()
	c.begun = time.Now()
	for n := range c.size {
		if err := it.github.AddLabel(c.repos[n%crowdRepositories], n/crowdRepositories+1, stack.LabelDev, reader); err != nil {
			t.Fatal(err)
		}
	}
}

// answers counts the issues that have one comment, and those that have more.
func (c *crowd) answers() (once, doubled int) {
	for n := range c.size {
		switch len(it.github.Comments(c.repos[n%crowdRepositories], n/crowdRepositories+1)) {
		case 0:
		case 1:
			once++
		default:
			doubled++
		}
	}
	return once, doubled
}

// at waits until that share of the issues has its answer.
func (c *crowd) at(t *testing.T, percent int) {
	t.Helper()
	until(t, 5*time.Minute, func(context.Context) (string, error) {
		once, doubled := c.answers()
		if (once+doubled)*100 < c.size*percent {
			return fmt.Sprintf("%d%% of %d answers, there are %d", percent, c.size, once+doubled), nil
		}
		return "", nil
	})
}

// settle waits until every issue has its answer and nothing is owed, and holds that no answer was given twice and no
// event was given up.
func (c *crowd) settle(t *testing.T) {
	t.Helper()
	until(t, 15*time.Minute, func(context.Context) (string, error) {
		if once, doubled := c.answers(); once+doubled < c.size {
			return fmt.Sprintf("all of %d answers, there are %d", c.size, once+doubled), nil
		}
		return "", nil
	})
	answered := time.Since(c.begun)
	it.settled(t)
	once, doubled := c.answers()
	taken := 0
	for _, d := range it.github.Deliveries() {
		if d.OK() && !d.Redelivery && d.Event == "issues" && d.Action == "labeled" && !d.DeliveredAt.Before(c.begun.Truncate(time.Second)) {
			taken++
		}
	}
	t.Logf("%d labels: %d answered once, %d doubled, %d lost; all answered after %s, nothing owed after %s; %d of the webhooks were taken",
		c.size, once, doubled, c.size-once-doubled, answered.Round(time.Second), time.Since(c.begun).Round(time.Second), taken)
	if once != c.size {
		t.Errorf("%d of %d issues have exactly one comment, %d have more", once, c.size, doubled)
	}
	it.noDeadLetters(t, c.begun)
}

// settled waits until no function owes a receipt for an event that is due.
func (w *world) settled(t *testing.T) {
	t.Helper()
	until(t, 10*time.Minute, func(ctx context.Context) (string, error) {
		var n int
		err := w.db.QueryRow(ctx, `
			SELECT count(*)
			FROM pending JOIN events USING (source, id)
			WHERE not_before IS NULL OR not_before <= now()
		`).Scan(&n)
		if n > 0 {
			return fmt.Sprintf("receipts for %d events", n), err
		}
		return "", err
	})
}

// noDeadLetters holds that nothing was given up since then.
func (w *world) noDeadLetters(t *testing.T, since time.Time) {
	t.Helper()
	rows, err := w.db.Query(t.Context(), `SELECT function, type, code, error FROM dead_letters WHERE died_at >= $1`, since)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var function, kind, text string
		var code int
		if err := rows.Scan(&function, &kind, &code, &text); err != nil {
			t.Fatal(err)
		}
		t.Errorf("dead letter of %s: %s, %d %s", function, kind, code, text)
	}
}
