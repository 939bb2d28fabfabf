package llm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// ErrClientGone is wrapped by the error of Pass when the client could not be written to.
var ErrClientGone = errors.New("the client has gone")

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// ErrEnough is the error of Pass when the answer was cut off because no more of it may pass.
var ErrEnough = errors.New("no more of the answer may pass")

// Pass copies the answer to the client through the meter. Whatever one read returns is written and flushed before the
// next, so no piece waits for another. After each line enough is asked, unless it is nil; if so, nothing that follows
// passes. The error is ErrEnough, wraps ErrClientGone, or is that of reading the answer, of which the client then has a
// part.
func Pass(w http.ResponseWriter, answer io.Reader, m *Meter, enough func() bool) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	control := http.NewResponseController(w)
	for {
		n, err := answer.Read(*buffer)
		if n > 0 {
			piece, full := take((*buffer)[:n], m, enough)
			if _, err := w.Write(piece); err != nil {
				return fmt.Errorf("%w: %w", ErrClientGone, err)
			}
			if err := control.Flush(); err != nil {
				return fmt.Errorf("%w: %w", ErrClientGone, err)
			}
			if full {
				return ErrEnough
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

// take gives the piece to the meter, up to the line after which it is enough, and returns that much of it.
func take(piece []byte, m *Meter, enough func() bool) (passes []byte, full bool) {
	if enough == nil {
		_, _ = m.Write(piece) // a meter takes everything
		return piece, false
	}
	for at := 0; at < len(piece); {
		end := len(piece)
		if line := bytes.IndexByte(piece[at:], '\n'); line >= 0 {
			end = at + line + 1
		}
		_, _ = m.Write(piece[at:end])
		if at = end; enough() {
			return piece[:at], true
		}
	}
	return piece, false
}
