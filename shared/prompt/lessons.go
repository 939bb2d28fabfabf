package prompt

import "strings"

// lessons are the headings under which agents explain what they did, where people want to learn from it
// (Facts.Learning): as the part "end" of each language asks for it.
var lessons = []string{"Why it is done this way", "Почему так"}

// Lessons are the explanations in an agent's last message, each with its place in front, "`path:line` why"; none where
// it explains nothing.
func Lessons(message string) (all []string) {
	under := false
	for line := range strings.Lines(message) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			under = false
			for _, l := range lessons {
				under = under || strings.EqualFold(strings.TrimSpace(heading), l)
			}
			continue
		}
		line = strings.TrimSpace(strings.TrimLeft(line, "-*+ "))
		if under && strings.HasPrefix(line, "`") {
			all = append(all, line)
		}
	}
	return all
}
