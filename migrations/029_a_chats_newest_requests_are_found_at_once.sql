-- +goose Up

-- By how new it is, too: of all that a chat has ever shown, a comment without a button means one of the newest.
CREATE INDEX chat_messages_by_chat_and_age ON chat_messages (channel, (ref ->> 'chat'), changed_at);
DROP INDEX chat_messages_by_chat;
