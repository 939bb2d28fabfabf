package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"testing"

	"codexk8s.dev/shared/chat"
	fakechat "codexk8s.dev/test/fakes/chat"
)

// logged is what is logged from now on, at every level.
func logged(t *testing.T) *bytes.Buffer {
	t.Helper()
	var log bytes.Buffer
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(was) })
	return &log
}

// keepsNoSecret looks for secrets of the settings, and for what proves a request to be genuine, in the log, in all that
// is stored, and in all that people and services were shown or answered.
func (f *fixture) keepsNoSecret(log string) {
	f.Helper()
	secrets := map[string]string{
		"the chats": f.fake.Secret(), "the bots": fakechat.Token, "our own key": key,
		"a signature": f.wire.last.header.Get(chat.HeaderSignature), "a callback's address": path.Base(f.wire.last.url),
	}
	kept := map[string]string{
		"the log":    log,
		"the audit":  strings.Join(f.sql.Lines(`SELECT a::text FROM audit AS a`), "\n"),
		"the events": strings.Join(f.sql.Lines(`SELECT convert_from(data, 'UTF8') FROM events`), "\n"),
		"requests":   strings.Join(f.sql.Lines(`SELECT a::text FROM approvals AS a UNION ALL SELECT m::text FROM chat_messages AS m`), "\n"),
		"answers":    strings.Join(f.wire.answers, "\n"),
	}
	for channel := range places {
		for _, p := range f.fake.Posts(inFake(channel)) {
			kept["messages in "+channel] += p.Text + "\n"
		}
		kept["words in "+channel] = fmt.Sprint(f.fake.Told(inFake(channel)))
	}
	for where, text := range kept {
		for whose, secret := range secrets {
			if secret == "" {
				f.Errorf("the secret of %s is empty", whose)
			} else if i := strings.Index(text, secret); i >= 0 {
				f.Errorf("%s: there is a secret of %s: …%s", where, whose, text[max(0, i-100):i+len(secret)])
			}
		}
	}
}
