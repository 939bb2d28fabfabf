// Command echo is the function that the tests of the miniature platform run: it answers what it was asked to, waits,
// crashes, sends events and tells its environment.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		job(os.Args[1:])
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /env", environment)
	mux.HandleFunc("GET /peer", peer)
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ", os.Getpid()) })
	mux.HandleFunc("GET /stream", stream)
	mux.HandleFunc("GET /wait", wait)
	mux.HandleFunc("GET /crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("POST /", receive)
	mux.HandleFunc("GET /received", list)
	server := &http.Server{Addr: ":" + os.Getenv("PORT"), Handler: mux, Protocols: new(http.Protocols), ReadHeaderTimeout: time.Minute}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() {
		<-ctx.Done()
		_ = server.Shutdown(context.Background())
	}()
	fmt.Println("listening")
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Println(err)
		os.Exit(1)
	}
	time.Sleep(50 * time.Millisecond)
}

// job plays a Job's program: "exit N", "sleep DURATION", "stubborn" (ignores SIGTERM), "env", "migrate".
func job(args []string) {
	switch args[0] {
	case "exit":
		code, _ := strconv.Atoi(args[1])
		os.Exit(code)
	case "sleep":
		d, _ := time.ParseDuration(args[1])
		time.Sleep(d)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("stubborn", os.Getpid())
		time.Sleep(time.Hour)
	case "env":
		for _, e := range os.Environ() {
			fmt.Println(e)
		}
	case "migrate":
		if os.Getenv("DATABASE_URL") == "" {
			fmt.Println("there is no database")
			os.Exit(1)
		}
	}
}

func environment(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, os.Getenv(r.URL.Query().Get("name")))
}

// peer asks the address in PEER_URL.
func peer(w http.ResponseWriter, _ *http.Request) {
	resp, err := http.Get(os.Getenv("PEER_URL"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(w, resp.Body)
}

func stream(w http.ResponseWriter, r *http.Request) {
	for i := range 3 {
		fmt.Fprintln(w, "line", i)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func wait(w http.ResponseWriter, r *http.Request) {
	d, _ := time.ParseDuration(r.URL.Query().Get("for"))
	time.Sleep(d)
	fmt.Fprint(w, os.Getpid())
}

// received are the events of this process, as "<path> <type> <subject>".
var received struct {
	sync.Mutex
	events []string
}

// receive notes the event, answers dev.codexk8s.test.asked by sending dev.codexk8s.test.answered, and everything with
// 202.
func receive(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Ce-Type") == "dev.codexk8s.test.asked" {
		if err := answer(r.Header.Get("Ce-Id")); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	received.Lock()
	defer received.Unlock()
	received.events = append(received.events, r.URL.Path+" "+r.Header.Get("Ce-Type")+" "+r.Header.Get("Ce-Subject"))
	w.WriteHeader(http.StatusAccepted)
}

func answer(cause string) error {
	body, _ := json.Marshal(map[string]string{"specversion": "1.0", "type": "dev.codexk8s.test.answered", "source": "/echo", "id": "answer-" + cause})
	resp, err := http.Post(os.Getenv("K_SINK"), "application/cloudevents+json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("the broker answered %s", resp.Status)
	}
	return nil
}

func list(w http.ResponseWriter, _ *http.Request) {
	received.Lock()
	defer received.Unlock()
	for _, e := range received.events {
		fmt.Fprintln(w, e)
	}
}
