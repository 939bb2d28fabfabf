package llm

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// ErrClientGone is wrapped by the error of Pass when the client could not be written to.
var ErrClientGone = errors.New("the client has gone")

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// Pass copies the answer to the client through the meter. Whatever one read returns is written and flushed before the
// next, so no piece waits for another. The error wraps ErrClientGone, or is that of reading the answer, of which the
// client then has a part.
func Pass(w http.ResponseWriter, answer io.Reader, m *Meter) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	control := http.NewResponseController(w)
	for {
		n, err := answer.Read(*buffer)
		if n > 0 {
			piece := (*buffer)[:n]
			_, _ = m.Write(piece) // a meter takes everything
			if _, err := w.Write(piece); err != nil {
				return fmt.Errorf("%w: %w", ErrClientGone, err)
			}
			if err := control.Flush(); err != nil {
				return fmt.Errorf("%w: %w", ErrClientGone, err)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading the answer: %w", err)
		}
	}
}
