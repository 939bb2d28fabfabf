package page

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

// packed are the static files as they go over the wire, made when the first of them is asked for.
var packed = sync.OnceValue(func() map[string][]byte {
	all := map[string][]byte{}
	for name, data := range static {
		all[name] = pack(data, gzip.BestCompression)
	}
	return all
})

// packs reports whether the browser takes what is packed.
func packs(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") }

func pack(data []byte, level int) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, level) // the level is one
	_, _ = w.Write(data)                     // into memory
	_ = w.Close()
	return out.Bytes()
}
