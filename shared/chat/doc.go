// Package chat shows requests for approval in chats and trackers, and reads what people do there: one file for each
// channel.
//
// A channel has these methods, and nothing else is known of it outside:
//
//	Post     shows a message for the first time, and returns where it stands (Ref)
//	Edit     makes a message show its newest version
//	Remind   writes a short new message that points at the first
//	Read     verifies a callback and says what it means (Callback): a vote, a wish to write a reason, a code, or nothing
//	Ask      offers a field for the reason or the answer, after a click that wants one
//	Tell     says something to the person who acted, where the answer to the callback can't (Slack)
//
// One that can be asked whether a message is there already has Find as well (Finder): Slack.
//
// Callback.Answer is what the channel's server gets as the answer to its callback.
//
// # What people see
//
// Every message is laid out once (layout), then written in the channel's own markup. Titles and heads are ours; all
// else may have been written by an agent or a stranger. Such text stands where the channel knows no markup (code, plain
// text nodes), invisible characters are spelt out, a link shows the host that it leads to. So nobody forges a line, a
// mention, a link or a button. What does not fit into the channel's limits is cut, the longest texts first, and the
// message says where all of it is.
//
// # What buttons carry
//
// A button carries a tag: the request, the digest under which it was shown, the choice, and a MAC of all that under our
// own secret (Signer). A client that makes up the data of a click, as those of Telegram can, gets nowhere, nothing has
// to be looked up to know what was clicked, and a function that was just started can do it.
//
// # Errors
//
// An error of a call is *Refused when the same call would fail again, with the reason; *Later when the channel said how
// long to wait; and any other error is worth another try. An error of Read is *Unfit, with the HTTP status to answer.
//
// No error holds a secret: Telegram's address has the token in it, so addresses are left out.
package chat
