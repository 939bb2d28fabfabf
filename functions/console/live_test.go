package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// sees waits until an expression is true in the page.
func (b *browser) sees(what, expression string) {
	b.Helper()
	for start := time.Now(); !evaluate[bool](b, expression); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > patience {
			b.Fatalf("it never sees %s; the page says:\n%s", what, evaluate[string](b, `document.body.innerText`))
		}
	}
}

// reads waits until the page says a text.
func (b *browser) reads(text string) {
	b.Helper()
	b.sees(fmt.Sprintf("%q", text), fmt.Sprintf(`document.body.innerText.includes(%q)`, text))
}

// TestTwoBrowsersSeeAChange: without being reloaded, and what a person writes meanwhile stays.
func TestTwoBrowsersSeeAChange(t *testing.T) {
	f := setup(t)
	r := f.ask(runC, "shop", nil)
	one, two := f.browser(), f.browser()
	one.signIn("mary")
	two.signIn("rita")
	one.look("/", "en", "light", 1600)
	two.look("/runs/"+runB, "ru", "dark", 390)
	one.do(chromedp.SendKeys(chromedp.CSS("#ask-"+r.ID+" textarea"), "Because of"))
	evaluate[bool](one, `window.kept = document.querySelector("textarea"), true`)
	f.sql.Do(`UPDATE work_items SET title = 'Vouchers are rounded once' WHERE issue = 13`)
	start := time.Now()
	one.reads("Vouchers are rounded once")
	two.reads("Vouchers are rounded once")
	t.Logf("seen in both after %v", time.Since(start).Round(time.Millisecond))
	f.sql.Do(`UPDATE runs SET state = 'succeeded', finished_at = now() WHERE id = $1`, runB)
	two.sees("the new state in the tab's title", `document.title.startsWith("Успешно")`)
	two.sees("the new state where screen readers hear it", `document.getElementById("said").textContent.startsWith("Успешно")`)
	one.sees("the run among the finished ones", `[...document.querySelectorAll("section")].at(-1).innerText.includes("Vouchers are rounded once")`)
	if got := evaluate[string](one, `window.kept.isConnected ? window.kept.value : "another element"`); got != "Because of" {
		t.Errorf("what was written became %q", got)
	}
	if wrong := append(one.faults(), two.faults()...); len(wrong) > 0 {
		t.Errorf("faults: %q", wrong)
	}
}

// numbersOfLines are those in the log, "first-last", or what is wrong with their order.
const numbersOfLines = `(() => { const n = [...document.querySelectorAll("#log li")].map(l => l.value);
	for (let i = 1; i < n.length; i++) if (n[i] !== n[i-1] + 1) return n[i-1] + " is followed by " + n[i];
	return n[0] + "-" + n.at(-1) })()`

// TestALogIsFollowed: new lines are shown at the end as long as one is there. Who has scrolled up stays where they are,
// and is told. The page never holds more than a window.
func TestALogIsFollowed(t *testing.T) {
	f := setup(t)
	b := f.browser()
	b.signIn("rita")
	b.look("/runs/"+runB, "en", "light", 1600)
	grow := func(from, to int) {
		f.sql.Do(`INSERT INTO run_logs (run_id, seq, at, stream, line) SELECT $1, n, now(), 'agent', 'line ' || n FROM generate_series($2::int, $3::int) AS n`, runB, from, to)
	}
	atEnd := `(l => l.scrollHeight - l.scrollTop - l.clientHeight < 40)(document.getElementById("log"))`
	grow(1201, 2100)
	b.sees("lines 701 to 2100", numbersOfLines+` === "701-2100"`)
	b.sees("the end", atEnd)
	evaluate[bool](b, `document.getElementById("log").scrollTop = 500, true`)
	grow(2101, 2150)
	b.sees("lines up to 2150", numbersOfLines+` === "701-2150"`)
	b.sees("that there are new lines", `!document.getElementById("more").hidden && document.getElementById("log").scrollTop === 500`)
	b.do(chromedp.Click(chromedp.CSS("#more")))
	b.sees("the end", atEnd)
	grow(2151, 9000)
	b.sees("the last of many lines", numbersOfLines+`.endsWith("-9000") && document.querySelectorAll("#log li").length <= 5000`)
	b.look("/runs/"+runB+"?from=100", "en", "light", 1600)
	if got := evaluate[string](b, `document.getElementById("log").dataset.follow`); got != "false" {
		t.Errorf("an earlier part of the log follows the end: %s", got)
	}
	f.sql.Do(`INSERT INTO run_logs (run_id, seq, at, stream, line) VALUES ($1, 1, now(), 'agent', '<b>the first line</b>')`, runC)
	b.look("/runs/"+runC, "en", "light", 390)
	if wrong := b.faults(); len(wrong) > 0 {
		t.Errorf("faults: %q", wrong)
	}
}

