//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/test/local/stack"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNothingIsLostOrDoubledWhenTheBrokersPodsAreDeleted deletes the ingress, the filter and the dispatcher of the
// in-memory channel three times while 1,000 labels are handled. What the channel held is gone each time.
func TestNothingIsLostOrDoubledWhenTheBrokersPodsAreDeleted(t *testing.T) {
	c := it.newCrowd(t, "broker", 1000)
	c.label(t)
	for _, percent := range []int{10, 35, 60} {
		c.at(t, percent)
		for _, app := range []string{"imc-dispatcher", "mt-broker-ingress", "mt-broker-filter"} {
			it.kill(t, "knative-eventing", app)
		}
		once, _ := c.answers()
		t.Logf("%6.1fs: deleted the broker's pods at %d answers", time.Since(c.begun).Seconds(), once)
	}
	c.settle(t)
}

// TestNothingIsLostOrDoubledWhenPostgresIsRestarted kills the database in the middle.
func TestNothingIsLostOrDoubledWhenPostgresIsRestarted(t *testing.T) {
	c := it.newCrowd(t, "postgres", 200)
	c.label(t)
	c.at(t, 20)
	it.kill(t, namespace, "postgres-")
	t.Logf("%6.1fs: deleted Postgres", time.Since(c.begun).Seconds())
	it.hurryComparison(t, c)
	c.settle(t)
}

// TestARolloutUnderLoadLosesAndDoublesNothing makes new revisions of the functions that are at work.
func TestARolloutUnderLoadLosesAndDoublesNothing(t *testing.T) {
	c := it.newCrowd(t, "rollout", 300)
	c.label(t)
	for _, percent := range []int{15, 50} {
		c.at(t, percent)
		for _, function := range []string{"webhook-adapter", "stage-router", "github-caller"} {
			patch := fmt.Sprintf(`[{"op":"add","path":"/spec/template/metadata/annotations/codexk8s.dev~1rollout","value":%q}]`, random(4))
			if _, err := it.kubectl(t.Context(), "-n", namespace, "patch", "ksvc", function, "--type=json", "-p", patch); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%6.1fs: new revisions", time.Since(c.begun).Seconds())
		until(t, 3*time.Minute, func(ctx context.Context) (string, error) { return "", it.servicesReady(ctx) })
		t.Logf("%6.1fs: they are ready", time.Since(c.begun).Seconds())
	}
	it.hurryComparison(t, c)
	c.settle(t)
}

// kill deletes pods without grace; their names begin with the prefix.
func (w *world) kill(t *testing.T, in, prefix string) {
	t.Helper()
	pods, err := list[corev1.Pod](t.Context(), w, "v1/pods", in, "")
	if err != nil {
		t.Fatal(err)
	}
	now := int64(0)
	killed := 0
	for _, p := range pods {
		if strings.HasPrefix(p.Name, prefix) {
			killed++
			if err := w.api.Resource(resource("v1/pods")).Namespace(in).Delete(t.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
				t.Logf("deleting %s: %v", p.Name, err)
			}
		}
	}
	if killed == 0 {
		t.Fatalf("no pod %s… in %s to kill", prefix, in)
	}
}

// hurryComparison has timekeeper ask GitHub for its list of deliveries at the next tick: GitHub never repeats a webhook
// that nobody took.
func (w *world) hurryComparison(t *testing.T, c *crowd) {
	t.Helper()
	if err := w.github.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, 2*time.Minute, func(ctx context.Context) (string, error) {
		_, err := w.db.Exec(ctx, `UPDATE repositories SET reconciled_at = reconciled_at - interval '10 minutes' WHERE full_name = ANY($1)`, c.repos)
		return "", err
	})
}

// TestAFunctionThatIsKilledWhileItHandlesAnEventLosesAndDoublesNothing kills each function in the chain of a run at the
// moment when it has acted and not yet recorded: its receipt is held up by a lock. llm-caller and agent-gateway leave
// no receipts; they are killed while the agent talks to them.
func TestAFunctionThatIsKilledWhileItHandlesAnEventLosesAndDoublesNothing(t *testing.T) {
	for _, function := range []string{"stage-router", "agent-launcher", "github-caller", "run-observer", "agent-gateway", "llm-caller"} {
		t.Run(function, func(t *testing.T) {
			begun := time.Now()
			repo := it.repo("killed-" + function)
			issue := it.newIssue(t, repo, stack.IssueTitle, "")
			it.settled(t)
			if function == "agent-gateway" || function == "llm-caller" {
				it.label(t, repo, issue)
				it.agentRuns(t, repo)
				it.killRunning(t, function)
			} else {
				release := it.hold(t, function)
				it.label(t, repo, issue)
				it.awaitHeld(t)
				it.kill(t, namespace, function)
				release()
			}
			it.finished(t, repo, issue, "succeeded", "")
			it.settled(t)
			it.once(t, repo, issue)
			it.noDeadLetters(t, begun)
		})
	}
}

