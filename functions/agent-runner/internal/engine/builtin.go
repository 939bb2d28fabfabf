package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"

	"github.com/google/uuid"
	openai "github.com/sashabaranov/go-openai"

	"codexk8s.dev/functions/agent-runner/internal/gateway"
	"codexk8s.dev/functions/agent-runner/internal/model"
	"codexk8s.dev/functions/agent-runner/internal/outcome"
	"codexk8s.dev/shared/reason"
)

// builtin is the engine without the Codex CLI: a conversation with tools over Chat Completions, for roles that only
// write code and for machines without Codex. Its memory is the list of messages.
type builtin struct {
	client    *openai.Client
	line      *model.Line
	tools     *toolbox
	platform  []openai.Tool // that the platform offers, besides our own
	model     string
	reasoning string
	log       *gateway.Log

	mu       sync.Mutex
	threadID string
	messages []openai.ChatCompletionMessage
}

// Bounds of one turn, so that a confused model ends.
const (
	maxTurns   = 50
	maxHistory = 600 << 10 // bytes of messages sent; older tool results are left out beyond it
)

const builtinSystem = `You are a software engineer who works alone in a checked-out repository by calling tools. All paths are relative to its root.
Look before you change, keep changes small, run the tests. When the task is done, call finish with a summary.`

func newBuiltin(o Options) (*builtin, error) {
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the workspace: %w", err)
	}
	config := openai.DefaultConfig("") // the line adds the token
	config.BaseURL = o.Line.URL()
	config.HTTPClient = &http.Client{Transport: o.Line}
	return &builtin{
		client: openai.NewClientWithConfig(config), line: o.Line, tools: &toolbox{root: root, dir: o.Dir},
		model: o.Model, reasoning: o.Reasoning, log: o.Log,
	}, nil
}

func (b *builtin) Resume(from Conversation) error {
	var messages []openai.ChatCompletionMessage
	if err := json.Unmarshal(from.Data, &messages); err != nil {
		return fmt.Errorf("reading the session: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.threadID, b.messages = from.ThreadID, closeCalls(messages)
	return nil
}

// closeCalls answers tool calls that a lost pod left open: the API refuses a history in which one has no answer.
func closeCalls(messages []openai.ChatCompletionMessage) []openai.ChatCompletionMessage {
	answered := map[string]bool{}
	last := -1
	for i, m := range messages {
		if m.Role == openai.ChatMessageRoleTool {
			answered[m.ToolCallID] = true
		}
		if len(m.ToolCalls) > 0 {
			last = i
		}
	}
	if last < 0 {
		return messages
	}
	for _, call := range messages[last].ToolCalls {
		if !answered[call.ID] {
			messages = append(messages, toolResult(call, "aborted: the container was lost while this ran"))
		}
	}
	return messages
}

func toolResult(call openai.ToolCall, text string) openai.ChatCompletionMessage {
	return openai.ChatCompletionMessage{Role: openai.ChatMessageRoleTool, ToolCallID: call.ID, Content: text}
}

func (b *builtin) Conversation() (Conversation, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.messages) == 0 {
		return Conversation{}, nil
	}
	data, err := json.Marshal(b.messages)
	if err != nil {
		return Conversation{}, fmt.Errorf("encoding the session: %w", err)
	}
	return Conversation{ThreadID: b.threadID, Data: data}, nil
}

// Forget leaves the conversation.
func (b *builtin) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.threadID, b.messages = "", nil
}

func (b *builtin) add(m openai.ChatCompletionMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, m)
}

func (b *builtin) Run(ctx context.Context, message string) (string, error) {
	b.mu.Lock()
	if b.threadID == "" {
		b.threadID = uuid.NewString()
		b.messages = []openai.ChatCompletionMessage{{Role: openai.ChatMessageRoleSystem, Content: builtinSystem}}
	}
	b.mu.Unlock()
	b.add(openai.ChatCompletionMessage{Role: openai.ChatMessageRoleUser, Content: message})
	b.listTools(ctx)
	for range maxTurns {
		summary, done, err := b.turn(ctx)
		if err != nil && ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if done || err != nil {
			return summary, err
		}
	}
	return "", &outcome.Failure{Reason: reason.Engine, Summary: fmt.Sprintf("The agent did not finish within %d turns.", maxTurns)}
}

