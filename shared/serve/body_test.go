package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// begin sends the head of a request and so many bytes of the body that it announces; the rest never comes.
func begin(t *testing.T, address string, announced, sent int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	head := "POST / HTTP/1.1\r\nHost: x\r\nCe-Specversion: 1.0\r\nCe-Id: 1\r\nCe-Source: x\r\nCe-Type: test\r\nContent-Type: application/json\r\n"
	if announced < 0 {
		head += "Transfer-Encoding: chunked\r\n\r\n100000\r\n"
	} else {
		head += "Content-Length: 1048576\r\n\r\n"
	}
	if _, err := io.WriteString(c, head+strings.Repeat("x", sent)); err != nil {
		t.Fatal(err)
	}
	return c
}

func postSized(t *testing.T, address string, size int) *http.Response {
	t.Helper()
	body := append(append([]byte(`"`), bytes.Repeat([]byte("x"), size)...), '"')
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]string{"specversion": "1.0", "id": "2", "source": "x", "type": "test"} {
		req.Header.Set("Ce-"+name, v)
	}
	req.Header.Set("Content-Type", event.ApplicationJSON)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res
}

// Anybody who reaches a function can send it megabytes that are no event: one such body is held at a time, not for
// long, and small events come through all the while.
func TestLargeAndSlowBodiesAreBounded(t *testing.T) {
	for kind, announced := range map[string]int{"announced": 1 << 20, "in chunks": -1} {
		t.Run(kind, func(t *testing.T) {
			s := New("test", "")
			s.bodies.comes, s.bodies.waits = time.Hour, 50*time.Millisecond
			s.OnType("test", func(context.Context, event.Event) ([]event.Event, error) { return nil, nil })
			server := httptest.NewServer(s.Handler())
			defer server.Close()
			slow := begin(t, server.URL, announced, 1<<20-1)
			for len(s.bodies.slots) == 0 {
				time.Sleep(time.Millisecond)
			}
			if res := postSized(t, server.URL, 1<<20); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
				t.Errorf("a second large one: %s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
			}
			if res := postSized(t, server.URL, 1<<10); res.StatusCode != http.StatusAccepted {
				t.Errorf("a small one: %s", res.Status)
			}
			_ = slow.Close()
			for len(s.bodies.slots) > 0 {
				time.Sleep(time.Millisecond)
			}
			if res := postSized(t, server.URL, 1<<20); res.StatusCode != http.StatusAccepted {
				t.Errorf("afterwards: %s", res.Status)
			}

			s.bodies.comes = 50 * time.Millisecond
			slow = begin(t, server.URL, announced, 1<<20-1)
			answer, _ := io.ReadAll(slow) // until the server hangs up
			if !bytes.HasPrefix(answer, []byte("HTTP/1.1 500 ")) || len(s.bodies.slots) > 0 {
				t.Errorf("one that does not come: %.40q, %d held", answer, len(s.bodies.slots))
			}
		})
	}
}

// The time in which a body has to come is none for the answer.
func TestAnAnswerMayTakeLongerThanABody(t *testing.T) {
	s := New("test", "")
	s.bodies.comes = 50 * time.Millisecond
	s.OnType("test", func(ctx context.Context, _ event.Event) ([]event.Event, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(4 * s.bodies.comes):
			return nil, nil
		}
	})
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	if res := postSized(t, server.URL, 10); res.StatusCode != http.StatusAccepted {
		t.Errorf("answered %s", res.Status)
	}
}

// Of one sender one large body is read at a time, whatever is free, and so many requests are served.
func TestASenderHasAShare(t *testing.T) {
	b := NewBodies(2)
	b.waits = 10 * time.Millisecond
	var leave []func()
	for n := range requestsAtOnce + 1 {
		for _, sender := range []string{"a", "b", "c", ""} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("x"))
			leave = append(leave, b.Guard(httptest.NewRecorder(), r, sender))
			_, err := io.ReadAll(r.Body)
			if want := n == requestsAtOnce && sender != ""; errors.Is(err, ErrBusy) != want {
				t.Errorf("request %d of %q: %v", n+1, sender, err)
			}
		}
	}
	for _, step := range []struct {
		sender string
		want   error
	}{{"a", nil}, {"a", ErrBusy}, {"b", nil}, {"c", ErrBusy}, {"", ErrBusy}} {
		if err := b.enter(step.sender); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.sender, err, step.want)
		}
	}
	for _, gone := range leave {
		gone()
	}
	if len(b.senders) > 0 {
		t.Errorf("%d senders are not forgotten", len(b.senders))
	}
}
