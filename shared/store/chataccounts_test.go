package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

var annOnTelegram = events.Voter{Channel: approval.Telegram, Account: "77", Name: "Ann"}

func (w *world) members() {
	w.sql.Do(`
		INSERT INTO members (project_id, login, role, github_id)
		VALUES ('shop', 'ann', 'maintainer', 1), ('*', 'ann', 'owner', 1), ('shop', 'bob', 'reader', NULL), ('*', 'robot[bot]', 'admin', 9)
	`)
}

func (w *world) voter(db *store.DB, v events.Voter) (who *approval.Person, members []approval.Person) {
	w.Helper()
	err := w.inStep(db, "who", func(ctx context.Context, tx *store.Tx) (err error) {
		who, members, err = tx.Voter(ctx, v, "shop")
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return who, members
}

func TestACodeLinksAnAccountOnce(t *testing.T) {
	w := newWorld(t)
	w.members()
	db := w.as("approval-callback")
	if who, _ := w.voter(db, annOnTelegram); who != nil {
		t.Fatalf("an account that nobody linked is %+v", who)
	}
	code, err := db.LinkCode(t.Context(), "Ann")
	if err != nil {
		t.Fatal(err)
	}
	said := atOnce(3, func(int) error {
		_, err := db.LinkAccount(context.Background(), strings.ToLower(code), annOnTelegram)
		return err
	})
	if said["<nil>"] != 1 || said["the code: not found"] != 2 {
		t.Errorf("a code that three send at once: %v", said)
	}
	who, members := w.voter(db, annOnTelegram)
	ann := approval.Person{GitHubAccount: events.GitHubAccount{Login: "ann", ID: 1}, Role: access.Owner}
	if diff := cmp.Diff(&ann, who); diff != "" {
		t.Error(diff)
	}
	robot := approval.Person{GitHubAccount: events.GitHubAccount{Login: "robot[bot]", ID: 9}, Role: access.Admin, Bot: true}
	bob := approval.Person{GitHubAccount: events.GitHubAccount{Login: "bob"}, Role: access.Reader}
	if diff := cmp.Diff([]approval.Person{ann, robot, bob}, members); diff != "" {
		t.Errorf("members, each once with the strongest role: %s", diff)
	}
	want := []string{"github:ann account.linked telegram's account 77 (Ann) is @ann"}
	if diff := cmp.Diff(want, w.sql.Lines(`SELECT actor || ' ' || action || ' ' || detail FROM audit`)); diff != "" {
		t.Error(diff)
	}
	if n := w.sql.Lines(`SELECT 'kept in plain' FROM chat_codes WHERE encode(hash, 'escape') LIKE '%' || $1 || '%'`, code); len(n) != 0 {
		t.Error(n)
	}
}

func TestACodeThatIsNoneLinksNothing(t *testing.T) {
	w := newWorld(t)
	w.members()
	db := w.as("approval-callback")
	code, err := db.LinkCode(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	w.pass(store.CodeFor)
	for _, c := range []string{code, "", "AAAA", "x\x00"} {
		if _, err := db.LinkAccount(t.Context(), c, annOnTelegram); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("code %q: %v", c, err)
		}
	}
	for _, login := range []string{"bob", "mallory", ""} { // bob's number is not known yet
		if _, err := db.LinkCode(t.Context(), login); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a code for %q: %v", login, err)
		}
	}
}

func TestWhoVotes(t *testing.T) {
	w := newWorld(t)
	w.members()
	db := w.as("approval-gate")
	for name, c := range map[string]struct {
		by   events.Voter
		want *approval.Person
	}{
		"a member on GitHub, renamed since": {events.Voter{Channel: approval.GitHub, Account: "1", Name: "ann-2"},
			&approval.Person{GitHubAccount: events.GitHubAccount{Login: "ann", ID: 1}, Role: access.Owner}},
		"a stranger with a member's login": {events.Voter{Channel: approval.GitHub, Account: "666", Name: "ann"},
			&approval.Person{GitHubAccount: events.GitHubAccount{Login: "ann", ID: 666}}},
		"an HTTP approver": {events.Voter{Channel: approval.HTTP, Account: "ops"}, &approval.Person{Approver: "ops"}},
		"nobody":           {events.Voter{Channel: approval.Slack, Account: "77"}, nil},
	} {
		if who, _ := w.voter(db, c.by); cmp.Diff(c.want, who) != "" {
			t.Errorf("%s: %s", name, cmp.Diff(c.want, who))
		}
	}
}
