package llm

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"codexk8s.dev/shared/price"
)

// TestPassDoesNotWait holds that a piece is with the client while the next one does not exist yet.
func TestPassDoesNotWait(t *testing.T) {
	upstream, source := io.Pipe()
	result := make(chan Result, 1)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		m := NewMeter(sse)
		if err := Pass(w, upstream, m, nil); err != nil {
			t.Error(err)
		}
		result <- m.Result()
	}))
	defer h.Close()
	go io.WriteString(source, chatStream[:100])
	res, err := http.Get(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, 100)
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != chatStream[:100] {
		t.Fatalf("%q, %v", first, err)
	}
	go func() {
		io.WriteString(source, chatStream[100:])
		source.Close()
	}()
	rest, err := io.ReadAll(res.Body)
	if err != nil || string(first)+string(rest) != chatStream {
		t.Errorf("%q, %v", rest, err)
	}
	if got := <-result; got.Usage != (price.Usage{Input: 70, Cached: 3, Output: 9, Reasoning: 2}) {
		t.Errorf("usage %+v", got.Usage)
	}
}

// gone is a client that has closed its connection.
type gone struct{ http.ResponseWriter }

func (gone) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestPassTellsTheEndsApart(t *testing.T) {
	m := NewMeter(sse)
	if err := Pass(gone{httptest.NewRecorder()}, strings.NewReader(chatStream), m, nil); !errors.Is(err, ErrClientGone) {
		t.Errorf("the client left: %v", err)
	}
	if m.Result().ID != "chatcmpl-1" {
		t.Errorf("what came before the client left is not known: %+v", m.Result())
	}
	broken := io.MultiReader(strings.NewReader("data: "), &failing{})
	if err := Pass(httptest.NewRecorder(), broken, NewMeter(sse), nil); err == nil || errors.Is(err, ErrClientGone) {
		t.Errorf("the answer broke off: %v", err)
	}
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
