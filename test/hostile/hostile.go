// Package hostile asks of a function what it does with well-formed input that was made to hurt: each text, number, list
// and object of a template gives way in turn to a zero byte, half a surrogate, a number that no int holds, a megabyte,
// null, an object, the same key twice. Whatever comes, the answer is 2xx, 400 or 422, and nothing waits after it: a 5xx
// would be delivered again for half a day, and the same would happen each time.
//
// What is tried is chosen by a seed, which is printed: the same seed tries the same.
//
//	go test ./functions/... -run Hostile -hostile.seed 7 -hostile.cases 1000
package hostile

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

var (
	seed  = flag.Uint64("hostile.seed", 1, "what is tried")
	cases = flag.Int("hostile.cases", 120, "how much is tried of each template")
)

// A Case is a template in which one value was replaced.
type Case struct {
	Name string // "issue.title: zero byte"
	Data []byte
}

// raw is JSON text, not necessarily of a value: `1,"key":2` says a key twice.
type raw string

type value struct{ name, text string }

// values are what a template's values give way to.
var values = []value{
	{"zero byte", `"a\u0000b"`}, {"zero bytes alone", `"\u0000\u0000"`}, {"an escape, escaped", `"\\u0000"`},
	{"half a surrogate", `"\ud800"`}, {"surrogates turned round", `"\udc00\ud800"`}, {"no UTF-8", "\"\xff\xfe\xc3\""}, {"CESU-8", "\"\xed\xa0\x80\""},
	{"control characters", `"\u0001\u001b[2J\u007f\u0085"`}, {"lines", `"a\r\nX-Other: b\n\n"`}, {"byte order mark", `"\ufeffa"`},
	{"another direction", `"\u202eabc\u2066"`}, {"invisible", `"\u200b\u2060\ufe0f"`}, {"four bytes", `"` + strings.Repeat("🚀", 70_000) + `"`},
	{"a megabyte", `"` + strings.Repeat("x", 1<<20) + `"`}, {"a word of 10,000", `"` + strings.Repeat("pz7Q~", 2000) + `"`}, {"empty", `""`}, {"blank", `" "`},
	{"SQL", `"'); DROP TABLE runs; --"`}, {"a format", `"%s%n%!d(MISSING){{.}}"`}, {"a path", `"../../../etc/passwd"`}, {"a query", `"a?b=c&d#e%00%2e"`},
	{"Markdown", "\"```\\n<!-- --> | | <details> @everyone\""}, {"the word null", `"null"`}, {"a number as text", `"9007199254740993"`}, {"no time", `"0000-00-00T99:99:99Z"`},
	{"a time beyond", `"9999-12-31T23:59:59.999999999+23:59"`}, {"a time before", `"0001-01-01T00:00:00Z"`},
	{"zero", `0`}, {"minus one", `-1`}, {"minus zero", `-0`}, {"int32", `2147483647`}, {"beyond int32", `2147483648`}, {"beyond a float", `9007199254740993`},
	{"int64", `9223372036854775807`}, {"beyond int64", `9223372036854775808`}, {"least int64", `-9223372036854775808`}, {"a fraction", `1.5`},
	{"an exponent", `1E2`}, {"beyond a double", `1e999`}, {"next to nothing", `1e-999`}, {"400 digits", strings.Repeat("9", 400)},
	{"null", `null`}, {"true", `true`}, {"an empty list", `[]`}, {"an empty object", `{}`}, {"a list of null", `[null]`}, {"a list of lists", `[[],{},0,"x"]`},
	{"deep", strings.Repeat("[", 9000) + strings.Repeat("]", 9000)}, {"too deep", strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001)},
	{"a thousand labels", "[" + strings.Repeat(`{"name":"run:dev\u0000"},`, 999) + `{"name":"run:dev"}]`}, {"a thousand texts", "[" + strings.Repeat(`"a\u0000",`, 999) + `"b"]`},
	{"keys with zero bytes", `{"\u0000":"\u0000","name\u0000":"run:dev"}`},
}

// Cases are up to -hostile.cases of what a template can become, the template itself first.
func Cases(t testing.TB, template string) []Case {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(template))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		t.Fatalf("the template is no JSON: %v", err)
	}
	var all []Case
	walk(root, "", func(path string, set func(any), old any) {
		for _, v := range values {
			set(raw(v.text))
			all = append(all, Case{path + ": " + v.name, encode(root)})
			if _, member := strings.CutPrefix(path, "."); member && !strings.HasSuffix(path, "]") {
				key := path[strings.LastIndexByte(path, '.')+1:]
				set(raw(string(encode(old)) + "," + strconv.Quote(key) + ":" + v.text))
				all = append(all, Case{path + " twice: " + v.name, encode(root)})
			}
		}
		set(old)
	})
	random := rand.New(rand.NewPCG(*seed, uint64(len(template))))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return append([]Case{{"as it is", encode(root)}}, all[:min(len(all), *cases)]...)
}

// walk visits every value below node, with a way to replace it.
func walk(node any, path string, visit func(path string, set func(any), old any)) {
	switch node := node.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(node)) {
			old := node[key]
			visit(path+"."+key, func(v any) { node[key] = v }, old)
			walk(old, path+"."+key, visit)
		}
	case []any:
		for i, old := range node {
			at := fmt.Sprintf("%s[%d]", path, i)
			visit(at, func(v any) { node[i] = v }, old)
			walk(old, at, visit)
		}
	}
}

