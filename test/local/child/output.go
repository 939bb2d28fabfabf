package child

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
)

// Output is an io.Writer that writes whole lines to another, each with a prefix. Several Outputs may share one
// underlying writer if that is itself safe for concurrent use, see Shared.
type Output struct {
	Prefix string
	To     io.Writer

	mu   sync.Mutex
	rest []byte
}

// Write never fails: a lost log line is no reason to break a child's pipe.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rest = append(o.rest, p...)
	for {
		i := bytes.IndexByte(o.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		line := append([]byte(o.Prefix), o.rest[:i+1]...)
		_, _ = o.To.Write(line)
		o.rest = o.rest[i+1:]
	}
}

// Shared makes a writer safe for concurrent use.
type Shared struct {
	mu sync.Mutex
	to io.Writer
}

// NewShared returns to made safe for concurrent use; a nil to discards.
func NewShared(to io.Writer) *Shared {
	if to == nil {
		to = io.Discard
	}
	return &Shared{to: to}
}

func (s *Shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.to.Write(p)
}

// Ports for children lie below the ranges from which systems take the ports of outgoing connections (32768 and up on
// Linux, 49152 and up elsewhere): one of those may be gone again before the child listens.
const firstPort, lastPort = 21000, 31999

var nextPort atomic.Int64

// FreePort returns a port of 127.0.0.1 on which nobody listens, and which this process has not handed out lately.
// Another process may still take it before the child does, so a child that fails at its start is worth another try.
func FreePort() (int, error) {
	const span = lastPort - firstPort + 1
	nextPort.CompareAndSwap(0, startingPort())
	for range span {
		port := firstPort + int(nextPort.Add(1)%span)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		return port, nil
	}
	return 0, fmt.Errorf("no free port between %d and %d", firstPort, lastPort)
}

// startingPort differs between processes that run at the same time.
func startingPort() int64 { return 1 + rand.Int64N(lastPort-firstPort) }