const holdKey = 4711 // of the advisory lock

// hold lets the function wait when it writes a receipt, until release.
func (w *world) hold(t *testing.T, function string) (release func()) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := w.db.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		fmt.Sprintf(`SELECT pg_advisory_lock(%d)`, holdKey),
		fmt.Sprintf(`CREATE OR REPLACE FUNCTION test_hold() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN PERFORM pg_advisory_xact_lock_shared(%d); RETURN NEW; END $$`, holdKey),
		fmt.Sprintf(`CREATE TRIGGER test_hold BEFORE INSERT ON inbox FOR EACH ROW WHEN (NEW.function = '%s') EXECUTE FUNCTION test_hold()`, function),
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	done := false
	release = func() {
		if done {
			return
		}
		done = true
		// The lock first: those who wait for it hold the table.
		_, err := conn.Exec(ctx, fmt.Sprintf(`SELECT pg_advisory_unlock(%d)`, holdKey))
		if err == nil {
			_, err = conn.Exec(ctx, `DROP TRIGGER test_hold ON inbox`)
		}
		if err != nil {
			t.Errorf("releasing: %v", err)
		}
		conn.Release()
	}
	t.Cleanup(release)
	return release
}

// awaitHeld waits until somebody waits for the lock.
func (w *world) awaitHeld(t *testing.T) {
	t.Helper()
	until(t, labelTime, func(ctx context.Context) (string, error) {
		var n int
		err := w.db.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'`).Scan(&n)
		if n == 0 {
			return "the function to be held at its receipt", err
		}
		return "", err
	})
}

// labelTime is how long something may take that follows from a label. GitHub waits ten seconds for a webhook to be
// taken, which a function that starts on a busy machine may miss; what was not taken is fetched five minutes later.
const labelTime = 10 * time.Minute

func (w *world) label(t *testing.T, repo string, issue int) {
	t.Helper()
	if err := w.github.AddLabel(repo, issue, stack.LabelDev, owner); err != nil {
		t.Fatal(err)
	}
}

// finished waits until the issue's only run has ended in that way and GitHub shows it.
func (w *world) finished(t *testing.T, repo string, issue int, state, reason string) {
	t.Helper()
	type end struct{ State, Reason string }
	until(t, labelTime, func(ctx context.Context) (string, error) {
		var got end
		var message string
		err := w.db.QueryRow(ctx, `SELECT state, reason, message FROM runs WHERE repository = $1 AND issue = $2 ORDER BY created_at DESC LIMIT 1`,
			repo, issue).Scan(&got.State, &got.Reason, &message)
		if err != nil {
			return "the run", err
		}
		want := end{state, reason}
		switch got.State {
		case "succeeded", "failed", "cancelled", "timed_out":
			if diff := cmp.Diff(want, got); diff != "" {
				return "", fatal{fmt.Errorf("how the run ended, %q (-want +got):\n%s", message, diff)}
			}
			if message != "" {
				t.Logf("%s %s: %s", got.State, got.Reason, message)
			}
			return "", nil
		}
		return fmt.Sprintf("a run that %s (%s), it is %s", state, reason, got.State), nil
	})
	until(t, 2*time.Minute, func(context.Context) (string, error) {
		is, err := w.github.Issue(repo, issue)
		for _, label := range is.Labels {
			if strings.HasPrefix(label, "run:") {
				return "label " + label + " to be taken off", err
			}
		}
		return "", err
	})
}

// once holds that the issue has one run, one pull request, one comment.
func (w *world) once(t *testing.T, repo string, issue int) {
	t.Helper()
	type effects struct{ Runs, PullRequests, Comments int }
	got := effects{PullRequests: len(w.github.PullRequests(repo)), Comments: len(w.github.Comments(repo, issue))}
	if err := w.db.QueryRow(t.Context(), `SELECT count(*) FROM runs WHERE repository = $1`, repo).Scan(&got.Runs); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(effects{1, 1, 1}, got); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}
