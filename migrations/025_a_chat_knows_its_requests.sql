-- +goose Up

-- By where it was, what a comment in a tracker is about: it carries no button.
CREATE INDEX chat_messages_by_chat ON chat_messages (channel, (ref ->> 'chat'));
