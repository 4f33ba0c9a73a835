// Package static holds the dashboard's assets and serves them under URLs that
// carry a hash of their content, so that a browser may keep them for ever.
package static

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// Prefix is the path under which Handler expects to be mounted.
const Prefix = "/static/"

//go:embed warren.css warren.js favicon.svg vendor/htmx.js
var files embed.FS

type asset struct {
	hash, contentType string
	plain             []byte
	gzip              func() []byte // compressed on first use: most commands serve nothing
}

var assets = load(files)

// URL returns the address of an asset, as in URL("warren.css"). It panics on a
// name that is not embedded: that is a mistake in a template, found by its test.
func URL(name string) string {
	a, ok := assets[name]
	if !ok {
		panic("static: no asset named " + strconv.Quote(name))
	}
	return Prefix + a.hash + "/" + name
}

// Handler serves the assets. An address with an old hash, as a page from before
// an upgrade asks for, is 404: the page reloads whole rather than mix versions.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		hash, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, Prefix), "/")
		a, ok := assets[name]
		if !ok || a.hash != hash {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", a.contentType)
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("Vary", "Accept-Encoding")
		h.Set("X-Content-Type-Options", "nosniff")
		body := a.plain
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			h.Set("Content-Encoding", "gzip")
			body = a.gzip()
		}
		h.Set("Content-Length", strconv.Itoa(len(body)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(body) // on an error the client is gone
		}
	})
}

func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q := strings.TrimPrefix(strings.TrimSpace(params), "q=")
			return strings.Trim(q, "0.") != "" || q == ""
		}
	}
	return false
}

func load(fsys fs.FS) map[string]asset {
	all := map[string]asset{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		plain, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(plain)
		all[name] = asset{
			hash:        hex.EncodeToString(sum[:6]),
			contentType: contentType(name),
			plain:       plain,
			gzip:        sync.OnceValue(func() []byte { return compress(plain) }),
		}
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("static: %v", err)) // embedded files cannot fail to be read
	}
	return all
}

// contentType returns the media type of an asset. It does not use package mime, whose answer
// depends on the machine.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}

func compress(b []byte) []byte {
	var buf bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression) // a valid level
	_, _ = zw.Write(b)                                       // writing to memory does not fail
	_ = zw.Close()
	return buf.Bytes()
}
