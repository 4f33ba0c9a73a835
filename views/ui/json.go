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

// prettyJSON indents raw without changing numbers or the order of keys, and splits it for display.
// Text that is not JSON is shown as it is.
func prettyJSON(raw []byte) (spans []span, text string, valid bool) {
	var buf bytes.Buffer
	if err := json.Indent(&buf, bytes.TrimSpace(raw), "", "  "); err != nil {
		text = strings.ToValidUTF8(string(raw), "�")
		return []span{{"", text}}, text, false
	}
	text = readable(buf.String())
	add := func(class, s string) {
		if n := len(spans); n > 0 && spans[n-1].class == class {
			spans[n-1].text += s
		} else if s != "" {
			spans = append(spans, span{class, s})
		}
	}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			end := i + 1
			for end < len(text) && text[end] != '"' {
				if text[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end+1, len(text))
			if strings.HasPrefix(text[end:], ": ") {
				add("jk", text[i:end])
			} else {
				add("", text[i:end])
			}
			i = end
		case strings.IndexByte("{}[]:, \n", c) >= 0:
			add("jp", text[i:i+1])
			i++
		default:
			end := i
			for end < len(text) && strings.IndexByte("{}[]:, \n", text[end]) < 0 {
				end++
			}
			add("", text[i:end])
			i = end
		}
	}
	return spans, text, true
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
