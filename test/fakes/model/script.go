package model

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// A Script says what the model does for some tasks. It is asked again for every request, so it must depend on nothing
// but the task: the same task must give the same steps.
type Script struct {
	Name string
	// Match is a part of the last user message, in any case. Empty matches every message.
	Match string
	// Steps are done in order, one tool call each. Ignored when Plan is set.
	Steps []Step
	// Final is the last message. Ignored when Plan is set.
	Final string
	// Plan works steps and last message out from the task.
	Plan func(Task) (steps []Step, final string)
}

// A Step is one tool call. Exactly one field is set. A step for which the request offers no tool is left out.
type Step struct {
	Run   string // a shell command
	Read  string // path of a file to look at
	List  string // path of a folder to look at
	Write *File  // a file to write, its folder included
	Call  *Call  // any other tool, by name
}

// File is a path, relative to the working directory, and the whole content.
type File struct{ Path, Content string }

// Call is a call of a tool that a script knows by name, for example one of an MCP server ("mcp__platform/progress" with
// the tool's namespace before the slash, or the bare name).
type Call struct {
	Tool      string
	Arguments map[string]any
}

// turn is one answer: a tool call or a message.
type turn struct {
	step      int    // tool results since the last user message
	tool      string // empty: a message
	namespace string
	arguments string // JSON object
	text      string
	search    string // a tool to be looked for among those that the client has not listed
}

// conversation is a request of either API, reduced to what a script needs.
type conversation struct {
	users   []string          // the user's messages, oldest first
	results []string          // tool results since the last of them
	polls   int               // how many of the results were waits for a running command
	search  bool              // the client has more tools than it lists
	sought  map[string]bool   // those that were looked for
	tools   map[string]string // name → namespace ("" for none) of the tools offered
	answer  json.RawMessage   // JSON schema that the last message must fit, if any
}

// user notes a message in the user's role.
func (c *conversation) user(text string) {
	if isContext(text) {
		return
	}
	c.users = append(c.users, text)
	c.results, c.polls = nil, 0
}

// result notes a tool's result; poll says whether the call was a wait.
func (c *conversation) result(text string, poll bool) {
	c.results = append(c.results, text)
	if poll {
		c.polls++
	}
}

const (
	// pollTool is the Codex tool that returns more output of a command that was still running when exec_command
	// returned.
	pollTool = "write_stdin"
	// maxPolls bounds the waits in one turn of the user, so that a command which never ends does not hold a test for
	// ever.
	maxPolls = 40
)

// stillRunning is how Codex says that a command has not ended.
var stillRunning = regexp.MustCompile(`Process running with session ID (\d+)`)

// next is the answer to the conversation.
func (s *Server) next(c *conversation) (turn, string) {
	task := readTask(c.users)
	script := s.scripts[len(s.scripts)-1]
	for _, candidate := range s.scripts {
		if strings.Contains(strings.ToLower(task.Prompt), strings.ToLower(candidate.Match)) {
			script = candidate
			break
		}
	}
	t := turn{step: len(c.results)}
	if wait, ok := c.poll(); ok {
		wait.step = t.step
		return wait, script.Name
	}
	steps, final := script.Steps, script.Final
	if script.Plan != nil {
		steps, final = script.Plan(task)
	}
	done := len(c.results) - c.polls
	for _, step := range append(steps, Step{Call: &Call{Tool: "finish", Arguments: map[string]any{"summary": final}}}) {
		name, arguments := step.call(c.tools)
		if name == "" && c.search && step.Call != nil && step.Call.Tool != "finish" && !c.sought[step.Call.Tool] {
			t.search = step.Call.Tool
			return t, script.Name
		}
		if name == "" {
			continue
		}
		if done > 0 {
			done--
			continue
		}
		t.tool, t.namespace, t.arguments = name, c.tools[name], encode(arguments)
		return t, script.Name
	}
	t.text = final
	if len(c.answer) > 0 {
		t.text = fit(c.answer, final)
	}
	return t, script.Name
}

