package engine

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"codexk8s.dev/functions/agent-runner/internal/gateway"
	"codexk8s.dev/shared/words"
)

// maxCodexLine bounds one event in memory. The longest are those with the output of a command.
const maxCodexLine = 8 << 20

// read gives every line to f, cut at maxCodexLine.
func read(in io.Reader, f func([]byte)) {
	lines := bufio.NewReaderSize(in, 64<<10)
	var line []byte
	for {
		part, err := lines.ReadSlice('\n')
		if room := maxCodexLine - len(line); room > 0 {
			line = append(line, part[:min(len(part), room)]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if len(bytes.TrimSpace(line)) > 0 {
			f(line)
		}
		if line = line[:0]; cap(line) > 1<<20 {
			line = nil
		}
		if err != nil {
			return
		}
	}
}

// tail logs what a process writes to its standard error, line by line, and keeps the end of it for the error text.
// Whole lines, because a secret that is cut in two is not recognised.
type tail struct {
	log  *gateway.Log
	mu   sync.Mutex
	part []byte   // of an unfinished line
	last []string // lines
	size int      // bytes in last
}

const (
	maxTail     = 2 << 10
	maxTailLine = 64 << 10 // a longer line is logged in pieces
)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.part = append(t.part, p...)
	end := bytes.LastIndexByte(t.part, '\n') + 1
	if end == 0 && len(t.part) > maxTailLine {
		end = len(t.part)
	}
	if end > 0 {
		t.keep(string(t.part[:end]))
		t.part = append([]byte(nil), t.part[end:]...)
	}
	return len(p), nil
}

// keep takes whole lines.
func (t *tail) keep(text string) {
	t.log.Add(gateway.StreamRunner, text)
	for line := range strings.Lines(text) {
		t.last, t.size = append(t.last, line), t.size+len(line)
	}
	for t.size > maxTail && len(t.last) > 1 {
		t.last, t.size = t.last[1:], t.size-len(t.last[0])
	}
}

// text is the end of what was written, after the process has ended.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.part) > 0 {
		t.keep(string(t.part))
		t.part = nil
	}
	return words.Line(t.log.Secrets.Clean(strings.Join(t.last, "")), maxTail)
}
