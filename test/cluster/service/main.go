// Command service is a project's service, as the tests of a cluster have it beside an agent: a Knative Service of a
// full-env run. Its arguments are its name and, if it has one to ask, the URL of another.
//
//	GET /                    its name, or "NAME and ANSWER" with what the other one answers
//	GET /reach?to=HOST:PORT  "yes", or why no connection comes about in three seconds
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	http.HandleFunc("GET /{$}", greet)
	http.HandleFunc("GET /reach", reach)
	server := &http.Server{Addr: ":8080", ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func greet(w http.ResponseWriter, _ *http.Request) {
	answer := os.Args[1]
	if len(os.Args) > 2 {
		said, err := get(os.Args[2])
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		answer += " and " + said
	}
	fmt.Fprintln(w, answer)
}

func get(url string) (string, error) {
	client := &http.Client{Timeout: time.Minute} // the other service may be at zero pods
	res, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1000))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", url, res.Status, body)
	}
	return string(body), err
}

func reach(w http.ResponseWriter, r *http.Request) {
	conn, err := net.DialTimeout("tcp", r.FormValue("to"), 3*time.Second)
	if err != nil {
		fmt.Fprintln(w, "no:", err)
		return
	}
	_ = conn.Close()
	fmt.Fprintln(w, "yes")
}
