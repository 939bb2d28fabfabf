package engine

import (
	"encoding/json"
	"fmt"
	"strings"

	"codexk8s.dev/functions/agent-runner/internal/gateway"
)

// codexTurn reads the JSON lines that `codex exec --json` writes during one turn and logs them for the run.
type codexTurn struct {
	log     *gateway.Log
	started func(threadID string)

	thread    string
	message   string // the agent's last message
	failure   string
	completed bool
}

// codexEvent is the part of the CLI's events that we use. Unknown types and fields are expected: the CLI is young.
type codexEvent struct {
	Type     string       `json:"type"`
	ThreadID string       `json:"thread_id"`
	Message  string       `json:"message"`
	Error    *codexError  `json:"error"`
	Usage    *codexUsage  `json:"usage"`
	Item     *codexAction `json:"item"`
}

type codexError struct {
	Message string `json:"message"`
}

type codexUsage struct {
	Input  int64 `json:"input_tokens"`
	Cached int64 `json:"cached_input_tokens"`
	Output int64 `json:"output_tokens"`
}

type codexAction struct {
	Type     string `json:"type"`
	Text     string `json:"text"`              // agent_message, reasoning
	Message  string `json:"message"`           // error
	Command  string `json:"command"`           // command_execution
	Output   string `json:"aggregated_output"` // command_execution
	ExitCode *int   `json:"exit_code"`         // command_execution, when it has ended
	Server   string `json:"server"`            // mcp_tool_call
	Tool     string `json:"tool"`              // mcp_tool_call
	Query    string `json:"query"`             // web_search
	Changes  []struct {
		Path string `json:"path"`
		Kind string `json:"kind"`
	} `json:"changes"` // file_change
}

// maxOutputLines of one command go into the run's log; the agent itself sees more.
const maxOutputLines = 200

func (t *codexTurn) line(line []byte) {
	var e codexEvent
	if len(line) >= maxCodexLine {
		t.log.Add(gateway.StreamRunner, fmt.Sprintf("[an event of the Codex CLI with more than %d bytes is left out]", maxCodexLine))
		return
	}
	if err := json.Unmarshal(line, &e); err != nil {
		t.log.Add(gateway.StreamAgent, string(line)) // not an event: logged as it is
		return
	}
	switch e.Type {
	case "thread.started":
		t.thread = e.ThreadID
		if threadIDs.MatchString(e.ThreadID) {
			t.started(e.ThreadID)
		}
	case "turn.completed":
		t.completed, t.failure = true, ""
		if u := e.Usage; u != nil {
			t.log.Add(gateway.StreamRunner, fmt.Sprintf("tokens: %d in (%d cached), %d out", u.Input, u.Cached, u.Output))
		}
	case "turn.failed":
		if e.Error != nil {
			t.failure = e.Error.Message
		}
		if t.failure == "" {
			t.failure = "the turn failed without a reason"
		}
		t.log.Add(gateway.StreamRunner, "The turn failed: "+t.failure)
	case "error":
		// The CLI reports reconnections like this too; only turn.failed is final.
		t.log.Add(gateway.StreamRunner, "codex: "+e.Message)
	case "item.started", "item.completed":
		if e.Item != nil {
			t.item(e.Type == "item.completed", e.Item)
		}
	}
}

func (t *codexTurn) item(completed bool, a *codexAction) {
	switch {
	case a.Type == "command_execution" && !completed:
		t.log.Add(gateway.StreamAgent, "$ "+a.Command)
		t.log.Show("$ " + a.Command)
	case a.Type == "command_execution":
		t.log.Add(gateway.StreamAgent, firstLines(a.Output, maxOutputLines))
		if a.ExitCode != nil && *a.ExitCode != 0 {
			t.log.Add(gateway.StreamAgent, fmt.Sprintf("[exit code %d]", *a.ExitCode))
		}
	case !completed:
	case a.Type == "agent_message":
		t.message = a.Text
		t.log.Add(gateway.StreamAgent, a.Text)
		t.log.Show(a.Text)
	case a.Type == "reasoning":
		t.log.Add(gateway.StreamAgent, "thinking: "+a.Text)
	case a.Type == "file_change":
		for _, c := range a.Changes {
			t.log.Add(gateway.StreamAgent, c.Kind+" "+c.Path)
		}
	case a.Type == "mcp_tool_call":
		t.log.Add(gateway.StreamAgent, "tool "+a.Server+"/"+a.Tool)
	case a.Type == "web_search":
		t.log.Add(gateway.StreamAgent, "search "+a.Query)
	case a.Type == "error":
		t.log.Add(gateway.StreamRunner, "codex: "+a.Message)
	}
}

func firstLines(text string, max int) string {
	lines := strings.SplitAfterN(text, "\n", max+1)
	if len(lines) <= max {
		return text
	}
	return strings.Join(lines[:max], "") + fmt.Sprintf("[%d more lines]", strings.Count(lines[max], "\n")+1)
}
