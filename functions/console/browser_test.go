package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
)

// patience is for a machine that does much else.
const patience = 5 * time.Minute

// wholly names the pages that are looked at in every language, theme and width, and kept as pictures; the others are in
// two of the eight.
var wholly = flag.String("faces", "", "pages to look at in every language, theme and width, by name, or all")

// shots is where the pages are to be looked at.
const shots = "../../.state/console"

// A browser is a tab of Chromium, with what went wrong in it and what it has loaded.
type browser struct {
	*testing.T
	f   *fixture
	ctx context.Context

	mu     sync.Mutex
	wrong  []string
	loaded float64 // bytes over the wire since forget
}

func (f *fixture) browser() *browser {
	f.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.Flag("lang", "en"))
	allocated, cancel := chromedp.NewExecAllocator(f.Context(), options...)
	f.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	f.Cleanup(cancel)
	b := &browser{T: f.T, f: f, ctx: ctx}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		f.Fatalf("starting Chromium: %v: `make tools` installs it", err)
	}
	return b
}

func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Source != log.EntrySourceNetwork { // a page that says 404 is no fault of the page
			b.wrong = append(b.wrong, e.Entry.Text+" "+e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		b.wrong = append(b.wrong, fmt.Sprint(e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		b.wrong = append(b.wrong, fmt.Sprintf("the console says %s", e.Type))
	case *page.EventJavascriptDialogOpening:
		b.wrong = append(b.wrong, "a dialog: "+e.Message)
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Scheme == "http" && "http://"+u.Host != b.f.server.URL && "http://"+u.Host != b.f.github.URL() || u.Scheme == "https" {
			b.wrong = append(b.wrong, "a request leaves: "+e.Request.URL)
		}
	case *network.EventLoadingFinished:
		b.loaded += e.EncodedDataLength
	}
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.Fatal(err)
	}
}

// weight is what was loaded since it was asked for last.
func (b *browser) weight() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	loaded := b.loaded
	b.loaded = 0
	return loaded
}

// faults are those since they were asked for last.
func (b *browser) faults() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	wrong := b.wrong
	b.wrong = nil
	return wrong
}

// signIn signs somebody in as people do.
func (b *browser) signIn(login string) {
	b.Helper()
	b.do(chromedp.Navigate(b.f.server.URL+"/login"), chromedp.Click(chromedp.CSS("button.primary")), chromedp.WaitVisible(chromedp.CSS("#as-"+login)),
		chromedp.Click(chromedp.CSS("#as-"+login)), chromedp.WaitVisible(chromedp.CSS(".who summary")))
}

// look opens a page as a person of that language, theme and width sees it.
func (b *browser) look(path, language, theme string, width int64) {
	b.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 500})
	call(b, network.SetCookie, network.SetCookieParams{Name: "language", Value: language, URL: b.f.server.URL})
	b.do(chromedp.Navigate(b.f.server.URL + path))
}

// axe returns what axe-core finds against the page.
func (b *browser) axe() string {
	b.Helper()
	script, err := os.ReadFile("../../test/node_modules/axe-core/axe.min.js")
	if err != nil {
		b.Fatalf("%v: `make tools` installs it", err)
	}
	return evaluate[string](b, string(script)+`;axe.run({resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(r => r.violations.map(v =>
		v.id + ": " + v.nodes.map(n => n.html.slice(0, 160) + " " + n.any.map(a => a.message).join(" ")).slice(0, 3).join("\n    ")).join("\n  "))`)
}

// evaluate is the value of a JavaScript expression in the page, of a promise too.
func evaluate[T any](b *browser, expression string) T {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatal(err)
	}
	return value
}

// call sends a command of the browser's protocol.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.Fatal(err)
	}
}

// shoot keeps a picture of the page.
func (b *browser) shoot(name string) {
	b.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(shots, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(shots, name+".png"), picture, 0o644); err != nil {
		b.Fatal(err)
	}
}

// faces are all pages, each in a state that people meet.
var faces = []struct{ name, path string }{
	{"home", "/"}, {"approval", "/approvals/%"}, {"runs", "/runs"}, {"runs-filtered", "/runs?q=state:failed,timed_out"}, {"runs-none", "/runs?q=by:nobody"}, {"runs-wrong", "/runs?q=colour:red"},
	{"run-running", "/runs/" + runB}, {"run-failed", "/runs/" + runA}, {"run-search", "/runs/" + runB + "?grep=error"}, {"issue", "/issues/acme/shop/12"}, {"issue-running", "/issues/Acme/Shop/13"}, {"missing", "/runs/" + missing},
	{"order-cancel", "/runs/" + runB + "/cancel"}, {"order-revise", "/runs/" + runA + "/revise"}, {"order-nothing", "/runs/" + runA + "/cancel"}, {"tokens", "/tokens"}, {"problem", "/problems/cross-origin"},
}

