package llm

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// parameters are the keys of a body that a gateway lets pass, by endpoint. They include those that are known but not
// offered, because they may be null:
// https://platform.openai.com/docs/api-reference/responses/create and https://platform.openai.com/docs/api-reference/chat/create
var parameters = map[Endpoint][]string{
	Responses: {
		"background", "client_metadata", "context_management", "conversation", "include", "input", "instructions", "max_output_tokens",
		"max_tool_calls", "metadata", "model", "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key",
		"prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store", "stream",
		"stream_options", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user",
	},
	Chat: {
		"frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "messages",
		"metadata", "model", "n", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options",
		"prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store",
		"stream", "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
		"web_search_options",
	},
}

// localTools are the types of tools that the client runs itself. All others OpenAI runs, with a network of its own:
// https://platform.openai.com/docs/guides/tools. A namespace is a list of tools, and tool_search looks into that list.
var localTools = []string{"function", "custom", "namespace", "local_shell", "apply_patch", "tool_search"}

// maxNamespaces is how deep lists of tools may be nested. The scanner does not look below its maxDepth.
const maxNamespaces = 3

// inspection is the reading of one body.
type inspection struct {
	Request
	endpoint Endpoint
	seen     map[string]bool // parameters, in small letters
	mistakes []error
	item     struct{ id, kind bool } // what the current item of the input has said about itself
	typed    map[string]bool         // the open tools that have a type, by path
}

// maxMistakes is how many mistakes of a body are reported: the first ones say enough.
const maxMistakes = 5

func (i *inspection) wrong(format string, args ...any) {
	if len(i.mistakes) < maxMistakes {
		i.mistakes = append(i.mistakes, fmt.Errorf(format, args...))
	}
}

// key takes the name of a member.
func (i *inspection) key(level int, key []byte) {
	if level != 1 {
		return
	}
	name := string(key)
	small := strings.ToLower(name)
	switch {
	case !slices.Contains(parameters[i.endpoint], small):
		i.wrong("the parameter %.60q is not offered here", name)
	case name != small:
		i.wrong("write %q as %q", name, small)
	}
	i.once(small)
}

func (i *inspection) once(name string) {
	if i.seen[name] {
		i.wrong("%q is given twice", name)
	}
	i.seen[name] = true
}

// tool matches the path of a tool, wherever tools may be named: in the request, in namespaces, among the choices, and
// in the items of a conversation that add some.
var tool = regexp.MustCompile(`^(?:input\[\]\.|tool_choice\.)?(?:tools\[\]\.)*tools\[\]$`)

// value takes a value. Paths are compared in lower case, because some readers accept "Type" for "type".
func (i *inspection) value(f *field) {
	i.parameter(f)
	path := strings.ToLower(string(f.Path))
	last := path[strings.LastIndexByte(path, '.')+1:]
	switch owner := strings.TrimSuffix(path, ".type"); {
	case owner != path && tool.MatchString(owner):
		i.typed[owner] = true
		if kind := f.text(); f.Kind != '"' || !slices.Contains(localTools, kind) {
			i.hosted(kind)
		}
	case last == "tools[]" && tool.MatchString(path):
		if !i.typed[path] {
			i.wrong("a tool in %q has no type", path)
		}
		if strings.Count(path, "tools[]") > maxNamespaces {
			i.wrong("a tool in %q is too deep", path)
		}
		i.typed[path] = false
	case strings.HasPrefix(path, "input[]"), strings.HasPrefix(path, "messages[]"):
		i.content(path, last, f)
	}
}

// content takes a part of the conversation. What it names without containing it OpenAI would fetch.
func (i *inspection) content(path, last string, f *field) {
	switch {
	case path == "input[]":
		if i.item.id && !i.item.kind {
			i.wrong("an item of the input is an id and nothing else: send the item itself")
		}
		i.item.id, i.item.kind = false, false
	case path == "input[].id":
		i.item.id = true
	case path == "input[].type", path == "input[].role":
		i.item.kind = i.item.kind || !null(f)
		if f.text() == "item_reference" {
			i.wrong("an item of the input is a reference: send the item itself")
		}
	case f.Kind == '"' && file.MatchString(path):
		i.Files++
		i.Text -= f.Length
		if remote.MatchString(path) && !bytes.HasPrefix(f.Token, []byte("data:")) {
			i.wrong("%q is an address that OpenAI would fetch: send the thing itself, as a data: URL", path)
		}
	case null(f):
	case last == "file_id", last == "file_ids[]":
		i.wrong("%q names a file at OpenAI: send the file itself, as data", path)
	}
}

// file matches the paths of files, remote those of them that may hold an address: image_url, image_url.url, file_url.
var (
	file   = regexp.MustCompile(`(?:_url(?:\.url)?|file_data|input_audio\.data)$`)
	remote = regexp.MustCompile(`_url(?:\.url)?$`)
)

// dated matches the version at the end of a tool's type: web_search_2025_08_26.
var dated = regexp.MustCompile(`_\d{4}_\d{2}_\d{2}$`)

// hosted notes a tool that OpenAI runs.
func (i *inspection) hosted(kind string) {
	kind = dated.ReplaceAllString(strings.ToLower(kind), "")
	if !slices.Contains(i.Hosted, kind) && len(i.Hosted) < maxMistakes {
		i.Hosted = append(i.Hosted, kind)
	}
}
