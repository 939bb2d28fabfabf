package tool

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"codexk8s.dev/shared/plain"
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
	{
		Name: PastRuns,
		Description: "Read what has become of past runs of the whole project: without arguments the newest, with what they took and why they failed, " +
			"and a sum for each stage; with a run's id that run in full, its agent's last message, the faults that were found, what reviewers and others wrote, and the end of its log.",
		Schema: json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{
			"run":{"type":"string","description":"The id of one run, to read it in full."},
			"before":{"type":"string","description":"The id of a run: list those that are older."}}}`),
		Named: true,
		call:  pastRuns,
	},
}

// A PastQuery is what an agent wants to know of its project's past.
type PastQuery struct {
	Run    string `json:"run"`    // UUID; "" = a list
	Before string `json:"before"` // UUID; "" = the newest
}

func pastRuns(_ Run, arguments json.RawMessage) (Outcome, error) {
	var q PastQuery
	if err := read(arguments, &q); err != nil {
		return Outcome{}, err
	}
	for field, id := range map[string]string{"run": q.Run, "before": q.Before} {
		if id == "" {
			continue
		}
		if _, err := uuid.Parse(id); err != nil {
			return Outcome{}, fmt.Errorf("%s: %q is no run's id: the list has them", field, plain.Cut(id, 50))
		}
	}
	if q.Run != "" && q.Before != "" {
		return Outcome{}, errors.New("run, before: give one of them")
	}
	return Outcome{Past: &q}, nil
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
