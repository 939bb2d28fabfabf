package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// A meanwhile is what happens to a run while it waits for people.
type meanwhile struct {
	what    string
	happens func(ctx context.Context, issue int, namespace string) error
	ends    string // the run's state and how many next Jobs it had
	shown   string // in the chats
	atOnce  bool   // it happens when the question is there, while the run's Job may still be ending
}

// TestWhatHappensWhileARunWaits: whatever becomes of the issue, the label, the namespace or the Job of a run that has
// asked, the run ends as people want it to, and all chats show that.
func TestWhatHappensWhileARunWaits(t *testing.T) {
	ctx, s := start(t, stack.Options{})
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	cluster, err := kube.Open(s.Platform.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	answer := func(_ context.Context, issue int, _ string) error {
		_, err := s.GitHub.Comment(stack.Repository, issue, "/answer 2", stack.Owner)
		return err
	}
	const answered, withdrawn = "Answered by " + stack.Owner, "Withdrawn"
	all := []meanwhile{
		{"it is answered while its Job ends", answer, "succeeded 1", answered, true},
		{"it is aborted", func(_ context.Context, issue int, _ string) error {
			return s.GitHub.AddLabel(stack.Repository, issue, "run:abort", stack.Owner)
		}, "cancelled 0", withdrawn, false},
		{"its issue is closed", func(_ context.Context, issue int, _ string) error {
			return s.GitHub.CloseIssue(stack.Repository, issue, stack.Owner)
		}, "cancelled 0", withdrawn, false},
		{"its label is taken off, which stops nothing", func(ctx context.Context, issue int, namespace string) error {
			if err := s.GitHub.RemoveLabel(stack.Repository, issue, stack.LabelDev, stack.Owner); err != nil {
				return err
			}
			return answer(ctx, issue, namespace)
		}, "succeeded 1", answered, false},
		{"its namespace goes", func(ctx context.Context, issue int, namespace string) error {
			ns, err := kube.Get[corev1.Namespace](ctx, cluster, gvr.Namespaces, "", namespace)
			if err != nil {
				return err
			}
			if err := cluster.Delete(ctx, gvr.Namespaces, ns, metav1.DeletePropagationBackground); err != nil {
				return err
			}
			return answer(ctx, issue, namespace)
		}, "succeeded 1", answered, false},
	}
	issues := make([]int, len(all))
	words := func(i int) string { return fmt.Sprintf("Which words for page %d?", i) }
	for i := range all {
		issues[i] = label(t, s, "One more language.\n\nAsk first: "+words(i)+" Bonjour | Salut")
		await(ctx, t, "the question in Telegram", func() bool { return len(postsWith(s, fakechat.Telegram, words(i))) == 1 })
		if !all[i].atOnce {
			waits(ctx, t, sql, issues[i])
		}
		if err := all[i].happens(ctx, issues[i], pgtest.One[string](sql, `SELECT namespace FROM runs WHERE issue = $1`, issues[i])); err != nil {
			t.Fatalf("%s: %v", all[i].what, err)
		}
	}
	for i, m := range all {
		ends(ctx, t, sql, issues[i])
		if diff := cmp.Diff([]string{m.ends}, sql.Lines(`SELECT state || ' ' || attempt FROM runs WHERE issue = $1`, issues[i])); diff != "" {
			t.Errorf("%s: the run (-want +got):\n%s", m.what, diff)
		}
		for _, channel := range []string{fakechat.Telegram, fakechat.Slack, fakechat.Mattermost, fakechat.Jira, fakechat.Approver} {
			await(ctx, t, m.shown+" in "+channel+" when "+m.what, func() bool {
				posts := postsWith(s, channel, words(i))
				return len(posts) == 1 && strings.Contains(posts[0].Text, m.shown)
			})
		}
	}
}
