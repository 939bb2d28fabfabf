package page

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestNoLanguageLacksWords: every field of every language says something, and their maps have the same keys.
func TestNoLanguageLacksWords(t *testing.T) {
	first := reflect.ValueOf(*catalogue[Languages[0]])
	for _, code := range Languages {
		words := reflect.ValueOf(*catalogue[code])
		for i := range words.NumField() {
			name, field := words.Type().Field(i).Name, words.Field(i)
			if field.IsZero() {
				t.Errorf("%s has no %s", code, name)
			}
			if texts, ok := field.Interface().(map[string]string); ok {
				want := first.Field(i).Interface().(map[string]string)
				if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(texts))); diff != "" {
					t.Errorf("%s of %s (-%s +%s):\n%s", name, code, Languages[0], code, diff)
				}
			}
		}
		for slug, kind := range Problems {
			if kind.Title[code] == "" || kind.Text[code] == "" || kind.Status < 400 {
				t.Errorf("problem %s says nothing in %s", slug, code)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0 строк", 1: "1 строка", 2: "2 строки", 5: "5 строк", 11: "11 строк", 21: "21 строка", 104: "104 строки", 1_000_001: "1000001 строка"} {
		if got := russian.Number(russian.Count, n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0 s", 59 * time.Second: "59 s", time.Minute: "1 min", 61 * time.Second: "1 min 1 s", time.Hour: "1 h", 2*time.Hour + 3*time.Minute + time.Second: "2 h 3 min", 49 * time.Hour: "2 d 1 h",
	} {
		if got := english.Duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	now := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	for at, want := range map[time.Time]string{now: "just now", now.Add(time.Hour): "just now", now.Add(-90 * time.Second): "1 min ago"} {
		if got := english.Since(now, at); got != want {
			t.Errorf("%v: %q, want %q", at, got, want)
		}
	}
}

func TestMatch(t *testing.T) {
	for accept, want := range map[string]string{"": "en", "ru": "ru", "ru-RU,ru;q=0.9,en;q=0.8": "ru", "en-GB,ru;q=0.5": "en", "fr,ru;q=0.2": "ru", "fr": "en", "*": "en", ";;;": "en"} {
		if got := Match(accept); got != want {
			t.Errorf("%q: %q, want %q", accept, got, want)
		}
	}
}

// TestHtmxIsTheReleasedOne: htmx.org 4.0.1 of npm, dist/htmx.min.js, which `make generate` takes.
func TestHtmxIsTheReleasedOne(t *testing.T) {
	data, err := staticFiles.ReadFile("static/htmx.js")
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); err != nil || got != "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130" {
		t.Errorf("it is another file, %s: %v", got, err)
	}
}

// TestOurScriptsAreSmall: what pages load of our own JavaScript, as it goes over the wire.
func TestOurScriptsAreSmall(t *testing.T) {
	size := 0
	for name, served := range names {
		if strings.HasSuffix(name, ".js") && name != "htmx.js" {
			size += len(packed()[served])
		}
	}
	if size > 6<<10 {
		t.Errorf("%d bytes", size)
	}
}

// TestStaticFilesAreKept: what pages load has its contents' hash in its name, and is kept for ever.
func TestStaticFilesAreKept(t *testing.T) {
	for name, served := range names {
		r := httptest.NewRequest(http.MethodGet, "/static/"+served, http.NoBody)
		r.SetPathValue("file", served)
		w := httptest.NewRecorder()
		Static(w, r)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") == "" || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	w := httptest.NewRecorder()
	Static(w, httptest.NewRequest(http.MethodGet, "/static/style.css", http.NoBody))
	if w.Code != http.StatusNotFound {
		t.Errorf("without a hash: %d", w.Code)
	}
}
