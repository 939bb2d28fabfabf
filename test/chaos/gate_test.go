package chaos

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/url"
	"sync"
	"testing"
)

// A gate stands between one function and the servers that it speaks to, and counts the function's steps: whatever it
// says to one of them until it waits for the answer. At the step that is wanted the function dies, before the server
// hears of it or once the server has answered, which the function does not hear.
//
// Most steps change nothing that outlives the function: it reads, or it is in the middle of a transaction, which goes
// with its connection. The others are effects. Whatever step a function dies at, it leaves behind what its last effect
// made, so a death after each effect is a death at every step, as far as anybody else can tell.
type gate struct {
	mu     sync.Mutex
	kill   func()
	broker string // host:port; "" = not known yet
	steps  int    // since wait
	die    cut
}

// guard says whose gate it is.
func (g *gate) guard(kill func(), broker string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kill, g.broker = kill, broker
}

func (g *gate) brokerAddress() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.broker
}

// A cut is where a function dies; the zero cut is nowhere.
type cut struct {
	step    int // from 1 on
	after   bool
	effects bool // effects are counted, not steps; the function dies after one
}

// wait counts from here on.
func (g *gate) wait(at cut) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.steps, g.die = 0, at
}

// died reports whether the function has reached the step.
func (g *gate) died() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.die.step > 0 && g.steps >= g.die.step
}

// step counts one. It reports whether the function dies before it, and whether after it.
func (g *gate) step() (before, after bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.die.effects {
		return false, false
	}
	g.steps++
	if g.steps != g.die.step {
		return false, false
	}
	return !g.die.after, g.die.after
}

// effect counts one, and reports whether the function dies after it.
func (g *gate) effect() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.die.effects {
		return false
	}
	g.steps++
	return g.steps == g.die.step
}

// A protocol tells steps from what belongs to a connection: its beginning and its end.
type protocol struct {
	asks     func(first byte) bool         // what the function says begins with that
	answered func(said []byte) bool        // what the server says is all of an answer
	changes  func(asked, said []byte) bool // what was asked, its beginning at least, may have changed something for good
}

var (
	// plainHTTP is HTTP/1.1: one request at a time.
	plainHTTP = protocol{
		asks:     func(byte) bool { return true },
		answered: func([]byte) bool { return true },
		changes:  func(asked, _ []byte) bool { return !bytes.HasPrefix(asked, []byte("GET ")) },
	}
	// tlsHTTP is the same within TLS: application data. https://www.rfc-editor.org/rfc/rfc8446#section-5.1
	tlsHTTP = protocol{
		asks:     func(first byte) bool { return first == 23 },
		answered: func(said []byte) bool { return said[0] == 23 },
		changes:  func(_, _ []byte) bool { return true }, // nobody can read it here
	}
	// postgres ends each answer with ReadyForQuery: outside of a transaction, within one, within one that failed. The
	// beginning of a connection has no type, or is a password; Terminate is its end.
	// https://www.postgresql.org/docs/current/protocol-message-formats.html
	postgres = protocol{
		asks: func(first byte) bool { return first != 0 && first != 'p' && first != 'X' },
		answered: func(said []byte) bool {
			return bytes.HasSuffix(said, []byte("Z\x00\x00\x00\x05I")) || bytes.HasSuffix(said, []byte("Z\x00\x00\x00\x05T")) ||
				bytes.HasSuffix(said, []byte("Z\x00\x00\x00\x05E"))
		},
		changes: func(_, said []byte) bool {
			return bytes.HasSuffix(said, []byte("Z\x00\x00\x00\x05I")) && completes(said)
		},
	}
)

// completes says whether an answer of Postgres, which ends outside of a transaction, is about a statement that may have
// changed something, and not of one that was only prepared.
func completes(said []byte) bool {
	for len(said) >= 5 {
		size := int(binary.BigEndian.Uint32(said[1:])) + 1
		if size > len(said) {
			return true // the connection's beginning
		}
		if tag := said[5:size]; said[0] == 'C' && !bytes.HasPrefix(tag, []byte("ROLLBACK")) && !bytes.HasPrefix(tag, []byte("SET")) {
			return true
		}
		said = said[size:]
	}
	return false
}

// through listens in the place of a server, whose address is known when the first connection comes, and returns where.
func (g *gate) through(t *testing.T, p protocol, server func() string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			function, err := listener.Accept()
			if err != nil {
				return
			}
			go g.connect(p, function, server())
		}
	}()
	return listener.Addr().String()
}

// throughURL is a server's URL by way of the gate.
func (g *gate) throughURL(t *testing.T, p protocol, server string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	host := u.Host
	u.Host = g.through(t, p, func() string { return host })
	return u.String()
}

// A connection carries what both sides say.
type connection struct {
	*gate
	protocol
	function, server net.Conn

	mu    sync.Mutex
	asked bool   // the function waits for an answer
	last  bool   // it will not hear it
	head  []byte // the beginning of what it asked
	said  []byte // of the answer, so far
}

func (g *gate) connect(p protocol, function net.Conn, address string) {
	defer func() { _ = function.Close() }()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	c := &connection{gate: g, protocol: p, function: function, server: server}
	go func() {
		defer func() { _ = function.Close() }()
		carry(server, function, c.answer)
	}()
	carry(function, server, c.ask)
}

// carry copies until one side is closed, or pass says no.
func carry(from, to net.Conn, pass func(said []byte) bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && pass(buffer[:n]) {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			return
		}
	}
}

func (c *connection) ask(said []byte) bool {
	c.mu.Lock()
	begins := !c.asked && c.asks(said[0])
	before, after := false, false
	if begins {
		before, after = c.step()
	}
	if begins {
		c.head, c.said = bytes.Clone(said[:min(len(said), 16)]), nil
	}
	c.asked, c.last = c.asked || begins, c.last || after
	c.mu.Unlock()
	if before {
		c.kill()
	}
	return !before
}

func (c *connection) answer(said []byte) bool {
	c.mu.Lock()
	if c.asked {
		c.said = append(c.said, said...)
	}
	complete := c.asked && c.answered(said)
	if complete {
		c.asked = false
		c.last = c.last || c.changes(c.head, c.said) && c.effect()
	}
	last := c.last
	c.mu.Unlock()
	if last && complete {
		c.kill()
	}
	return !last
}