// turn asks the model once and does what it asks for. Done means that it called finish, or nothing.
func (b *builtin) turn(ctx context.Context) (summary string, done bool, err error) {
	b.mu.Lock()
	history := shortened(b.messages)
	b.mu.Unlock()
	res, err := b.client.CreateChatCompletion(ctx, openai.ChatCompletionRequest{
		Model: b.model, ReasoningEffort: b.reasoning, Messages: history, Tools: slices.Concat(toolDefinitions, b.platform),
	})
	if err != nil {
		return "", false, fmt.Errorf("asking the model: %w", err)
	}
	if len(res.Choices) == 0 {
		return "", false, errors.New("the model answered with no choice")
	}
	b.log.Add(gateway.StreamRunner, fmt.Sprintf("tokens: %d in, %d out", res.Usage.PromptTokens, res.Usage.CompletionTokens))
	answer := res.Choices[0].Message
	b.add(answer)
	if answer.Content != "" {
		b.log.Add(gateway.StreamAgent, answer.Content)
		b.log.Show(answer.Content)
	}
	if len(answer.ToolCalls) == 0 {
		return answer.Content, true, nil
	}
	for _, call := range answer.ToolCalls {
		b.log.Add(gateway.StreamAgent, "tool "+call.Function.Name+" "+call.Function.Arguments)
		b.log.Show(call.Function.Name + " " + call.Function.Arguments)
		result := b.call(ctx, call.Function.Name, call.Function.Arguments)
		b.add(toolResult(call, result.text))
		b.log.Add(gateway.StreamAgent, firstLines(result.text, maxOutputLines))
		if result.finished {
			summary, done = result.text, true
		}
	}
	return summary, done, ctx.Err()
}

// listTools asks for the platform's tools. An agent works without them too.
func (b *builtin) listTools(ctx context.Context) {
	offered, err := b.line.ListTools(ctx)
	if err != nil {
		b.log.Say("The platform's tools are not to be had, going on without: %v", err)
		return
	}
	b.platform = nil
	for _, t := range offered {
		b.platform = append(b.platform, openai.Tool{Type: openai.ToolTypeFunction, Function: &openai.FunctionDefinition{
			Name: t.Name, Description: t.Description, Parameters: t.InputSchema,
		}})
	}
}

// call does what the model asks for, here or at the platform.
func (b *builtin) call(ctx context.Context, name, arguments string) toolAnswer {
	if !slices.ContainsFunc(b.platform, func(t openai.Tool) bool { return t.Function.Name == name }) {
		return b.tools.call(ctx, name, arguments)
	}
	if !json.Valid([]byte(arguments)) {
		return toolAnswer{text: fmt.Sprintf("error: the arguments of %s are no JSON", name)}
	}
	text, err := b.line.CallTool(ctx, name, json.RawMessage(arguments))
	if err != nil {
		return toolAnswer{text: "error: " + err.Error()}
	}
	return toolAnswer{text: text}
}

// shortened is the history with the oldest results and arguments of tools left out until it fits. Calls themselves
// stay, as the API demands, and so does what people and the model said.
func shortened(messages []openai.ChatCompletionMessage) []openai.ChatCompletionMessage {
	total := 0
	for _, m := range messages {
		total += size(m)
	}
	out := append([]openai.ChatCompletionMessage(nil), messages...)
	for i := range out {
		if total <= maxHistory {
			break
		}
		total -= size(out[i])
		if out[i].Role == openai.ChatMessageRoleTool {
			out[i].Content = "[left out]"
		}
		out[i].ToolCalls = append([]openai.ToolCall(nil), out[i].ToolCalls...)
		for n := range out[i].ToolCalls {
			out[i].ToolCalls[n].Function.Arguments = `{"left_out":true}`
		}
		total += size(out[i])
	}
	return out
}

// size is what a message adds to a request, in bytes.
func size(m openai.ChatCompletionMessage) int {
	total := len(m.Content)
	for _, call := range m.ToolCalls {
		total += len(call.Function.Name) + len(call.Function.Arguments)
	}
	return total
}
