package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/runtoken"
	"codexk8s.dev/test/hostile"
)

// TestHostileCalls: every call of an agent, which is not trusted. 409 is a session that somebody else saved meanwhile.
func TestHostileCalls(t *testing.T) {
	sum := sha256.Sum256([]byte("data"))
	for method, template := range map[string]string{
		"Heartbeat":      `{"phase":"think"}`,
		"AppendLogs":     `{"firstSeq":"1","lines":[{"at":"2026-11-01T12:00:00Z","stream":"agent","text":"hello"},{"stream":"runner","text":"x"}]}`,
		"ReportProgress": `{"text":"half way"}`,
		"LoadSnapshot":   `{}`,
		"SaveSnapshot": fmt.Sprintf(`{"expectedVersion":"0","threadId":"t","sha256":%q,"data":%q}`,
			base64.StdEncoding.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString([]byte("data"))),
		"Report": `{"outcome":"succeeded","reason":"r","summary":"s","branch":"b","headSha":"1","pullRequest":2,"pullRequestUrl":"u","threadId":"t","changedFiles":["a"]}`,
	} {
		t.Run(method, func(t *testing.T) {
			f := setup(t)
			bearer := "Bearer " + token(t, func(*runtoken.Claims) {})
			hostile.Try(t, template, func(c hostile.Case) (int, string) {
				f.exec(`DELETE FROM run_reports`)
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/"+agentapi.SessionServiceName+"/"+method, strings.NewReader(string(c.Data)))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", bearer)
				r.Header.Set("Content-Type", "application/json")
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				said, _ := io.ReadAll(resp.Body)
				return resp.StatusCode, string(said)
			}, http.StatusConflict)
		})
	}
}
