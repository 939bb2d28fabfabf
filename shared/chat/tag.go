package chat

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"

	"github.com/google/uuid"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/webhook"
)

// What a click means; the options of a question are '1' to '5'.
const (
	approve   = 'a'
	deny      = 'd'
	denyWords = 'r' // with a reason to be written
	ownWords  = 't' // an answer to be written
	attempt   = 'h' // no click: a request that an HTTP approver was asked about
)

// A tag is what a button, a form or an address that we give out carries.
type tag struct {
	means   byte
	russian bool // the language of the message
	request uuid.UUID
	digest  [6]byte // the beginning of the request's
}

const (
	tagBytes = 2 + 16 + 6
	macBytes = 12
)

// tagOf is the tag of a message without a meaning yet.
func tagOf(m events.ApprovalMessage) (tag, error) {
	t := tag{russian: m.Lang == "ru"}
	var err error
	if t.request, err = uuid.Parse(m.RequestID); err != nil {
		return tag{}, fmt.Errorf("the request's id %q is no UUID: %w", m.RequestID, err)
	}
	if n, err := hex.Decode(t.digest[:], []byte(m.Digest[:min(len(m.Digest), 2*len(t.digest))])); err != nil || n != len(t.digest) {
		return tag{}, fmt.Errorf("the request's digest %q does not begin with 12 hexadecimal digits", m.Digest)
	}
	return t, nil
}

// vote is what the tag says of a vote.
func (t tag) vote(channel string) events.ApprovalVoted {
	v := events.ApprovalVoted{RequestID: t.request.String(), Digest: hex.EncodeToString(t.digest[:]), By: events.Voter{Channel: channel}}
	switch t.means {
	case approve:
		v.Choice = events.Approve
	case deny, denyWords:
		v.Choice = events.Deny
	case ownWords:
		v.Choice = events.Answer
	case '1', '2', '3', '4', '5':
		v.Choice, v.Option = events.Answer, int(t.means-'0')
	}
	return v
}

// asks reports whether the click wants words.
func (t tag) asks() bool { return t.means == denyWords || t.means == ownWords }

// as is the tag with another meaning.
func (t tag) as(means byte) tag { t.means = means; return t }

func (t tag) bytes() []byte {
	lang := byte('e')
	if t.russian {
		lang = 'r'
	}
	out := append(make([]byte, 0, tagBytes+macBytes), t.means, lang)
	out = append(out, t.request[:]...)
	return append(out, t.digest[:]...)
}

var errUnknownTag = errors.New("what was clicked is none of our buttons, or of a secret that is no longer in use")

// sealed is the form of what seal writes.
var sealed = regexp.MustCompile(`[A-Za-z0-9_-]{48}`)

// seal writes a tag as 48 characters that fit everywhere: of base64url, Telegram takes 64 bytes. The MAC is under the
// first key; it holds for one channel, and with what the tag is bound to, such as the person who may use it.
func seal(keys webhook.Secrets, channel, bound string, t tag) string {
	plain := t.bytes()
	return base64.RawURLEncoding.EncodeToString(append(plain, mac(keys[0], channel, bound, plain)...))
}

// open reads a tag that one of the keys has sealed.
func open(keys webhook.Secrets, channel, bound, text string) (tag, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(data) != tagBytes+macBytes {
		return tag{}, errUnknownTag
	}
	plain, sum := data[:tagBytes], data[tagBytes:]
	known := false
	for _, key := range keys {
		// No early exit, so that the time does not tell which key it was.
		if hmac.Equal(sum, mac(key, channel, bound, plain)) {
			known = true
		}
	}
	if !known {
		return tag{}, errUnknownTag
	}
	t := tag{means: plain[0], russian: plain[1] == 'r'}
	copy(t.request[:], plain[2:])
	copy(t.digest[:], plain[18:])
	return t, nil
}

func mac(key []byte, channel, bound string, plain []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(fmt.Appendf(nil, "codexk8s.chat.v1\x00%s\x00%d\x00%s\x00", channel, len(bound), bound))
	h.Write(plain)
	return h.Sum(nil)[:macBytes]
}
