package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// export is an audit of seals with two rows each, and the hashes of the seals.
func export(seals int) (lines, hashes []string) {
	previous := []byte{}
	for n := range seals {
		h := sha256.New()
		h.Write(previous)
		for i := range 2 {
			row := fmt.Sprintf(`{"seq":%d,"actor":"github:ann","action":"run.requested"}`, 2*n+i+1)
			h.Write([]byte(row + "\n"))
			lines = append(lines, row)
		}
		sum := h.Sum(nil)
		lines = append(lines, fmt.Sprintf(`{"seal":%d,"rows":2,"previous":"%x","hash":"%x"}`, n+1, previous, sum))
		hashes, previous = append(hashes, hex.EncodeToString(sum)), sum
	}
	return lines, hashes
}

// TestVerifyAudit: whatever is changed, added or taken away is found, and with an anchor also a cut-off end.
func TestVerifyAudit(t *testing.T) {
	whole, hashes := export(3)
	without := func(from, to int) []string { return append(append([]string{}, whole[:from]...), whole[to:]...) }
	changed := func(at int, line string) []string {
		lines := append([]string{}, whole...)
		lines[at] = line
		return lines
	}
	other, _ := export(1)
	for name, c := range map[string]struct {
		lines  []string
		anchor string
		want   string
	}{
		"whole":                      {whole, "", ""},
		"whole, to its last seal":    {whole, hashes[2], ""},
		"whole, to the seal before":  {whole, hashes[1][:16], ""},
		"nothing":                    {nil, "", ""},
		"a row changed":              {changed(3, strings.Replace(whole[3], "ann", "eve", 1)), "", "rows of seal 2 are other ones"},
		"a row with another order":   {changed(0, `{"actor":"github:ann","seq":1,"action":"run.requested"}`), "", "rows of seal 1 are other ones"},
		"a row gone":                 {without(3, 4), "", "rows of seal 2 are other ones"},
		"a row more":                 {append(append([]string{}, whole[:2]...), whole...), "", "rows of seal 1 are other ones"},
		"a seal gone with its rows":  {without(3, 6), "", "seal 3 follows on another seal than 1"},
		"the first seal gone":        {without(0, 3), "", "seal 2 follows on another seal than 0"},
		"a seal's hash changed":      {changed(5, strings.Replace(whole[5], hashes[1], hashes[0], 1)), "", "rows of seal 2 are other ones"},
		"the end cut off":            {without(6, 9), "", ""},
		"the end cut off, anchored":  {without(6, 9), hashes[2], "the end was cut off behind seal 2"},
		"the last seal alone gone":   {without(8, 9), "", "2 rows have no seal"},
		"all gone, anchored":         {nil, hashes[0], "cut off behind seal 0"},
		"another audit, anchored":    {other[:0], hashes[2], "cut off"},
		"an anchor that is no hash":  {whole, "seal 3 is the last", "is no hash"},
		"an anchor that is short":    {whole, "abcdef", "is no hash"},
		"a seal that is no JSON":     {changed(2, `{"seal":1,`), "", "is no export"},
		"a page instead of a export": {[]string{"<!doctype html>"}, "", "1 rows have no seal"},
	} {
		text := strings.Join(c.lines, "\n")
		if text != "" {
			text += "\n"
		}
		_, err := verifyAudit(strings.NewReader(text), c.anchor)
		if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && !strings.Contains(got, c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := verifyAudit(strings.NewReader(strings.Join(whole, "\n")), ""); err == nil || !strings.Contains(err.Error(), "ends within") {
		t.Errorf("a file that breaks off in its last line: %v", err)
	}
}
