package llm

const (
	maxDepth = 12  // levels of nesting that get a path; deeper ones are passed over
	maxPath  = 192 // bytes; keys beyond it are called "?"
	maxToken = 256 // bytes of a scalar that are kept
)

// A field is one value that a scanner passed. Path and Token are only valid during the call.
type field struct {
	Path    []byte // keys joined by dots, "[]" for an element: choices[].delta.content
	Kind    byte   // '"' string, '0' number, 'l' true, false or null, '{' object, '[' array
	Token   []byte // a scalar as written, a string without its quotes; the first maxToken bytes
	Length  int64  // of the whole token, in bytes
	Start   int64  // offset of the first byte in what was fed
	End     int64  // offset behind the last byte
	escaped bool   // the string has a backslash in it
}

// A scanner finds the values in JSON that comes in pieces, and keeps no more of it than the path to where it is. It
// checks nothing: in broken JSON it finds what there is. The zero value is ready.
type scanner struct {
	found func(*field)
	// onKey, if set, gets the level (1 is outermost) of each key, and the key without escapes.
	onKey func(level int, key []byte)

	state   scanState
	at      int64 // offset of the next byte
	levels  int   // open objects and arrays, also those deeper than maxDepth
	kinds   [maxDepth]byte
	owns    [maxDepth]int // length of the path of the container itself
	starts  [maxDepth]int64
	wantKey bool
	isKey   bool
	path    [maxPath]byte
	pathLen int
	token   [maxToken]byte
	kept    int
	f       field
}

type scanState uint8

const (
	between scanState = iota
	inString
	inEscape
	inLiteral
)

// reset begins the next document; offsets continue.
func (s *scanner) reset() {
	s.state, s.levels, s.wantKey, s.isKey, s.pathLen, s.kept = between, 0, false, false, 0, 0
}

// feed takes the next piece.
func (s *scanner) feed(p []byte) {
	for i := 0; i < len(p); i++ {
		c := p[i]
		switch s.state {
		case inString:
			// Most bytes of a conversation are inside strings.
			j := i
			for j < len(p) && p[j] != '"' && p[j] != '\\' {
				j++
			}
			s.keep(p[i:j])
			s.at += int64(j - i)
			if i = j; i == len(p) {
				return
			}
			if p[i] == '"' {
				s.at++
				s.endString()
				continue
			}
			s.keep(p[i : i+1])
			s.f.escaped = true
			s.state = inEscape
		case inEscape:
			s.keep(p[i : i+1])
			s.state = inString
		case inLiteral:
			if !structural(c) {
				s.keep(p[i : i+1])
				break
			}
			s.state = between
			s.emit()
			s.structure(c)
		case between:
			s.structure(c)
		}
		s.at++
	}
}

// structural says whether c ends a number or a word.
func structural(c byte) bool {
	switch c {
	case '{', '}', '[', ']', ',', ':', '"', ' ', '\t', '\r', '\n':
		return true
	}
	return false
}

// structure handles a byte outside of strings and literals; s.at is its offset.
func (s *scanner) structure(c byte) {
	switch c {
	case ' ', '\t', '\r', '\n':
	case '{', '[':
		s.open(c)
	case '}', ']':
		s.close()
	case ':':
		s.wantKey = false
	case ',':
		if s.named() {
			level := s.levels - 1
			s.wantKey = s.kinds[level] == '{'
			if !s.wantKey {
				s.pathLen = s.owns[level]
				s.push("[]")
			}
		}
	case '"':
		s.begin('"', inString)
		s.isKey = s.wantKey && s.named()
	default:
		kind := byte('0')
		if c >= 'a' {
			kind = 'l'
		}
		s.begin(kind, inLiteral)
		s.keep([]byte{c})
	}
}

// named says whether the innermost open container has a path.
func (s *scanner) named() bool { return s.levels > 0 && s.levels <= maxDepth }

func (s *scanner) begin(kind byte, state scanState) {
	s.f = field{Kind: kind, Start: s.at}
	s.kept, s.isKey, s.state = 0, false, state
}

func (s *scanner) open(c byte) {
	if s.levels < maxDepth {
		s.kinds[s.levels], s.owns[s.levels], s.starts[s.levels] = c, s.pathLen, s.at
		if c == '[' {
			s.push("[]")
		}
	}
	s.levels++
	s.wantKey = c == '{' && s.levels <= maxDepth
}

func (s *scanner) close() {
	if s.levels == 0 {
		return
	}
	s.levels--
	s.wantKey = false
	if s.levels < maxDepth {
		s.pathLen = s.owns[s.levels]
		s.f = field{Kind: s.kinds[s.levels], Start: s.starts[s.levels]}
		s.kept = 0
		s.at++
		s.emit()
		s.at--
	}
}

func (s *scanner) endString() {
	s.state = between
	if !s.isKey {
		s.emit()
		return
	}
	s.isKey, s.wantKey = false, false
	key := s.token[:s.kept]
	if s.f.escaped { // "mod\u0065l" is "model" to every reader
		s.f.Token = key
		key = []byte(s.f.text())
	}
	if s.onKey != nil {
		s.onKey(s.levels, key)
	}
	s.pathLen = s.owns[s.levels-1]
	if s.pathLen > 0 {
		s.push(".")
	}
	if !plain(key) || s.f.Length > maxToken || s.pathLen+len(key) > maxPath {
		key = []byte("?")
	}
	s.pathLen += copy(s.path[s.pathLen:], key)
}

// plain says whether a key can be part of a path without being mistaken for several.
func plain(key []byte) bool {
	for _, c := range key {
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(key) > 0
}

func (s *scanner) push(part string) { s.pathLen += copy(s.path[s.pathLen:], part) }

func (s *scanner) keep(p []byte) {
	s.f.Length += int64(len(p))
	s.kept += copy(s.token[s.kept:], p)
}

// emit reports the value that has just ended before s.at.
func (s *scanner) emit() {
	if s.levels > maxDepth {
		return
	}
	s.f.Path, s.f.Token, s.f.End = s.path[:s.pathLen], s.token[:s.kept], s.at
	s.found(&s.f)
}
