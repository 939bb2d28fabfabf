package page

import (
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

var russian = Words{
	Tag: language.Russian, Language: "Русский",

	Skip: "К содержанию", Navigation: "Разделы", Runs: "Запуски", SignOut: "Выйти", SignedInAs: "Вы вошли как", AsAPI: "Через API",

	SignIn: "Вход", SignInWith: "Войти через GitHub", SignInLead: "Смотрите, что делают агенты, и отвечайте на их вопросы.",
	SignInMissing: "Пока никто не может войти. Оператор платформы должен задать:",
	SignInHint:    "Нужна роль в одном из проектов. GitHub сообщает платформе, кто вы, и больше ничего.",

	All: "Все", Active: "Активные", WaitingRuns: "Ждут", FailedRuns: "С ошибкой", Done: "Завершённые", Filter: "Фильтр", FilterHint: "state:failed project:shop stage:dev by:ann",
	Apply: "Применить", Clear: "Сбросить фильтр", Older: "Раньше", Newest: "Новые",
	NoRuns: "Запусков пока нет", NoRunsLead: "Поставьте метку, например run:dev, на задачу подключённого репозитория, и её запуск появится здесь.",
	NothingFound: "Под фильтр не подходит ни один запуск", NothingFoundLead: "Условия действуют вместе. Уберите одно или начните заново.",
	Issue: "Задача", Stage: "Этап", Role: "Роль", Model: "Модель", By: "Кто", Cost: "Стоимость", Took: "Время", Created: "Запрошен", Pull: "Pull request", Project: "Проект", State: "Состояние",
	Engine: "Движок", Effort: "Усилие", Attempt: "Job",
	Kinds: map[string]string{"work": "работа", "revise": "доработка", "review": "ревью", "discussion": "обсуждение"},
	States: map[string]string{
		"requested": "Запрошен", "queued": "В очереди", "starting": "Запускается", "running": "Работает", "waiting": "Ждёт",
		"succeeded": "Успешно", "failed": "Ошибка", "cancelled": "Отменён", "timed_out": "Вышло время",
	},
	WaitsFor: map[string]string{"approval": "одобрения", "question": "ответа", "owner_review": "ревью владельца", "budget": "бюджета", "rate_limit": "лимита провайдера", "checks": "обязательных проверок"},
	Steps: map[string]string{
		"run.requested": "Запуск запрошен", "run.queued": "Ждёт места", "run.starting": "Место получено", "run.started": "Под агента запущен", "run.running": "Агент работает",
		"run.waiting": "Ждёт людей", "run.answered": "Ответ получен", "run.resumed": "Продолжается", "run.succeeded": "Успешно", "run.failed": "Ошибка",
		"run.cancelled": "Отменён", "run.timed_out": "Вышло время", "run.aborted": "Попросили остановить", "run.repeated": "Запущен заново",
		"agent.reported": "Агент отчитался", "agent.delayed": "Под задерживается", "job.over": "Job завершён", "tool.executed": "Платформа выполнила просьбу",
		"pull_request.approved": "Pull request одобрен", "pull_request.closed": "Pull request закрыт", "services.known": "Сервисы найдены", "label.approved": "Метка одобрена",
		"approval.requested": "Спросил людей", "approval.decided": "Люди решили",
	},

	Timeline: "Ход", Log: "Журнал", Details: "Подробности", Asked: "Вопросы людям", Task: "Задание", Summary: "Итог", Progress: "Сейчас", Why: "Почему", Money: "Стоимость", Tokens: "Токены", Time: "Время",
	In: "вход", Cached: "из кэша", Out: "выход", Unpriced: "цена части вызовов неизвестна",
	NoLog: "Строк пока нет", NoLogLead: "Журнал начнётся вместе с подом агента.", First: "Начало", Previous: "Назад", Next: "Дальше", Last: "Конец", Search: "Найти", SearchLog: "Поиск в журнале",
	SearchedTo: "Просмотрено до строки", Lines: "Строки", LogLine: "Строка", Follow: "Следить", NewLines: "Новые строки", Namespace: "Пространство имён", Process: "Процесс", Prompt: "Промпт", Base: "Базовая ветка", Head: "Коммит",
	Deadline: "Крайний срок", Heartbeat: "Последний сигнал", OpenIssue: "Задача на GitHub", OpenPull: "Pull request на GitHub", NoPull: "пока нет", AsOf: "на", Because: "потому что", Nothing: "Ничего не найдено",
	Raw: "JSON", LostLive: "Связь потеряна, пробуем снова.", OverLive: "Следить за этой страницей больше нельзя.", StaleLive: "Обновления приостановлены", Resume: "Продолжить",

	Profile: "Профиль", IsClosed: "Закрыта", NotHeard: "Платформа ещё не слышала об этой задаче. Посмотрите на последний вебхук в make doctor и на доставки вебхука на GitHub.",
	Drift: "Ещё нет на GitHub:", HeldBack: "Придержано: запросов больше, чем позволяет процесс:", FollowsThen: "Последует, когда запуск завершится успешно:",
	WorksFrom: "Нужно", Leaves: "Оставит", NextSteps: "Что может последовать", NoEffect: "Что сейчас не подействует", Unhandled: "Ещё не обработано", DeadLetter: "не удалось окончательно", Timer: "срок", NotYet: "повтор",
	Happened: "Что произошло", NothingHappened: "Об этой задаче ещё ничего не решено.",
	OtherSteps: "Другие этапы", Stages: "Этапы", Effects: map[string]string{"starts": "запустит этап", "stops": "остановит запуск", "changes": "изменит метки", "nothing": "ничего"},
	Standings: map[string]string{"ahead": "впереди", "skipped": "пропущен", "active": "в работе", "waiting": "ждёт", "review": "на ревью", "approved": "одобрен", "done": "готово", "failed": "ошибка", "stopped": "остановлен", "superseded": "заменён"},
	Reviews:   map[string]string{"approved": "Одобрение pull request", "changes_requested": "Запрос изменений"},

	Home: "Главная", NeedsYou: "Ждёт вас", NothingNeedsYou: "Вас ничто не ждёт", NothingNeedsYouLead: "Здесь появятся вопросы агентов, на которые можно ответить сразу.",
	AtWork: "В работе", FailedOfLate: "Недавние ошибки", DoneOfLate: "Недавно завершено", Question: "Вопрос", Decision: "Одобрение", AgentSays: "Агент говорит", Risk: "Риск", DecideBy: "Решить до",
	YourWords: "Ваш ответ", YourReason: "Причина, если хотите её назвать", SendAnswer: "Отправить ответ", NoAnswer: "Не отвечать", Approve: "Одобрить", Deny: "Отклонить",
	VoteStored: "Ваш голос сохранён. Что он решил, будет видно здесь через мгновение.",
	Choices:    map[string]string{"approve": "за", "deny": "против", "answer": "ответ"},

	Orders: map[string]string{"start": "Запустить", "cancel": "Остановить этот запуск", "release": "Отпустить удержанное", "drop": "Отбросить удержанное"},
	Does: map[string]string{"starts": "Начнётся запуск.", "stops": "Запуск будет остановлен. Отправленное им останется.", "changes": "Удержанное будет отброшено.",
		"holds": "Это будет удержано: в репозитории уже запрошено столько, сколько разрешает процесс.", "nothing": "Ничего не произойдёт."},
	OrderStates: map[string]string{"pending": "Команда сохранена, решение будет через мгновение.", "done": "Готово.", "held": "Удержано.", "refused": "Отказано."},
	StopRun:     "Остановить", RunAgain: "Запустить снова", ReviseRun: "Доработать", WhatComes: "Что будет", LabelsOn: "Метки, которые получит задача", LabelsOff: "Метки, которые она потеряет",
	PlaceInQueue: "Место среди ожидающих", YourChanges: "Что изменить; без слов — то, что говорит последняя рецензия", DoIt: "Выполнить", Leave: "Оставить", LookAgain: "Посмотреть снова",

	AccessTokens: "Токены доступа", TokensLead: "С токеном программа пользуется API от вашего имени: в пределах его областей и ваших прав на тот момент.", NoTokens: "Токенов пока нет.",
	TokenMade: "Вот токен", TokenMadeLead: "Скопируйте его сейчас: больше он не появится. Кто им владеет, действует от вашего имени.", MakeToken: "Создать токен", Name: "Имя", ScopesOf: "Для чего он годится",
	ProjectsOf: "Только в этих проектах, через пробел; пусто — во всех ваших", Days: "Дней", Revoke: "Отозвать", GoodUntil: "годен до", UsedLast: "использован", Never: "не использован",
	Scopes: map[string]string{"read": "смотреть всё", "runs": "запускать и останавливать", "approve": "отвечать на запросы"},

	Problem: "Что-то мешает", WhatToDo: "Что делать", BackHome: "К запускам", Status: "Статус", LeastRole: "Нужна эта роль или более сильная:",

	Units: map[string]string{"d": "д", "h": "ч", "min": "мин", "s": "с"}, Ago: "%s назад", Now: "только что",
	Count: Plural{plural.One: "%d строка", plural.Few: "%d строки", plural.Many: "%d строк", plural.Other: "%d строки"},
	Calls: Plural{plural.One: "%d вызов модели", plural.Few: "%d вызова модели", plural.Many: "%d вызовов модели", plural.Other: "%d вызова модели"},
}
