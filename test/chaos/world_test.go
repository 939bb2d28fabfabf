package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local"
	"codexk8s.dev/test/local/stack"
)

// parallel is how many agents work at a time; more than the machine's cores, as agents mostly wait for Git.
const parallel = 10

// world is the platform with what the test does to it.
type world struct {
	t      *testing.T
	stack  *stack.Stack
	db     *pgxpool.Pool // as the superuser
	store  *store.DB
	issues []int
	asked  int             // questions, see ask
	wants  map[int]outcome // of issues that should not end as the others
	seed   uint64
	chaos  sync.WaitGroup
	stats  stats
}

// projects binds the demonstration's repository to a project that has places enough.
const projects = `
owners: [%s]
projects:
  - id: chaos
    settings: {engine: builtin, parallel: %d}
    repositories: [%s]
`

// start starts the platform and opens n issues. change may change what the platform is started with.
func start(t *testing.T, n int, seed uint64, change ...func(*local.Options)) *world {
	t.Helper()
	w := &world{t: t, seed: seed, wants: map[int]outcome{}}
	dir := t.TempDir()
	projectsFile := write(t, dir, "projects.yaml", fmt.Sprintf(projects, stack.Owner, parallel, stack.Repository))
	processFile := write(t, dir, "process.yaml", process(t, filepath.Join("..", "..")))
	s, err := stack.Start(t.Context(), stack.Options{
		Outside:     stack.Outside{ProjectsFile: projectsFile},
		OnDelivery:  w.stats.delivery,
		GitHubClock: func() time.Time { return time.Now().Add(-time.Minute) },
		Change: func(o *local.Options) {
			for _, function := range []string{"stage-router", "agent-gateway"} {
				if o.Env[function] == nil {
					o.Env[function] = map[string]string{}
				}
				o.Env[function]["PROCESS_FILE"] = processFile
			}
			o.PingEvery = -1
			o.JobRetryDelay = 300 * time.Millisecond
			for _, f := range change {
				f(o)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	w.stack = s
	// Models think for a while, and may be cut off while they do.
	s.Model.Behave(model.Behaviour{Mode: model.Slow, Delay: 100 * time.Millisecond})
	if w.db, err = pgxpool.New(t.Context(), s.Platform.DatabaseURL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.db.Close)
	if w.store, err = store.Open(t.Context(), "chaos", s.Platform.DatabaseURL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close(context.Background()) })
	for i := range n {
		issue, err := s.GitHub.CreateIssue(stack.Repository, fmt.Sprintf("Page %d", i+1), "Write it.", stack.Owner)
		if err != nil {
			t.Fatal(err)
		}
		w.issues = append(w.issues, issue)
	}
	return w
}

// process is the platform's own process, of the release in that directory, with places for more agents at a time and no
// rule of storms.
func process(t *testing.T, release string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(release, "shared", "stage", "process.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	data = regexp.MustCompile(`(?m)^storm:.*$`).ReplaceAll(data, nil)
	return regexp.MustCompile(`(?m)parallel: \d+$`).ReplaceAllString(string(data), fmt.Sprintf("parallel: %d", parallel))
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// random is a source of random choices of its own for each kind of trouble, so that one does not change the others'.
func (w *world) random(kind uint64) *rand.Rand { return rand.New(rand.NewPCG(w.seed, kind)) }

// pass lets time pass for what may be lost: events that nobody has recorded and the last comparison with GitHub are d
// older.
func (w *world) pass(ctx context.Context, d time.Duration) error {
	batch := &pgx.Batch{}
	batch.Queue(`
		UPDATE pending p
		SET due_at = due_at - $1::interval
		FROM events e
		WHERE (p.source, p.id) = (e.source, e.id) AND (e.not_before IS NULL OR e.not_before <= now())
	`, d)
	batch.Queue(`UPDATE repositories SET reconciled_at = reconciled_at - $1::interval`, d)
	return w.db.SendBatch(ctx, batch).Close()
}

// passTimers lets time pass for the timers. Not while runs are at work: their agents do not get faster.
func (w *world) passTimers(ctx context.Context, d time.Duration) {
	batch := &pgx.Batch{}
	batch.Queue(`
		UPDATE pending p
		SET due_at = due_at - $1::interval
		FROM events e
		WHERE (p.source, p.id) = (e.source, e.id) AND e.not_before > now()
	`, d)
	batch.Queue(`UPDATE events SET not_before = not_before - $1::interval WHERE not_before > now()`, d)
	if err := w.db.SendBatch(ctx, batch).Close(); err != nil {
		w.t.Fatalf("letting the timers come due: %v", err)
	}
}

// texts collects rows as their values with spaces between.
func texts(rows pgx.Rows) ([]string, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		line := ""
		for i, v := range values {
			if i > 0 {
				line += "  "
			}
			if at, ok := v.(time.Time); ok {
				v = at.UTC().Format("15:04:05.000")
			}
			line += fmt.Sprint(v)
		}
		return line, err
	})
}
