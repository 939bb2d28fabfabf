package main

// What people are told where no request says in which language.
var (
	notStored = both("That could not be stored. Please click again.", "Не удалось сохранить. Нажмите ещё раз.")

	// hints are for acts of people that are no vote, by the channel's reason; others need no words.
	hints = map[string]string{
		"unknown_button": both("This button is not known any more.", "Эта кнопка больше не действует."),
		"code_in_public": both("Others have seen this code. Ask for a new one, and send it to the bot in private.",
			"Этот код видели другие. Запросите новый и отправьте его боту лично."),
		"reply_elsewhere": both("To answer with words, click the button for it first.", "Чтобы ответить словами, сначала нажмите кнопку для этого."),
		"which_request": both("Several requests are open here. Please copy the whole command, with its digits.",
			"Здесь открыто несколько запросов. Скопируйте команду целиком, вместе с её цифрами."),
		"no_words": both("Please reply with text.", "Ответьте, пожалуйста, текстом."),
	}
)

func both(english, russian string) string { return english + "\n" + russian }
