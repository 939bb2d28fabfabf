package chat

import "codexk8s.dev/shared/approval"

// words are the texts of ours in a message, in one language.
type words struct {
	state                                                  map[approval.State]string
	arguments, why, risk, options, links, votes            string
	until, request, all, issue                             string
	approve, deny, denyWords, ownWords                     string
	reason, answer, send, cancel, replyReason, replyAnswer string
	approved, denied, answered                             string
	cut, noWords, more, question, comment                  string
}

var english = words{
	state: map[approval.State]string{
		approval.Requested: "⏳ Approval needed", approval.Open: "⏳ Approval needed", approval.Approved: "✅ Approved", approval.Denied: "⛔ Denied",
		approval.Answered: "✅ Answered", approval.Expired: "⌛ Expired", approval.Withdrawn: "↩ Withdrawn", approval.Superseded: "↪ Superseded",
	},
	arguments: "Arguments", why: "Why, in the agent's words", risk: "Risk, in the agent's words", options: "Options, in the agent's words",
	links: "Links that the agent gives", votes: "Votes", until: "Until", request: "Request", all: "Cut to fit. All of it:", issue: "Issue",
	approve: "Approve", deny: "Deny", denyWords: "Deny with a reason", ownWords: "Answer in my words",
	reason: "Reason", answer: "Answer", send: "Send", cancel: "Cancel",
	replyReason: "Reply to this message with the reason of your denial.", replyAnswer: "Reply to this message with your answer.",
	approved: "approves", denied: "denies", answered: "answers", cut: "… (cut)", noWords: "The agent has said nothing about it.",
	more: "and %d more", question: "❓ Question", comment: "Comment:",
}

var russian = words{
	state: map[approval.State]string{
		approval.Requested: "⏳ Нужно согласие", approval.Open: "⏳ Нужно согласие", approval.Approved: "✅ Одобрено", approval.Denied: "⛔ Отклонено",
		approval.Answered: "✅ Отвечено", approval.Expired: "⌛ Срок истёк", approval.Withdrawn: "↩ Отозвано", approval.Superseded: "↪ Заменено",
	},
	arguments: "Аргументы", why: "Зачем, словами агента", risk: "Риск, словами агента", options: "Варианты, словами агента",
	links: "Ссылки от агента", votes: "Голоса", until: "До", request: "Запрос", all: "Не поместилось. Целиком:", issue: "Задача",
	approve: "Одобрить", deny: "Отклонить", denyWords: "Отклонить с причиной", ownWords: "Ответить своими словами",
	reason: "Причина", answer: "Ответ", send: "Отправить", cancel: "Отмена",
	replyReason: "Ответьте на это сообщение: почему вы отклоняете запрос.", replyAnswer: "Ответьте на это сообщение своим ответом.",
	approved: "за", denied: "против", answered: "отвечает", cut: "… (обрезано)", noWords: "Агент ничего об этом не сказал.",
	more: "и ещё %d", question: "❓ Вопрос", comment: "Ответьте комментарием:",
}

// wordsIn are those of a language, English if we don't have it.
func wordsIn(lang string) words {
	if lang == "ru" {
		return russian
	}
	return english
}

func (t tag) words() words {
	if t.russian {
		return russian
	}
	return english
}
