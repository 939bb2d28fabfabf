package load

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
)

// hookPort is the variable that makes the test's own program the hook of BenchmarkHook.
const hookPort = "LOAD_HOOK_PORT"

// TestMain serves the hook where this process was started for it.
func TestMain(m *testing.M) {
	if port := os.Getenv(hookPort); port != "" {
		fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(hook)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// An issueEvent is what a hook of this kind decodes of issues.labeled before it answers.
type issueEvent struct {
	Action string  `json:"action"`
	Issue  issue   `json:"issue"`
	Label  label   `json:"label"`
	Repo   repo    `json:"repository"`
	Sender account `json:"sender"`
}

type (
	account struct {
		Login string `json:"login"`
		ID    int64  `json:"id"`
		URL   string `json:"html_url"`
		Type  string `json:"type"`
	}
	label struct {
		Name        string `json:"name"`
		Color       string `json:"color"`
		Description string `json:"description"`
	}
	issue struct {
		ID        int64     `json:"id"`
		Number    int       `json:"number"`
		Title     string    `json:"title"`
		State     string    `json:"state"`
		Body      string    `json:"body"`
		URL       string    `json:"html_url"`
		User      account   `json:"user"`
		Labels    []label   `json:"labels"`
		Assignees []account `json:"assignees"`
	}
	repo struct {
		Owner         account `json:"owner"`
		Name          string  `json:"name"`
		FullName      string  `json:"full_name"`
		URL           string  `json:"html_url"`
		DefaultBranch string  `json:"default_branch"`
		Private       bool    `json:"private"`
	}
)

// hook is the common way to take webhooks, that of Prow's hook above all: the signature is checked, the payload decoded and
// handed to a goroutine, and the answer says that it has come. It is stored nowhere: what this process has not done
// when it ends is lost.
func hook(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/readyz" {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	if given := r.Header.Get("X-Hub-Signature-256"); !hmac.Equal([]byte("sha256="+hex.EncodeToString(mac.Sum(nil))), []byte(given)) {
		http.Error(w, "403 Forbidden: Invalid X-Hub-Signature", http.StatusForbidden)
		return
	}
	var e issueEvent
	if err := json.Unmarshal(body, &e); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	go func() {
		slog.Info("issue event", "event-type", r.Header.Get("X-GitHub-Event"), "event-GUID", r.Header.Get("X-GitHub-Delivery"),
			"org", e.Repo.Owner.Login, "repo", e.Repo.Name, "issue", e.Issue.Number, "action", e.Action)
	}()
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprint(w, "Event received. Have a nice day.")
}

// BenchmarkHook is what BenchmarkWebhook is held against: the same deliveries to a hook that stores nothing.
func BenchmarkHook(b *testing.B) {
	ordinary, example := labeledPayloads(b)
	for name, payload := range map[string][]byte{"ordinary": ordinary, "example": bytes.Clone(example)} {
		b.Run(name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			h := &adapter{addr: l.Addr().String(), cmd: exec.Command(os.Args[0])}
			l.Close()
			_, port, _ := net.SplitHostPort(h.addr)
			h.cmd.Env = append(os.Environ(), hookPort+"="+port)
			h.start(b)
			measure(b, h, payload)
		})
	}
}
