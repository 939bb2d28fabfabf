package engine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	openai "github.com/sashabaranov/go-openai"
)

func TestOpenToolCallsAreAnsweredOnResume(t *testing.T) {
	t.Parallel()
	call := func(id string) openai.ToolCall { return openai.ToolCall{ID: id} }
	messages := []openai.ChatCompletionMessage{
		{Role: "user", Content: "do"},
		{Role: "assistant", ToolCalls: []openai.ToolCall{call("1"), call("2")}},
		{Role: "tool", ToolCallID: "1", Content: "ok"},
	}
	got := closeCalls(messages)
	want := append(messages[:3:3], openai.ChatCompletionMessage{Role: "tool", ToolCallID: "2", Content: "aborted: the container was lost while this ran"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestLongHistoryLosesOldResultsOnly(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", maxHistory/2)
	messages := []openai.ChatCompletionMessage{{Role: "user", Content: "do"}, {Role: "tool", Content: big}, {Role: "assistant", Content: "hm"}, {Role: "tool", Content: big}}
	got := shortened(messages)
	want := []openai.ChatCompletionMessage{messages[0], {Role: "tool", Content: "[left out]"}, messages[2], messages[3]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if len(messages[1].Content) != len(big) {
		t.Error("the history itself was changed")
	}
}

func TestArgumentsOfToolsCountInAHistory(t *testing.T) {
	t.Parallel()
	call := openai.ToolCall{ID: "1", Function: openai.FunctionCall{Name: "write_file", Arguments: strings.Repeat("x", maxHistory/2)}}
	var messages []openai.ChatCompletionMessage
	for range 4 {
		messages = append(messages, openai.ChatCompletionMessage{Role: "assistant", ToolCalls: []openai.ToolCall{call}}, toolResult(call, "wrote"))
	}
	total := 0
	got := shortened(messages)
	for _, m := range got {
		total += size(m)
	}
	if total > maxHistory || got[6].ToolCalls[0].Function.Arguments != call.Function.Arguments || messages[0].ToolCalls[0].Function.Arguments != call.Function.Arguments {
		t.Errorf("a history of %d bytes, or the newest call was shortened, or the history itself", total)
	}
}
