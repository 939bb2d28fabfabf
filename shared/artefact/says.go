package artefact

import (
	"slices"
	"strings"
)

// Says is the one of the words that the document has on a line of its own, as code, as an item of a list or plain; ""
// if it says none of them, or several.
func Says(document []byte, words []string) (said string) {
	for line := range strings.Lines(string(document)) {
		word := strings.Trim(strings.TrimSpace(line), "-*_`>. ")
		if !slices.Contains(words, word) {
			continue
		}
		if said != "" && said != word {
			return ""
		}
		said = word
	}
	return said
}