// TestEveryPageInABrowser: each page × language × theme × width has nothing that axe-core finds, says nothing into the
// browser's console, loads nothing from elsewhere, needs no scrolling to the side, and is light.
func TestEveryPageInABrowser(t *testing.T) {
	f := setup(t)
	r := f.ask(runC, "shop", nil)
	f.ask(runB, "shop", func(r *approval.Request) {
		r.Kind, r.Action, r.Arguments, r.Title, r.Risk = events.KindQuestion, "question", nil, "Which currency wins when a voucher has another one than the basket?", ""
		r.Justification, r.Options, r.FreeText = "The issue does not say, and both are in the tests.", []string{"The basket's", "The voucher's"}, true
	})
	b := f.browser()
	b.look("/login", "en", "light", 390)
	b.shoot("signin")
	if found := b.axe(); found != "" {
		t.Errorf("/login:\n  %s", found)
	}
	if weight := b.weight(); weight > 60<<10 {
		t.Errorf("a first visit weighs %.0f bytes", weight)
	}
	b.signIn("olga")
	f.token("olga", `{"name": "nightly", "scopes": ["read", "runs"], "projects": ["shop"]}`)
	for i, face := range faces {
		whole := *wholly == "all" || slices.Contains(strings.Split(*wholly, ","), face.name)
		if *wholly != "" && !whole {
			continue
		}
		for j, language := range []string{"en", "ru"} {
			for k, theme := range []string{"light", "dark"} {
				for l, width := range []int64{390, 1600} {
					if !whole && (i+j+k+l)%4 != 0 {
						continue
					}
					at := strings.Join([]string{face.name, language, theme, fmt.Sprint(width)}, "-")
					b.faults()
					b.weight()
					b.look(strings.ReplaceAll(face.path, "%", r.ID), language, theme, width)
					if weight := b.weight(); weight > 20<<10 {
						t.Errorf("%s weighs %.0f bytes", at, weight)
					}
					if wider := evaluate[int](b, `document.documentElement.scrollWidth - innerWidth`); wider > 0 {
						t.Errorf("%s is %d px wider than the window", at, wider)
					}
					if found := b.axe(); found != "" {
						t.Errorf("%s:\n  %s", at, found)
					}
					if wrong := b.faults(); len(wrong) > 0 {
						t.Errorf("%s: %q", at, wrong)
					}
					if whole {
						b.shoot(at)
					}
				}
			}
		}
	}
}

// TestHostileTextIsText: whatever a title, a message or a line of the log says, it is shown and does nothing.
func TestHostileTextIsText(t *testing.T) {
	f := setup(t)
	hostile := []string{
		`<script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `"><svg onload=alert(1)>`, `' onmouseover='alert(1)`, `]]><script>alert(1)</script>`, `{{.}}`, `javascript:alert(1)`,
		"\x1b]8;;javascript:alert(1)\x1b\\click\x1b]8;;\x1b\\", "\x1b]8;;data:text/html,<script>alert(1)</script>\aclick", "\x1b]52;c;cHduZWQ=\a", "\u202Egpj.exe", "<style>@import url(http://127.0.0.1:1/x)</style>",
		`<iframe src="http://127.0.0.1:1/">`, `<base href="http://127.0.0.1:1/">`, `<meta http-equiv=refresh content="0;url=http://127.0.0.1:1/">`, `<form action="http://127.0.0.1:1/"><button>`, `</span></li></ol><h1>gone</h1>`,
		`<a href="javascript:alert(1)">x</a>`, strings.Repeat("\x1b[31m\x1b[0m", 5000) + "<b>", "<!--", "&lt;script&gt;", "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
	}
	for i, text := range hostile {
		f.sql.Do(`INSERT INTO run_logs (run_id, seq, at, stream, line) VALUES ($1, $2, now(), 'agent', $3)`, runA, i+1, text)
		f.sql.Do(`INSERT INTO audit (actor, action, work_item, run_id, reason, detail, function) VALUES ($1, $1, 'acme/shop#12', $2, $1, $1, 'stage-router')`, text, runA)
	}
	all := strings.ReplaceAll(strings.Join(hostile, " "), hostile[18], "")
	f.sql.Do(`UPDATE work_items SET title = $1, pull_request_url = 'javascript:alert(1)', url = 'data:text/html,x', base_branch = $1`, all)
	f.sql.Do(`UPDATE runs SET message = $1, progress = $1, model = $1, requested_by = $1, stage = $1, summary = $1 WHERE id = $2`, all, runA)
	b := f.browser()
	b.signIn("olga")
	for _, path := range []string{"/runs", "/runs/" + runA, "/issues/acme/shop/12", "/runs?q=" + url.QueryEscape(hostile[0]), "/runs/" + runA + "?grep=" + url.QueryEscape(hostile[1]), "/runs/" + runA + "/rerun"} {
		b.faults()
		b.look(path, "en", "light", 390)
		elements := evaluate[[]string](b, `[...document.querySelectorAll("main script, img, iframe, base, form[action]:not([action^='/']), main style, math, main h1 ~ h1, [onerror], [onload], [onmouseover], a[href^='javascript'], a[href^='data']")].map(e => e.outerHTML)`)
		if len(elements) > 0 {
			t.Errorf("%s: elements of the text's: %v", path, elements)
		}
		if wrong := b.faults(); len(wrong) > 0 {
			t.Errorf("%s: %q", path, wrong)
		}
	}
}
