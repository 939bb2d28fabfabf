package chat

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/reason"
)

// mattermostCallback is a click or a dialog that was sent.
type mattermostCallback struct {
	Type    string `json:"type"` // dialog_submission, or that of what was clicked
	User    string `json:"user_id"`
	Name    string `json:"user_name"`
	Channel string `json:"channel_id"`
	Post    string `json:"post_id"`
	Trigger string `json:"trigger_id"`
	Context struct {
		Tag string `json:"tag"`
	} `json:"context"`
	State      string         `json:"state"`
	Submission map[string]any `json:"submission"`
	Cancelled  bool           `json:"cancelled"`
}

// Read takes a click on a button, a dialog that was sent, or the slash command by which a code comes.
func (c *Mattermost) Read(_ *http.Request, body []byte, now time.Time) (Callback, error) {
	if err := bounded(body); err != nil {
		return Callback{}, err
	}
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return c.readCommand(body)
	}
	var in mattermostCallback
	if err := plain.Unmarshal(body, &in); err != nil {
		return Callback{}, malformed("a callback of Mattermost: %v", err)
	}
	ref := Ref{Chat: oneLine(in.Channel, 64), Message: oneLine(in.Post, 64)}
	by := events.Voter{Channel: approval.Mattermost, Account: oneLine(in.User, 64), Name: oneLine(in.Name, 100), Chat: ref.Chat}
	if in.Type == "dialog_submission" {
		return c.readDialog(in, ref, by, now)
	}
	t, err := open(c.Keys, approval.Mattermost, "", in.Context.Tag)
	if err != nil || by.Account == "" {
		return Callback{}, forged(reason.WrongSignature, "the context of the button is not ours")
	}
	cb := Callback{Kind: Voted, Ref: ref, tag: t, trigger: in.Trigger, Vote: t.vote(approval.Mattermost), answer: mattermostTold("ephemeral_text")}
	cb.Vote.ID, cb.Vote.By, cb.Vote.At = "mattermost:"+oneLine(in.Trigger, 200), by, at(now)
	if t.asks() {
		cb.Kind = Asked
	}
	return cb, nil
}

func (c *Mattermost) readDialog(in mattermostCallback, ref Ref, by events.Voter, now time.Time) (Callback, error) {
	parts := strings.Split(in.State, ".")
	if len(parts) != 3 {
		return Callback{}, forged(reason.WrongSignature, "the state of the dialog is not ours")
	}
	ref.Message = parts[1]
	t, err := open(c.Keys, approval.Mattermost, dialogOf(by.Account, ref, parts[2]), parts[0])
	if err != nil || by.Account == "" {
		return Callback{}, forged(reason.WrongSignature, "the state of the dialog is not ours, or of another person or message")
	}
	cb := Callback{Kind: Nothing, Ref: ref, tag: t, Vote: t.vote(approval.Mattermost), answer: mattermostTold("error")}
	cb.Vote.ID, cb.Vote.By, cb.Vote.At = "mattermost:"+oneLine(in.State, 200), by, at(now)
	until, err := strconv.ParseInt(parts[2], 10, 64)
	words, _ := in.Submission[slackField].(string)
	cb.Vote.Text = inWords(words)
	switch {
	case err != nil || now.Unix() > until:
		cb.Why = reason.Stale
	case in.Cancelled:
		cb.Why = "cancelled"
	case cb.Vote.Text == "":
		cb.Why = reason.NoWords
	default:
		cb.Kind = Voted
	}
	return cb, nil
}

// mattermostTold answers with words in a field; those of a dialog are an error, which keeps it open, so good news are
// not told.
func mattermostTold(field string) func(string, bool) Response {
	return func(words string, counted bool) Response {
		if words == "" || field == "error" && counted {
			return respond(object{})
		}
		return respond(object{field: defuse(words), "skip_slack_parsing": true})
	}
}

// readCommand takes "/codexk8s link CODE", which is authenticated by the command's token.
// https://developers.mattermost.com/integrate/slash-commands/custom/
func (c *Mattermost) readCommand(body []byte) (Callback, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return Callback{}, malformed("a command of Mattermost: %v", err)
	}
	if err := sameSecret(c.Commands, form.Get("token"), "token"); err != nil {
		return Callback{}, err
	}
	cb := readSlackCommand(form)
	cb.Vote.By.Channel = approval.Mattermost
	return cb, nil
}