// TestALogThatBeginsWhileOneLooks: the first line takes the place of "no lines yet".
func TestALogThatBeginsWhileOneLooks(t *testing.T) {
	f := setup(t)
	b := f.browser()
	b.signIn("rita")
	b.look("/runs/"+runC, "en", "light", 390)
	b.reads("No lines yet")
	f.sql.Do(`INSERT INTO run_logs (run_id, seq, at, stream, line) VALUES ($1, 1, now(), 'agent', '<b>the first line</b>')`, runC)
	b.reads("<b>the first line</b>")
	b.sees("no empty log beside it", `!document.body.innerText.includes("No lines yet")`)
}

// TestStreamsOfThoseWhoDoNotLook: a page that nobody has touched for a quarter of an hour ends its stream, and says so;
// the next touch goes on. One whose person has lost their role says that, and asks no more.
func TestStreamsOfThoseWhoDoNotLook(t *testing.T) {
	f := setup(t)
	b := f.browser()
	b.signIn("mary")
	b.look("/runs", "en", "light", 390)
	streams := func(want int) {
		t.Helper()
		for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			f.h.hub.mu.Lock()
			n := len(f.h.hub.watches)
			f.h.hub.mu.Unlock()
			if n == want {
				return
			}
			if time.Since(start) > patience {
				t.Fatalf("%d streams, want %d", n, want)
			}
		}
	}
	streams(1)
	evaluate[bool](b, `window.now = Date.now, Date.now = () => now() + 16 * 60e3, document.dispatchEvent(new Event("visibilitychange")), true`)
	b.reads("Live updates are paused")
	streams(0)
	f.sql.Do(`UPDATE work_items SET title = 'Changed meanwhile' WHERE issue = 12`)
	b.do(chromedp.Click(chromedp.CSS("h1")))
	b.reads("Changed meanwhile")
	streams(1)
	f.sql.Do(`DELETE FROM members WHERE login = 'mary'`)
	b.reads("You may not follow this page any more")
	streams(0)
}

// TestTheConsoleIsKilledWhileOneWatches: kill -9, lines and a change meanwhile, and another process on the same
// address. The page has each line once, and the change.
func TestTheConsoleIsKilledWhileOneWatches(t *testing.T) {
	f := setup(t)
	program := filepath.Join(t.TempDir(), "console")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	url := "http://127.0.0.1:" + port
	start := func() *exec.Cmd {
		c := exec.CommandContext(t.Context(), program)
		c.Env = append(os.Environ(), "PORT="+port, "DATABASE_URL="+f.url, "CONSOLE_URL="+url, "GITHUB_API_URL="+f.github.APIURL())
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			resp, err := http.Get(url + "/readyz")
			if err == nil {
				resp.Body.Close()
				return c
			}
			if time.Since(began) > patience {
				t.Fatal(err)
			}
		}
	}
	first := start()
	b := f.browser()
	b.signIn("rita") // its cookie is good at each port of the host
	b.do(chromedp.Navigate(url + "/runs/" + runB))
	grow := func(from, to int) {
		f.sql.Do(`INSERT INTO run_logs (run_id, seq, at, stream, line) SELECT $1, n, now(), 'agent', 'line ' || n FROM generate_series($2::int, $3::int) AS n`, runB, from, to)
	}
	grow(1201, 1300)
	b.sees("lines up to 1300", numbersOfLines+` === "701-1300"`)
	evaluate[bool](b, `window.same = true`)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // killed
	grow(1301, 1400)
	f.sql.Do(`UPDATE runs SET progress = 'Went on meanwhile' WHERE id = $1`, runB)
	b.reads("The connection is lost")
	second := start()
	grow(1401, 1500)
	b.sees("every line once", numbersOfLines+` === "701-1500"`)
	b.reads("Went on meanwhile")
	if !evaluate[bool](b, `window.same === true && document.getElementById("stale").hidden`) {
		t.Error("the page was loaded anew, or still says that the connection is lost")
	}
	if err := second.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- second.Wait() }()
	select {
	case err := <-stopped:
		if err != nil {
			t.Errorf("with a page that follows it stopped by %v", err)
		}
	case <-time.After(patience):
		t.Error("a page that follows keeps it from stopping")
	}
	if strings.Contains(strings.Join(b.faults(), " "), "Exception") {
		t.Error("a script failed")
	}
}