// poll waits for the last command when that is still running.
func (c *conversation) poll() (turn, bool) {
	if len(c.results) == 0 || c.polls >= maxPolls {
		return turn{}, false
	}
	namespace, offered := c.tools[pollTool]
	m := stillRunning.FindStringSubmatch(c.results[len(c.results)-1])
	if m == nil || !offered {
		return turn{}, false
	}
	return turn{tool: pollTool, namespace: namespace,
		arguments: fmt.Sprintf(`{"session_id":%s,"chars":"","yield_time_ms":15000}`, m[1])}, true
}

// call puts the step into the terms of the tools offered: first the builtin engine's, then Codex's. No name means that
// there is no tool for it.
func (s Step) call(tools map[string]string) (name string, arguments map[string]any) {
	has := func(name string) bool { _, ok := tools[name]; return ok }
	switch {
	case s.Call != nil:
		_, bare, qualified := strings.Cut(s.Call.Tool, "/")
		if !qualified {
			bare = s.Call.Tool
		}
		if namespace, ok := tools[bare]; ok && (!qualified || namespace+"/"+bare == s.Call.Tool) {
			return bare, s.Call.Arguments
		}
		return "", nil
	case s.Write != nil && has("write_file"):
		return "write_file", map[string]any{"path": s.Write.Path, "content": s.Write.Content}
	case s.Read != "" && has("read_file"):
		return "read_file", map[string]any{"path": s.Read}
	case s.List != "" && has("list_files"):
		return "list_files", map[string]any{"path": s.List}
	}
	command := s.command()
	switch {
	case has("exec_command"):
		return "exec_command", map[string]any{"cmd": command, "yield_time_ms": 20000}
	case has("shell"):
		return "shell", map[string]any{"command": []string{"bash", "-lc", command}}
	case has("run"):
		return "run", map[string]any{"command": command}
	}
	return "", nil
}

// command is the step as a shell command.
func (s Step) command() string {
	switch {
	case s.Write != nil:
		// The end mark must be no line of the content, which holds words of other people.
		end := "END"
		for strings.Contains("\n"+s.Write.Content+"\n", "\n"+end+"\n") {
			end += "_"
		}
		content := s.Write.Content
		if !strings.HasSuffix(content, "\n") {
			content += "\n"
		}
		p := quote(s.Write.Path)
		return "mkdir -p -- \"$(dirname -- " + p + ")\" && cat > " + p + " <<'" + end + "'\n" + content + end
	case s.Read != "":
		return "cat -- " + quote(s.Read)
	case s.List != "":
		return "ls -la -- " + quote(s.List)
	}
	return s.Run
}

// quote makes one shell word.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// encode is JSON without HTML escapes. v holds only strings, numbers, maps and slices, which always encode.
func encode(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "{}"
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// fit makes a JSON document of the schema's form. The text goes into the first string property that is called like a
// summary, or else into the first string property; all others get an empty value of their type.
func fit(schema json.RawMessage, text string) string {
	var s schemaNode
	if err := json.Unmarshal(schema, &s); err != nil {
		return text
	}
	target := ""
	for _, name := range s.Required {
		p := s.Properties[name]
		if p.Type != "string" || len(p.Enum) > 0 {
			continue
		}
		if target == "" || strings.Contains(name, "summary") || strings.Contains(name, "message") {
			target = name
		}
	}
	v := s.empty()
	if object, ok := v.(map[string]any); ok && target != "" {
		object[target] = text
	}
	return encode(v)
}

// schemaNode is the part of JSON Schema that OpenAI's structured output allows and fit needs.
type schemaNode struct {
	Type       any                   `json:"type"`
	Properties map[string]schemaNode `json:"properties"`
	Required   []string              `json:"required"`
	Enum       []any                 `json:"enum"`
}

func (s schemaNode) empty() any {
	if len(s.Enum) > 0 {
		return s.Enum[0]
	}
	switch s.Type {
	case "object":
		object := map[string]any{}
		for name, p := range s.Properties {
			object[name] = p.empty()
		}
		return object
	case "array":
		return []any{}
	case "string":
		return ""
	case "integer", "number":
		return 0
	case "boolean":
		return false
	}
	return nil
}
