package load

import (
	"bufio"
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
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// role is the variable that makes the test's own program another side of a benchmark: a hook, or a Broker.
const role = "LOAD_ROLE"

// TestMain serves what this process was started for.
func TestMain(m *testing.M) {
	addr := "127.0.0.1:" + os.Getenv("PORT")
	var err error
	switch os.Getenv(role) {
	case "hook":
		slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
		err = http.ListenAndServe(addr, http.HandlerFunc(hook))
	case "broker":
		err = takeEvents(addr)
	default:
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// What a hook of this kind decodes: of every event, to know whose secret signed it, and then of issues.labeled.
type (
	anyEvent struct {
		Sender account `json:"sender"`
		Org    account `json:"organization"`
		Repo   repo    `json:"repository"`
	}
	issueEvent struct {
		Action string  `json:"action"`
		Issue  issue   `json:"issue"`
		Repo   repo    `json:"repository"`
		Label  label   `json:"label"`
		Sender account `json:"sender"`
	}
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
		CreatedAt time.Time `json:"created_at"`
		UpdatedAt time.Time `json:"updated_at"`
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

// hook is the common way to take webhooks, with the steps that Prow's hook takes: the payload is decoded for the name
// of the repository, the repository's secret looked up in a file, the signature checked; the payload is decoded as what
// it is and handed to a goroutine, and the answer says that it has come. It is stored nowhere: what this process has not
// done when it ends is lost.
// https://github.com/kubernetes-sigs/prow/blob/main/pkg/hook/server.go
// https://github.com/kubernetes-sigs/prow/blob/main/pkg/github/hmac.go
func hook(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		return // ready
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := signed(body, r.Header.Get("X-Hub-Signature-256")); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	var e issueEvent
	if err := json.Unmarshal(body, &e); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	go func() {
		slog.Info("issue event", "event-type", r.Header.Get("X-GitHub-Event"), "event-GUID", r.Header.Get("X-GitHub-Delivery"),
			"org", e.Repo.Owner.Login, "repo", e.Repo.Name, "issue", e.Issue.Number, "author", e.Issue.User.Login, "url", e.Issue.URL, "action", e.Action)
	}()
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprint(w, "Event received. Have a nice day.")
}

func signed(body []byte, signature string) error {
	var e anyEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return err
	}
	secrets := map[string][]struct{ Value string }{}
	if err := yaml.Unmarshal([]byte(`"*": [{value: `+secret+`}]`), &secrets); err != nil {
		return err
	}
	for _, name := range []string{e.Repo.FullName, e.Repo.Owner.Login, "*"} {
		for _, s := range secrets[name] {
			mac := hmac.New(sha256.New, []byte(s.Value))
			mac.Write(body)
			if hmac.Equal([]byte("sha256="+hex.EncodeToString(mac.Sum(nil))), []byte(signature)) {
				return nil
			}
		}
	}
	return fmt.Errorf("no secret of %s signed this", e.Repo.FullName)
}

// takeEvents stands for the Broker, which runs elsewhere, and so costs as little as it can. It takes every POST; to a GET it
// says how many.
func takeEvents(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	var taken atomic.Int64
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			in := bufio.NewReaderSize(conn, 64<<10)
			for {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				if _, err := io.Copy(io.Discard, req.Body); err != nil {
					return
				}
				answer := "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
				if req.Method == http.MethodGet {
					n := strconv.FormatInt(taken.Load(), 10)
					answer = "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(n)) + "\r\n\r\n" + n
				} else {
					taken.Add(1)
				}
				if _, err := io.WriteString(conn, answer); err != nil {
					return
				}
			}
		}()
	}
}
