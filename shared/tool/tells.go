package tool

import (
	"encoding/json"
	"fmt"
	"strings"
)

// telling are the tools that tell and read.
var telling = []Tool{
	{
		Name:        StatusReport,
		Description: "Replace the one line that people see of your work while it goes on.",
		Schema: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["text"],"properties":{
			"text":{"type":"string","maxLength":100,"description":"What you are doing now."}}}`),
		call: statusReport,
	},
	{
		Name:        RunHistory,
		Description: "Read what earlier runs did for this issue, how they ended, and what people decided then.",
		Schema:      json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{}}`),
		call: func(_ Run, arguments json.RawMessage) (Outcome, error) {
			return Outcome{History: true}, read(arguments, &struct{}{})
		},
	},
}

func statusReport(_ Run, arguments json.RawMessage) (Outcome, error) {
	var a struct {
		Text string `json:"text"`
	}
	if err := read(arguments, &a); err != nil {
		return Outcome{}, err
	}
	line := strings.Join(strings.Fields(a.Text), " ")
	if n := len([]rune(line)); n == 0 || n > MaxProgress {
		return Outcome{}, fmt.Errorf("text: it has %d characters, want 1 to %d", n, MaxProgress)
	}
	return Outcome{Progress: line}, nil
}

// MaxProgress is how many characters of a line of progress are shown.
const MaxProgress = 100
