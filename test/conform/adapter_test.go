package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/webhook"
)

// An adapter keeps the contract, but for the fault that it is given.
type adapter struct {
	*httptest.Server
	fault   string
	secrets webhook.Secrets

	mu      sync.Mutex
	shown   []*shown // a message each, with buttons
	calling sync.Mutex
}

// shown is a request as people see it.
type shown struct {
	id, back string
	options  []string // of a question
	over     bool
}

func newAdapter(t *testing.T, fault, secret string) *adapter {
	t.Helper()
	a := &adapter{fault: fault}
	if secret != "" {
		a.secrets = webhook.Secrets{[]byte(secret)}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /approve", a.ask)
	mux.HandleFunc("POST /execute", a.ask)
	mux.HandleFunc("POST /decided", a.ended)
	mux.HandleFunc("POST /test/{id}", func(w http.ResponseWriter, r *http.Request) {
		option, _ := strconv.Atoi(r.FormValue("option"))
		if err := a.press(r.Context(), r.PathValue("id"), act{r.FormValue("act"), option, r.FormValue("text")}); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	})
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func (a *adapter) is(fault string) bool { return a.fault == fault }

func (a *adapter) restart(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.is("forgets") {
		a.shown = nil
	}
	if a.is("does not come back") {
		a.fault = "down"
	}
	return nil
}

// ask takes a request.
func (a *adapter) ask(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	word := map[string]string{"/approve": "decision", "/execute": "status"}[r.URL.Path]
	say := func(status int, decision, id string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{word: decision, "correlation_id": id})
	}
	if a.is("down") {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if !a.genuine(r.Header, body) {
		say(http.StatusUnauthorized, "error", "")
		return
	}
	var in struct {
		ID            string `json:"correlation_id"`
		Justification string `json:"justification"`
		Arguments     struct {
			Question string   `json:"question"`
			Options  []string `json:"options"`
		} `json:"arguments"`
		Callback struct {
			URL string `json:"url"`
		} `json:"callback"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	err := d.Decode(&in)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.is("takes anything"), a.is("trips over fields") && strings.Contains(string(body), "later_version"):
		say(http.StatusAccepted, map[bool]string{true: "pending", false: "error"}[a.is("takes anything")], in.ID)
		return
	case err != nil && a.is("stumbles"):
		w.WriteHeader(http.StatusInternalServerError)
		return
	case err != nil || in.ID == "" || in.Callback.URL == "":
		say(http.StatusBadRequest, "error", in.ID)
		return
	case a.is("short texts only") && len(in.Justification)+len(in.Arguments.Question) > 500:
		say(http.StatusAccepted, "error", in.ID)
		return
	case a.is("other words in answers"):
		say(http.StatusAccepted, "queued", in.ID)
		return
	}
	known := false
	for _, s := range a.shown {
		known = known || s.id == in.ID
	}
	if !known || a.is("shows twice") {
		a.shown = append(a.shown, &shown{id: in.ID, back: in.Callback.URL, options: in.Arguments.Options})
	}
	if a.is("decides itself") {
		back := shown{id: in.ID, back: in.Callback.URL, options: in.Arguments.Options}
		a.callBack(&back, act{what: map[bool]string{true: "option", false: "approve"}[len(back.options) > 0], option: 1})
	}
	say(http.StatusAccepted, "pending", in.ID)
}

// ended takes how a request ended.
func (a *adapter) ended(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var in struct {
		Outcome string `json:"outcome"`
	}
	if err := json.Unmarshal(body, &in); err != nil || in.Outcome == "" || !a.genuine(r.Header, body) || a.is("wants no news") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// genuine verifies the signature, if there is a secret.
func (a *adapter) genuine(h http.Header, body []byte) bool {
	if len(a.secrets) == 0 || a.is("believes anybody") {
		return true
	}
	stamp := h.Get(chat.HeaderTimestamp)
	seconds, _ := strconv.ParseInt(stamp, 10, 64)
	fresh := time.Since(time.Unix(seconds, 0)).Abs() < 5*time.Minute || a.is("takes old requests")
	if a.is("signs the time alone") {
		body = nil
	}
	return fresh && a.secrets.Verify(h.Get(chat.HeaderSignature), []byte(stamp+"."+string(body))) == nil || a.is("signs the time alone") && stamp != ""
}

// press is a person's click on the first message of a request that has buttons still.
func (a *adapter) press(_ context.Context, id string, do act) error {
	a.mu.Lock()
	var at *shown
	for _, s := range a.shown {
		if s.id == id && (!s.over || a.is("changes its mind")) {
			at = s
		}
	}
	if at == nil {
		a.mu.Unlock()
		return errors.New("there is nothing to press")
	}
	at.over = true
	to := *at
	if a.is("mixes them up") {
		to.back = a.shown[len(a.shown)-1].back
	}
	a.mu.Unlock()
	if a.is("one at a time") {
		a.calling.Lock()
		defer a.calling.Unlock()
	}
	a.callBack(&to, do)
	if a.is("calls twice") {
		a.callBack(&to, do)
	}
	return nil
}

// callBack calls until it is heard.
func (a *adapter) callBack(s *shown, do act) {
	for try := range 5 {
		if try == 1 && a.is("says something else again") {
			do = act{what: map[string]string{"approve": "deny", "deny": "approve", "option": "option"}[do.what], option: 3 - do.option}
		}
		status, wait := a.send(s, a.result(s, do))
		final := status == http.StatusOK || status/100 == 4 && status != http.StatusTooManyRequests
		if a.is("insists") && status == http.StatusNotFound {
			final = try == 2
		}
		if final || a.is("never calls again") || a.is("loses a broken line") && status == 0 {
			return
		}
		if !a.is("is in a hurry") {
			time.Sleep(wait)
		}
	}
}

// result is the body of a callback.
func (a *adapter) result(s *shown, do act) map[string]any {
	if len(s.options) == 0 {
		decision := do.what
		if a.is("other words") {
			decision += "d"
		}
		if a.is("upside down") {
			decision = map[string]string{"approve": "deny", "deny": "approve"}[do.what]
		}
		reason := do.text
		if a.is("keeps the reason") {
			reason = ""
		}
		return map[string]any{"correlation_id": s.id, "decision": decision, "reason": reason, "tool": "x"}
	}
	result := map[string]any{"selected_option": do.text, "selected_index": nil, "custom": true}
	if do.what == "option" {
		result = map[string]any{"selected_option": s.options[do.option-1], "selected_index": do.option - 1, "custom": false}
		if a.is("counts from one") {
			result["selected_index"] = do.option
		}
		if a.is("says another option") {
			result["selected_option"] = s.options[2-do.option]
		}
	}
	return map[string]any{"correlation_id": s.id, "status": "success", "result": result, "tool": "question"}
}

// send makes one callback; status 0 = no answer came.
func (a *adapter) send(s *shown, body map[string]any) (status int, wait time.Duration) {
	text, _ := json.Marshal(body)
	at := s.back
	if a.is("calls elsewhere") {
		at = at[:strings.LastIndex(at, "/")]
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, at, bytes.NewReader(text))
	if err != nil {
		panic(err)
	}
	if len(a.secrets) > 0 && !a.is("does not sign") {
		sign(r.Header, text, a.secrets[0], time.Now())
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, 10 * time.Millisecond // the contract has a second; nobody measures it
	}
	defer res.Body.Close()
	seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	return res.StatusCode, time.Duration(seconds) * time.Second
}

// session is the checks of an adapter as a test wants them.
func (a *adapter) session(t *testing.T, secret string, out io.Writer) *session {
	t.Helper()
	p, err := listen(env{URL: a.URL, Secret: secret, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &session{
		platform: p, out: out, restart: a.restart, patience: time.Minute, quiet: 20 * time.Millisecond, again: time.Minute,
		press: func(ctx context.Context, to *attempt, do act) error {
			err := a.press(ctx, to.id, do)
			if err != nil {
				return fmt.Errorf("in the test: %w", err)
			}
			return nil
		},
	}
}