func encode(node any) []byte {
	var b bytes.Buffer
	switch node := node.(type) {
	case raw:
		b.WriteString(string(node))
	case map[string]any:
		b.WriteByte('{')
		for i, key := range slices.Sorted(maps.Keys(node)) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.Quote(key) + ":")
			b.Write(encode(node[key]))
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, v := range node {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(encode(v))
		}
		b.WriteByte(']')
	default:
		text, _ := json.Marshal(node) // a text, a number, true, false or null
		b.Write(text)
	}
	return b.Bytes()
}

// Try does something with every case of a template, and says how often which status was the answer. do returns it, with
// its body; refusals are those statuses below 500 that it may have, beside 400 and 422.
func Try(t *testing.T, template string, do func(Case) (status int, said string), refusals ...int) {
	t.Helper()
	answered := map[int]int{}
	all := Cases(t, template)
	for _, c := range all {
		status, said := do(c)
		answered[status]++
		if status/100 != 2 && status != http.StatusBadRequest && status != http.StatusUnprocessableEntity && !slices.Contains(refusals, status) {
			t.Errorf("%s: answered %d %.300s", c.Name, status, said)
		}
	}
	t.Logf("seed %d: %d hostile inputs, answers %v", *seed, len(all), answered)
	if answered[http.StatusOK]+answered[http.StatusAccepted] == 0 {
		t.Error("nothing was accepted, so what was refused says little")
	}
}

// A Function is one that hears events, with its database.
type Function struct {
	Name    string
	Handler http.Handler
	DB      *store.DB
	SQL     *pgtest.DB
}

const source = "https://hostile.example/"

// Hear delivers every case of each template, which is the data of an event of that type, as the Broker does: logged
// before, and buried after a refusal. In the end nothing may be pending.
func (f Function) Hear(t *testing.T, templates map[string]string) {
	n := 0
	for _, eventType := range slices.Sorted(maps.Keys(templates)) {
		t.Run(eventType, func(t *testing.T) {
			if isLogged(eventType) {
				f.forge(t, eventType, templates[eventType])
			}
			Try(t, templates[eventType], func(c Case) (int, string) {
				n++
				return f.deliver(t, eventType, strconv.Itoa(n), c.Data)
			})
		})
	}
	var left int
	if err := f.SQL.QueryRow(t.Context(), `SELECT count(*) FROM pending WHERE function = $1 AND source = $2`, f.Name, source).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left > 0 {
		t.Errorf("%d of %d events are pending at %s", left, n, f.Name)
	}
}

// isLogged reports whether events of the type are in the platform's log. Those of the cluster are hints, and in none.
func isLogged(eventType string) bool {
	return !strings.HasPrefix(eventType, "dev.knative.apiserver.") && eventType != events.TypePing
}

// forge posts what anybody could who reaches the function's address, as every pod does that may call one of the
// platform's Services: an event that nobody stored, and one that was stored with other data.
func (f Function) forge(t *testing.T, eventType, data string) {
	t.Helper()
	id := "stored, " + eventType
	f.SQL.Log(source, id, eventType, []byte(`{}`))
	for _, id := range []string{id, "made up, " + eventType} {
		w := f.post(t, eventType, id, []byte(data))
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "log of events") {
			t.Errorf("forged event %q: answered %d %.300s", id, w.Code, w.Body)
		}
	}
	var received int
	if err := f.SQL.QueryRow(t.Context(), `SELECT count(*) FROM inbox WHERE source = $1 AND id LIKE '%, ' || $2`, source, eventType).Scan(&received); err != nil || received > 0 {
		t.Errorf("%d forged events left a receipt, %v", received, err)
	}
}

func (f Function) post(t *testing.T, eventType, id string, data []byte) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(data))
	for name, v := range map[string]string{"specversion": "1.0", "id": id, "source": source, "type": eventType} {
		r.Header.Set("Ce-"+name, v)
	}
	r.Header.Set("Content-Type", event.ApplicationJSON)
	w := httptest.NewRecorder()
	f.Handler.ServeHTTP(w, r)
	return w
}

func (f Function) deliver(t *testing.T, eventType, id string, data []byte) (status int, said string) {
	t.Helper()
	e := event.New()
	e.SetID(id)
	e.SetSource(source)
	e.SetType(eventType)
	e.SetDataContentType(event.ApplicationJSON)
	e.DataEncoded = data
	logged := isLogged(eventType)
	if logged {
		f.SQL.Log(source, id, eventType, data)
		f.SQL.Do(`INSERT INTO pending (function, source, id, due_at) VALUES ($1, $2, $3, now() + interval '1 hour')`,
			f.Name, source, id)
	}
	w := f.post(t, eventType, id, data)
	if logged && w.Code/100 == 4 { // as timekeeper does
		if _, err := f.DB.Bury(t.Context(), e, []string{f.Name}, w.Code, plain.Cut(w.Body.String(), 1000)); err != nil {
			t.Errorf("event %s was refused, and can't be buried: %v", id, err)
		}
	}
	return w.Code, w.Body.String()
}
