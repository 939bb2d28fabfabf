package page

// A Kind of problem is what can be said about every one of it, by language.
type Kind struct {
	Status      int // of HTTP
	Title, Text map[string]string
}

// A Problem is one that somebody met.
type Problem struct {
	Slug   string
	Detail string // about the case at hand; "" = nothing
}

// Kind is the problem's.
func (p Problem) Kind() Kind { return Problems[p.Slug] }

// Problems are all kinds by their slug, the last part of the type's address.
var Problems = map[string]Kind{
	"not-found": {404, both("There is nothing here", "Здесь ничего нет"),
		both("The address is wrong, or it belongs to a project in which you have no role. Ask an admin of the project for a role if you need one.",
			"Адрес неверен, или он относится к проекту, в котором у вас нет роли. Если роль нужна, попросите её у администратора проекта.")},
	"forbidden": {403, both("You may not do this", "Вам это не разрешено"),
		both("You may look at it, but doing this takes a stronger role in the project. Its admins give roles.",
			"Смотреть можно, но для этого действия нужна более сильная роль в проекте. Роли выдают его администраторы.")},
	"not-signed-in": {401, both("You are not signed in", "Вы не вошли"),
		both("Sign in at /login. A session ends after a week, when you sign out, or when you lose your last role.",
			"Войдите на странице /login. Сеанс кончается через неделю, после выхода или с потерей последней роли.")},
	"no-role": {403, both("You have no role here", "У вас здесь нет роли"),
		both("GitHub says who you are, but you belong to no project of this platform. Ask an admin of a project, or the platform's owner, to add you.",
			"GitHub подтвердил, кто вы, но вы не состоите ни в одном проекте. Попросите администратора проекта или владельца платформы добавить вас.")},
	"sign-in-failed": {400, both("Signing in did not work", "Войти не получилось"),
		both("It was begun in another browser, took longer than ten minutes, was used already, or was turned down at GitHub. Begin again on this page.",
			"Вход начат в другом браузере, занял больше десяти минут, уже использован или отклонён на GitHub. Начните снова.")},
	"not-set-up": {503, both("Nobody can sign in yet", "Войти пока нельзя"),
		both("The operator has to set CONSOLE_URL, GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET.", "Оператор должен задать CONSOLE_URL, GITHUB_CLIENT_ID и GITHUB_CLIENT_SECRET.")},
	"cross-origin": {403, both("This came from another site", "Запрос пришёл с другого сайта"),
		both("Only pages of this console may do that. If you did it here, open the console by its own address.",
			"Это могут делать только страницы этой консоли. Если вы действовали здесь, откройте консоль по её собственному адресу.")},
	"bad-request": {400, both("The request is not understood", "Запрос не понят"),
		both("A part of it is not what the contract says, /v1/openapi.yaml.", "Часть запроса не соответствует контракту, /v1/openapi.yaml.")},
	"bad-filter": {400, both("This filter is not understood", "Фильтр не понят"),
		both("Write filters as key:value, with blanks between them: state:failed project:shop", "Пишите условия как ключ:значение через пробел: state:failed project:shop")},
	"bad-cursor": {400, both("This page belongs to another filter", "Эта страница от другого фильтра"),
		both("A cursor is good with the filter that it came with. Begin with the first page.", "Курсор годен только со своим фильтром. Начните с первой страницы.")},
	"vote-refused": {422, both("Your vote does not count", "Ваш голос не учтён"),
		both("The request's policy says who decides, and what is decided stays so.", "Кто решает, определяет политика запроса; решённое не меняется.")},
	"no-scope": {403, both("The token is not good for this", "Токен для этого не годится"),
		both("A token does what its scopes say, as far as its person may, and makes no tokens. Make another one at /tokens, or do it in the console.",
			"Токен может то, что говорят его области, в пределах прав владельца, и не создаёт токенов. Создайте другой на странице /tokens или сделайте это в консоли.")},
	"name-taken": {422, both("Another token has this name", "Другой токен уже так называется"),
		both("Of your tokens one has a name, and you have 100 at most. Take another name, or revoke that token first.",
			"Имя принадлежит одному вашему токену, а токенов не больше 100. Выберите другое имя или сначала отзовите тот токен.")},
	"command-refused": {422, both("That would do nothing", "Это ничего не даст"),
		both("The rules of the process say so, as they would to a label. Look at the run or the issue as it is now.",
			"Так решают правила процесса, как и с меткой. Посмотрите на запуск или задачу в нынешнем виде.")},
	"stale": {412, both("Something else would come of it by now", "Теперь из этого выйдет другое"),
		both("It changed after you looked. Look at what would come of it now, then decide.", "После вашего просмотра что-то изменилось. Посмотрите, что будет теперь, и решите снова.")},
	"idempotency-mismatch": {422, both("This was sent before with other contents", "Это уже отправлено с другим содержанием"),
		both("The first one counts. Look at the request as it is now, and send the form of that page.", "Засчитано первое. Посмотрите на запрос в нынешнем виде и отправьте форму с той страницы.")},
	"too-many-streams": {429, both("Too many pages are being followed", "Открыто слишком много страниц"),
		both("One person may follow 20 pages at a time. Close some tabs; a page that is reloaded is current, too.",
			"Один человек может следить за 20 страницами сразу. Закройте лишние вкладки; перезагруженная страница тоже свежая.")},
	"stopping": {503, both("This process of the console is stopping", "Этот процесс консоли завершается"),
		both("Another one takes its place. Pages connect to it by themselves.", "Его сменит другой. Страницы соединятся с ним сами.")},
	"too-large": {413, both("That is too much at once", "Слишком много за раз"), both("A body may have 64 KiB.", "Тело запроса может занимать 64 КиБ.")},
	"unavailable": {503, both("It does not work right now", "Сейчас не получается"),
		both("Something that the console needs did not answer. Nothing was done. Try again in a moment; if it stays so, the operator finds the cause in the log of the function console.",
			"Не ответило что-то, без чего консоль не может. Ничего не сделано. Попробуйте ещё раз; если не пройдёт, причина в журнале функции console.")},
}

func both(en, ru string) map[string]string { return map[string]string{"en": en, "ru": ru} }
