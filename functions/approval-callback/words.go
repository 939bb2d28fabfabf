package main

import (
	"codexk8s.dev/shared/reason"
)

// What people are told where no request says in which language.
var (
	notStored = both("That could not be stored. Please click again.", "Не удалось сохранить. Нажмите ещё раз.")

	// idle are the channels' reasons for what was not meant for us, or means nothing.
	idle = map[string]bool{"not_for_us": true, "cancelled": true}

	// hints are for acts of people that are no vote, by the channel's reason; others need no words.
	hints = map[string]string{
		reason.UnknownButton: both("This button is not known any more.", "Эта кнопка больше не действует."),
		reason.CodeInPublic: both("Others have seen this code. Ask for a new one, and send it to the bot in private.",
			"Этот код видели другие. Запросите новый и отправьте его боту лично."),
		reason.ReplyElsewhere: both("To answer with words, click the button for it first.", "Чтобы ответить словами, сначала нажмите кнопку для этого."),
		reason.WhichRequest: both("Several requests are open here. Please copy the whole command, with its digits.",
			"Здесь открыто несколько запросов. Скопируйте команду целиком, вместе с её цифрами."),
		reason.UnknownCommand: both("To link your account: /codexk8s link CODE. Ask the platform's operator for the code.",
			"Чтобы связать учётную запись: /codexk8s link КОД. Код выдаёт администратор платформы."),
		reason.Stale: both("Too late: this form or message is too old. Please click the button again.",
			"Поздно: форма или сообщение устарели. Нажмите кнопку ещё раз."),
		reason.AnsweredBefore: both("This was answered before, otherwise. The first answer counts.", "Ответ уже был дан, и он был другим. Действует первый."),
		reason.ByAProgram: both("Only people can decide, in their own name and not in that of a group or a channel.",
			"Решать могут только люди, от своего имени, а не от имени группы или канала."),
		reason.NoWords: both("Please reply with text.", "Ответьте, пожалуйста, текстом."),
	}
)

func both(english, russian string) string { return english + "\n" + russian }
