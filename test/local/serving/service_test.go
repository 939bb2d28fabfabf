package serving

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"codexk8s.dev/test/local/build"
	"github.com/google/go-cmp/cmp"
)

const image = "codexk8s.dev/test/local/testdata/echo"

// echo is the path of the test program, built once.
var echo string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "serving-test-")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binaries, err := build.Images(context.Background(), ".", dir, []string{image}, false)
		if err != nil {
			panic(err)
		}
		echo = binaries["ko://"+image]
		return m.Run()
	}())
}

func listen(t *testing.T, change func(*Options)) *Service {
	t.Helper()
	o := Options{
		Name:      "echo",
		Command:   func() (*exec.Cmd, error) { return exec.Command(echo), nil },
		ReadyPath: "/readyz",
		Grace:     2 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func get(t *testing.T, s *Service, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + s.Address() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err.Error()
	}
	return resp.StatusCode, string(body)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 500 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("it never happened: %s", what)
}

// awaitInHand waits until the program has n requests: an answer reaches the client before the request is counted off.
func awaitInHand(t *testing.T, s *Service, n int) {
	t.Helper()
	eventually(t, "the program has the requests", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.current != nil && s.current.inFlight == n
	})
}

func TestFromZeroAndBackToZero(t *testing.T) {
	s := listen(t, func(o *Options) { o.IdleAfter = 50 * time.Millisecond })
	if s.Running() {
		t.Fatal("it runs before the first request")
	}
	// A burst at zero starts one program and loses nothing.
	var ok atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if code, _ := get(t, s, "/hello"); code == http.StatusOK {
				ok.Add(1)
			}
		})
	}
	all.Wait()
	if ok.Load() != 20 || s.Starts() != 1 {
		t.Errorf("%d of 20 were answered, by %d programs", ok.Load(), s.Starts())
	}
	eventually(t, "it scales to zero", func() bool { return !s.Running() })
	if code, _ := get(t, s, "/hello"); code != http.StatusOK || s.Starts() != 2 {
		t.Errorf("after zero: %d, %d starts", code, s.Starts())
	}
}

func TestARunningRequestIsNotIdle(t *testing.T) {
	s := listen(t, func(o *Options) { o.IdleAfter = 20 * time.Millisecond })
	if code, body := get(t, s, "/wait?for=300ms"); code != http.StatusOK {
		t.Errorf("got %d %s", code, body)
	}
}

func TestProtocolsAndStreams(t *testing.T) {
	s := listen(t, nil)
	if _, body := get(t, s, "/hello"); !strings.HasPrefix(body, "HTTP/1.1 ") {
		t.Errorf("the program saw %s", body)
	}
	client := &http.Client{Transport: transport(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })}
	resp, err := client.Get("http://" + s.Address() + "/hello")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if !strings.HasPrefix(string(body), "HTTP/2.0 ") {
		t.Errorf("the program saw %s", body)
	}

	resp, err = http.Get("http://" + s.Address() + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	stream := bufio.NewReader(resp.Body)
	line, err := stream.ReadString('\n')
	if err != nil || line != "line 0\n" {
		t.Errorf("got %q, %v", line, err)
	}
	first := time.Now()
	if _, err := io.Copy(io.Discard, stream); err != nil {
		t.Error(err)
	}
	if rest := time.Since(first); rest < 50*time.Millisecond {
		t.Errorf("the rest of the stream came %s after its first line: it was held back", rest)
	}
}

func TestConcurrencyIsHeld(t *testing.T) {
	s := listen(t, func(o *Options) { o.Concurrency = 1 })
	get(t, s, "/hello")
	began := time.Now()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { get(t, s, "/wait?for=100ms") })
	}
	all.Wait()
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("three requests of 100 ms, one at a time, took %s", took)
	}
}

func TestACrashCostsTheRequestsInHandOnly(t *testing.T) {
	s := listen(t, nil)
	get(t, s, "/hello")
	awaitInHand(t, s, 0)
	codes := make(chan int)
	go func() {
		code, _ := get(t, s, "/wait?for=10s")
		codes <- code
	}()
	awaitInHand(t, s, 1)
	time.Sleep(20 * time.Millisecond)
	if !s.Kill() {
		t.Error("there was nothing to kill")
	}
	if code := <-codes; code != http.StatusBadGateway {
		t.Errorf("the request in hand got %d", code)
	}
	if code, _ := get(t, s, "/hello"); code != http.StatusOK || s.Starts() != 2 {
		t.Errorf("after the crash: %d, %d starts", code, s.Starts())
	}
	if code, _ := get(t, s, "/crash"); code != http.StatusBadGateway {
		t.Errorf("a request that crashes the program got %d", code)
	}
}

func TestRestartFinishesWhatWasBegun(t *testing.T) {
	s := listen(t, nil)
	get(t, s, "/hello")
	awaitInHand(t, s, 0)
	answers := make(chan string)
	go func() {
		_, body := get(t, s, "/wait?for=300ms")
		answers <- body
	}()
	awaitInHand(t, s, 1)
	s.Restart()
	_, second := get(t, s, "/wait?for=0s")
	first := <-answers
	if first == second {
		t.Errorf("both were answered by process %s", first)
	}
	var pid int
	if _, err := fmt.Sscan(first, &pid); err != nil {
		t.Fatalf("the request that was begun got %q", first)
	}
	eventually(t, "the old process is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
}

func TestMinScaleKeepsItRunning(t *testing.T) {
	s := listen(t, func(o *Options) { o.MinScale = 1; o.IdleAfter = time.Millisecond })
	s.Activate()
	eventually(t, "it starts by itself", s.Running)
	s.Kill()
	eventually(t, "it starts again after a crash", func() bool { return s.Starts() == 2 && s.Running() })
}

func TestAProgramThatCannotStart(t *testing.T) {
	s := listen(t, func(o *Options) {
		o.Command = func() (*exec.Cmd, error) { return exec.Command(echo, "exit", "7"), nil }
	})
	code, body := get(t, s, "/hello")
	got := fmt.Sprint(code, " ", strings.TrimSpace(body), " after ", s.Starts())
	if diff := cmp.Diff("502 service echo ended before it was ready, with code 7 after 3", got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestTheTimeoutIsA504(t *testing.T) {
	s := listen(t, func(o *Options) { o.Timeout = 100 * time.Millisecond })
	get(t, s, "/hello")
	if code, _ := get(t, s, "/wait?for=3s"); code != http.StatusGatewayTimeout {
		t.Errorf("got %d", code)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	s := listen(t, func(o *Options) {
		o.Grace = 200 * time.Millisecond
		o.ReadyPath = ""
		// A shell that ignores SIGTERM, with a child of its own.
		o.Command = func() (*exec.Cmd, error) {
			return exec.Command("sh", "-c", "trap '' TERM; "+echo+" & sleep 60"), nil
		}
	})
	_, body := get(t, s, "/wait?for=0s")
	var pid int
	if _, err := fmt.Sscan(body, &pid); err != nil {
		t.Fatalf("got %q", body)
	}
	s.Stop()
	eventually(t, "the grandchild is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	if _, err := http.Get("http://" + s.Address()); err == nil {
		t.Error("it still listens")
	}
}
