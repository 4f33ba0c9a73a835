package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"regexp"
	"strings"

	"github.com/a-h/templ"
)

// span is a run of JSON text with the class that shows it: jk for a key, jp
// for punctuation, none for a value.
type span struct{ class, text string }

// Bounds of what a page shows of a document: a browser draws it, and so does each live update.
const (
	jsonShown = 64 << 10 // bytes
	jsonDepth = 50       // levels that are indented: the indentation grows with their square
)

// pretty is a document as a page shows it.
type pretty struct {
	spans []span
	text  string
	valid bool
	cut   bool // only its beginning is shown
}

// prettyJSON indents raw without changing numbers or the order of keys, and splits it for display.
// Text that is not JSON is shown as it is. Its cost is linear in what is shown.
func prettyJSON(raw []byte) pretty {
	raw = bytes.TrimSpace(raw)
	valid := json.Valid(raw)
	if len(raw) > jsonShown || !valid || depthOf(raw) > jsonDepth {
		shown := raw[:min(len(raw), jsonShown)]
		text := strings.ToValidUTF8(string(shown), "\uFFFD")
		return pretty{[]span{{"", text}}, text, valid, len(shown) < len(raw)}
	}
	var buf bytes.Buffer
	_ = json.Indent(&buf, raw, "", "  ") // it is valid
	text := readable(buf.String())
	return pretty{spans: spansOf(text), text: text, valid: true}
}

// spansOf splits indented JSON. Spans are parts of text, and grow without a copy.
func spansOf(text string) (spans []span) {
	from := 0 // where the last span begins
	add := func(class string, end int) {
		if n := len(spans); n > 0 && spans[n-1].class == class {
			spans[n-1].text = text[from:end]
			return
		}
		if n := len(spans); n > 0 {
			from += len(spans[n-1].text)
		}
		spans = append(spans, span{class, text[from:end]})
	}
	for i := 0; i < len(text); {
		end := i + 1
		switch c := text[i]; {
		case c == '"':
			for end < len(text) && text[end] != '"' {
				if text[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end+1, len(text))
			if strings.HasPrefix(text[end:], ": ") {
				add("jk", end)
			} else {
				add("", end)
			}
		case strings.IndexByte(jsonPunctuation, c) >= 0:
			add("jp", end)
		default:
			for end < len(text) && strings.IndexByte(jsonPunctuation, text[end]) < 0 {
				end++
			}
			add("", end)
		}
		i = end
	}
	return spans
}

const jsonPunctuation = "{}[]:, \n"

// depthOf is how deep JSON nests.
func depthOf(raw []byte) (deepest int) {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[', c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']', c == '}':
			depth--
		}
	}
	return deepest
}

var jsonEscape = regexp.MustCompile(`\\u003[ce]|\\u0026|\\.`)

// readable writes <, > and & as themselves, which Go's encoder escapes. It is the same JSON.
func readable(text string) string {
	return jsonEscape.ReplaceAllStringFunc(text, func(s string) string {
		switch s {
		case `\u003c`:
			return "<"
		case `\u003e`:
			return ">"
		case `\u0026`:
			return "&"
		}
		return s
	})
}

// jsonText writes spans without the white space that markup would put between
// them, which <pre> would show.
func jsonText(spans []span) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		var b strings.Builder
		for _, s := range spans {
			text := templ.EscapeString(s.text)
			if s.class == "" {
				b.WriteString(text)
				continue
			}
			b.WriteString(`<span class="` + s.class + `">` + text + `</span>`)
		}
		_, err := io.WriteString(w, b.String())
		return err
	})
}
