package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
)

// TestNoSecretIsKept: a service that answers by repeating all that it was sent, as proxies do when they are debugged,
// with each status that it may have, and one that is not there. What is logged, stored and said of it has none of our
// secrets in it.
func TestNoSecretIsKept(t *testing.T) {
	f := setup(t)
	var log bytes.Buffer
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(was) })

	secrets := map[string]string{
		"our key": "SECRET-OUR-KEY", "Telegram": "4242:SECRET-TELEGRAM", "Slack": "xoxb-SECRET-SLACK", "Mattermost": "SECRET-MATTERMOST", "Jira": "SECRET-JIRA",
		"the approver": "SECRET-APPROVER",
	}
	status, tags := http.StatusOK, map[string]bool{}
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var head bytes.Buffer
		_ = r.Header.Write(&head)
		for _, tag := range regexp.MustCompile(`webhook/desk/([A-Za-z0-9_-]{48})`).FindAllSubmatch(body, -1) {
			tags[string(tag[1])] = true
		}
		_, password, _ := r.BasicAuth()
		said := strings.Join([]string{r.URL.String(), head.String(), password, string(body)}, "\n")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"ok": false, "error_code": max(status, 400), "description": said, "error": said, "message": said, "id": said, "errorMessages": []string{said},
			"decision": "error", "reason": said,
		})
	}))
	t.Cleanup(echo.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	at := []events.ApprovalTarget{telegram, slack, {Channel: approval.Mattermost, Target: "abcdefghijklmnopqrstuvwx12"}, {Channel: approval.Jira, Target: "OPS/Task"}, {Channel: approval.HTTP, Target: "desk"}}
	n := 0
	for _, url := range []string{echo.URL, gone.URL, "http://nobody.invalid"} {
		channels, err := chat.Connect(chat.Settings{
			Keys: secrets["our key"], Callback: "https://codexk8s.example.com", ApproverNetworks: "127.0.0.0/8",
			TelegramAPI: url, TelegramToken: secrets["Telegram"], SlackAPI: url, SlackToken: secrets["Slack"],
			MattermostAPI: url, MattermostToken: secrets["Mattermost"], JiraAPI: url, JiraEmail: "bot@acme.example", JiraToken: secrets["Jira"],
			Approvers: "desk " + url + " " + secrets["the approver"],
		})
		if err != nil {
			t.Fatal(err)
		}
		f.serve(&handler{db: f.db, channels: channels, send: f.send})
		for _, status = range []int{200, 307, 400, 401, 404, 409, 429, 500, 503} {
			n++
			f.hear("first "+url+http.StatusText(status), changed(int64(n), approval.Open, at...), 20*time.Minute)
			if url != echo.URL {
				break
			}
		}
	}
	kept := log.String() + strings.Join(f.sql.Lines(`SELECT a::text FROM audit a UNION ALL SELECT convert_from(data, 'UTF8') FROM events UNION ALL SELECT m::text FROM chat_messages m`), "\n")
	if !strings.Contains(kept, "[secret]") || !strings.Contains(kept, `"reason":"unreachable"`) || len(tags) == 0 {
		t.Errorf("%d addresses of callbacks were sent, and nothing of what the services said is kept: %.2000s", len(tags), kept)
	}
	for tag := range tags {
		secrets["the address of a callback, "+tag] = tag
	}
	for whose, secret := range secrets {
		if i := strings.Index(kept, secret); i >= 0 {
			t.Errorf("a secret of %s is kept: …%s", whose, kept[max(0, i-200):i+len(secret)])
		}
	}
}
