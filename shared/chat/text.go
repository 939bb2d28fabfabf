package chat

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"codexk8s.dev/shared/plain"
)

// maxReadable is more than any channel shows of a message, in bytes: what is longer is not worth looking at.
const maxReadable = 150_000

// readable makes what somebody else wrote fit to be shown: as text of several lines, every character seen.
func readable(s string) string {
	s, _ = plain.SpellOut(strings.ReplaceAll(plain.Cut(s, maxReadable), "\r\n", "\n"))
	return strings.TrimSpace(s)
}

// oneLine is readable text on one line, at most limit characters of it.
func oneLine(s string, limit int) string {
	s, _ = plain.SpellOut(strings.Join(strings.Fields(plain.Cut(s, 32*limit)), " "))
	if utf8.RuneCountInString(s) > limit {
		s = strings.TrimSpace(string([]rune(s)[:limit-1])) + "…"
	}
	return s
}

// length counts as Telegram and JavaScript do, in UTF-16 code units: never less than characters.
func length(s string) (n int) {
	for _, r := range s {
		n += utf16.RuneLen(r) // valid UTF-8: never -1
	}
	return n
}

// cutTo is the beginning of s of at most limit units.
func cutTo(s string, limit int) string {
	n := 0
	for i, r := range s {
		if n += utf16.RuneLen(r); n > limit {
			return s[:i]
		}
	}
	return s
}

// fit cuts texts until they have room together, the longest first and all of those to the same length, and none to more
// than each. The mark ends a text that was cut. It reports whether something was.
func fit(texts []*string, room, each int, mark string) bool {
	lengths := make([]int, len(texts))
	for i, t := range texts {
		lengths[i] = length(*t)
	}
	ascending := slices.Sorted(slices.Values(lengths))
	limit := each
	for i, n := range ascending {
		if share := room / (len(ascending) - i); n > share {
			limit = min(limit, share)
			break
		}
		room -= n
	}
	cut := false
	for i, t := range texts {
		if lengths[i] > limit {
			*t = strings.TrimRight(cutTo(*t, max(0, limit-length(mark))), " \n") + mark
			cut = true
		}
	}
	return cut
}

// A link that may be shown as one.
type link struct{ text, host, url string }

// linkTo checks a link that an agent gave: https, a host in plain sight, nothing that is taken for one.
func linkTo(text, address string) (link, bool) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Opaque != "" || len(address) > maxURL || !printable(u.Host) {
		return link{}, false
	}
	text = oneLine(text, 60)
	if text == "" {
		text = u.Host
	}
	return link{text: text, host: u.Host, url: u.String()}, true
}

// maxURL bounds an address in a message, in bytes.
const maxURL = 500

// printable says of a host that it has no letters which look like others.
func printable(host string) bool {
	return strings.IndexFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0
}
