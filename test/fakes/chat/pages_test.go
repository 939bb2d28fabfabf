package fakechat_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	fakechat "codexk8s.dev/test/fakes/chat"
)

// TestAPersonUsesThePages: what was sent is seen, a button calls back as the person that one acts as, and what the
// answer says is shown.
func TestAPersonUsesThePages(t *testing.T) {
	var heard string
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		heard = r.URL.Path + " " + r.Header.Get("X-Telegram-Bot-Api-Secret-Token") + " " + string(body)
		_, _ = io.WriteString(w, `{"method":"answerCallbackQuery","callback_query_id":"q","text":"Too late."}`)
	}))
	t.Cleanup(edge.Close)
	fake, err := fakechat.New(fakechat.Options{Callback: edge.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	send := `{"chat_id":-100,"text":"<b>Needed</b>","parse_mode":"HTML","reply_markup":{"inline_keyboard":[[{"text":"Yes","callback_data":"tag"}]]}}`
	res, err := http.Post(fake.URL()+"/telegram/bot"+fakechat.Token+"/sendMessage", "application/json", strings.NewReader(send))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	fill := func(form string, values url.Values) string {
		res, err := browser.PostForm(fake.URL()+form, values)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		page, _ := io.ReadAll(res.Body)
		return string(page)
	}
	fill("/-/as", url.Values{"person": {"eve"}, "back": {"/-/telegram"}})
	page := fill("/-/click", url.Values{"channel": {"telegram"}, "post": {fake.Posts(fakechat.Telegram)[0].ID}, "button": {"0"}})
	for _, want := range []string{"<b>Needed</b>", ">Yes</button>", "Too late.", "<option selected>eve</option>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if !strings.HasPrefix(heard, "/telegram fake-secret ") || !strings.Contains(heard, `"data":"tag"`) || !strings.Contains(heard, `"username":"eve"`) {
		t.Errorf("the callback was %s", heard)
	}
	if page := fill("/-/reply", url.Values{"channel": {"slack"}, "text": {"x"}}); !strings.Contains(page, "slack has no replies") {
		t.Errorf("what can't be done is not said:\n%s", page)
	}
}
