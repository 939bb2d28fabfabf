package load

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"expvar"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
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
		slog.SetDefault(slog.New(slog.NewJSONHandler(censor(os.Stderr, secret), &slog.HandlerOptions{AddSource: true})))
		err = http.ListenAndServe(addr, http.HandlerFunc(hook))
	case "broker":
		err = takeEvents(addr)
	default:
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// What Prow's hook decodes: of every event, to know whose secret signed it, and then of an issue's.
type (
	anyEvent struct {
		Sender account      `json:"sender"`
		Org    organization `json:"organization"`
		Repo   repo         `json:"repository"`
	}
	issueEvent struct {
		Action string  `json:"action"`
		Issue  issue   `json:"issue"`
		Repo   repo    `json:"repository"`
		Label  label   `json:"label"`
		Sender account `json:"sender"`
	}
	account struct {
		Login       string `json:"login"`
		Name        string `json:"name"`
		Email       string `json:"email"`
		ID          int64  `json:"id"`
		URL         string `json:"html_url"`
		Type        string `json:"type"`
		Permissions rights `json:"permissions"`
	}
	organization struct {
		Login       string `json:"login"`
		ID          int64  `json:"id"`
		NodeID      string `json:"node_id"`
		Company     string `json:"company"`
		Email       string `json:"email"`
		Location    string `json:"location"`
		Name        string `json:"name"`
		Description string `json:"description"`
	}
	rights struct {
		Pull, Triage, Push, Maintain, Admin bool
	}
	label struct {
		URL         string `json:"url"`
		Name        string `json:"name"`
		Color       string `json:"color"`
		Description string `json:"description"`
	}
	issue struct {
		ID        int64     `json:"id"`
		NodeID    string    `json:"node_id"`
		Number    int       `json:"number"`
		Title     string    `json:"title"`
		State     string    `json:"state"`
		Reason    string    `json:"state_reason"`
		Body      string    `json:"body"`
		URL       string    `json:"html_url"`
		User      account   `json:"user"`
		Labels    []label   `json:"labels"`
		Assignees []account `json:"assignees"`
		CreatedAt time.Time `json:"created_at"`
		UpdatedAt time.Time `json:"updated_at"`
		Milestone struct {
			Title  string `json:"title"`
			Number int    `json:"number"`
			State  string `json:"state"`
		} `json:"milestone"`
		PullRequest *struct{} `json:"pull_request"`
	}
	repo struct {
		Owner         account `json:"owner"`
		Name          string  `json:"name"`
		FullName      string  `json:"full_name"`
		NodeID        string  `json:"node_id"`
		URL           string  `json:"html_url"`
		Description   string  `json:"description"`
		Homepage      string  `json:"homepage"`
		DefaultBranch string  `json:"default_branch"`
		Private       bool    `json:"private"`
		Fork          bool    `json:"fork"`
		Archived      bool    `json:"archived"`
		HasIssues     bool    `json:"has_issues"`
		HasProjects   bool    `json:"has_projects"`
		HasWiki       bool    `json:"has_wiki"`
		Permissions   rights  `json:"permissions"`
		Parent        *repo   `json:"parent"`
	}
)

// What Prow's hook counts: answers by their status, events by their type.
var answered, heard = new(expvar.Map), new(expvar.Map)

// censored writes log lines without the secrets.
type censored struct {
	io.Writer
	secrets *strings.Replacer
}

func (c censored) Write(line []byte) (int, error) {
	_, err := c.secrets.WriteString(c.Writer, string(line))
	return len(line), err
}

// censor hides each secret, and its form in base64.
func censor(w io.Writer, secrets ...string) io.Writer {
	var pairs []string
	for _, s := range secrets {
		for _, form := range []string{s, base64.StdEncoding.EncodeToString([]byte(s))} {
			pairs = append(pairs, form, strings.Repeat("X", len(form)))
		}
	}
	return censored{w, strings.NewReplacer(pairs...)}
}

// hook is the common way to take webhooks, with the steps that Prow's hook takes: the payload is decoded for the name
// of the repository, the repository's secret looked up in a file, the signature checked; the answer says that it has
// come; the payload is decoded as what it is and handed to a goroutine, which logs it with the caller's place and
// without secrets. It is stored nowhere: what this process has not done when it ends is lost.
//
// Beside Prow's own code in one process (its types, logger and counters of June 2024, the signature by SHA-256 as
// today, no plugin enabled) it takes 0.93 to 0.95 of its processor time for the example payload.
// https://github.com/kubernetes-sigs/prow/blob/main/pkg/hook/server.go
// https://github.com/kubernetes-sigs/prow/blob/main/pkg/hook/events.go
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
	answered.Add(strconv.Itoa(http.StatusAccepted), 1)
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprint(w, "Event received. Have a nice day.")
	log := slog.With("event-type", r.Header.Get("X-GitHub-Event"), "event-GUID", r.Header.Get("X-GitHub-Delivery"))
	heard.Add(r.Header.Get("X-GitHub-Event"), 1)
	var e issueEvent
	if err := json.Unmarshal(body, &e); err != nil {
		log.Error("Error parsing event.", "error", err)
		return
	}
	go func() {
		log.Info("Issue "+e.Action+".", "component", "hook", "org", e.Repo.Owner.Login, "repo", e.Repo.Name, "pr", e.Issue.Number,
			"author", e.Issue.User.Login, "url", e.Issue.URL)
	}()
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

// takeEvents stands for the Broker, which runs elsewhere, and so costs as little as it can. It takes every POST; to a
// GET it says how many.
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
