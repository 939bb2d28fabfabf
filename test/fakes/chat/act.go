package fakechat

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// Click presses the button of a post whose label contains the words.
func (s *Server) Click(ctx context.Context, post Post, words, person string) (Result, error) {
	who, err := s.person(person)
	if err != nil {
		return Result{}, err
	}
	for _, b := range post.Buttons {
		if strings.Contains(b.Label, words) {
			return s.click(ctx, post, b, who)
		}
	}
	return Result{}, fmt.Errorf("no button of %s in %s says %q", post.ID, post.Chat, words)
}

func (s *Server) click(ctx context.Context, post Post, b Button, who Person) (Result, error) {
	switch post.Channel {
	case Telegram:
		return s.telegramClick(ctx, post, b, who)
	case Slack:
		return s.slackClick(ctx, post, b, who)
	case Mattermost:
		return s.mattermostClick(ctx, post, b, who)
	case Jira:
		return s.jiraClick(ctx, post, b, who)
	case Approver:
		return s.approverClick(ctx, post, b, who)
	}
	return Result{}, fmt.Errorf("%s has no buttons", post.Channel)
}

// Reply writes words in a chat, in answer to a post if to is one's id.
func (s *Server) Reply(ctx context.Context, channel, chat, to, text, person string) (Result, error) {
	who, err := s.person(person)
	if err != nil {
		return Result{}, err
	}
	switch channel {
	case Telegram:
		return s.telegramReply(ctx, chat, to, text, who)
	case Jira:
		return s.jiraReply(ctx, chat, text, who)
	}
	return Result{}, fmt.Errorf("%s has no replies", channel)
}

// readJSON decodes a request of at most a megabyte, and returns it as it came.
func readJSON(r *http.Request, to any) (json.RawMessage, error) {
	if r.Method == http.MethodGet {
		return nil, nil
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return nil, fmt.Errorf("can't parse JSON: %w", err)
	}
	return raw, nil
}

// Form is what is open before a person, nil if nothing is.
func (s *Server) Form(channel, person string) *Form {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.forms {
		if f.Channel == channel && f.Person == person {
			shown := *f
			return &shown
		}
	}
	return nil
}

// Fill sends the form that is open before a person.
func (s *Server) Fill(ctx context.Context, channel, text, person string) (Result, error) {
	who, err := s.person(person)
	if err != nil {
		return Result{}, err
	}
	f := s.Form(channel, person)
	if f == nil {
		return Result{}, fmt.Errorf("no form of %s is open before %s", channel, person)
	}
	s.mu.Lock()
	s.forms = slices.DeleteFunc(s.forms, func(x *Form) bool { return x.id == f.id })
	s.mu.Unlock()
	switch channel {
	case Approver:
		return s.approverFill(ctx, *f, text)
	case Mattermost:
		return s.mattermostFill(ctx, *f, text, who)
	}
	return s.slackFill(ctx, *f, text, who)
}

// Link sends a code in private, as a person does who ties their account to a user.
func (s *Server) Link(ctx context.Context, channel, code, person string) (Result, error) {
	who, err := s.person(person)
	if err != nil {
		return Result{}, err
	}
	switch channel {
	case Telegram:
		return s.telegramReply(ctx, fmt.Sprint(who.ID), "", "/start "+code, who)
	case Slack:
		return s.slackLink(ctx, code, who)
	case Mattermost:
		return s.mattermostLink(ctx, code, who)
	}
	return Result{}, fmt.Errorf("%s has no command", channel)
}
