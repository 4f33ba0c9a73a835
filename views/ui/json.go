package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/a-h/templ"
)

// span is a run of JSON text with the class that shows it: jk for a key, jp
// for punctuation, none for a value.
type span struct{ class, text string }

// Bounds of what a page shows of a document: a browser draws it, and so does each live update.
const (
	jsonShown    = 16 << 10 // bytes, as they are stored
	jsonIndented = 24 << 10 // bytes with indentation; a document with more has none
	jsonDepth    = 50       // levels that are indented: the indentation grows with their square
	jsonSpans    = 1000     // runs of text with a color; a document with more has none
)

// pretty is a document as a page shows it.
type pretty struct {
	spans []span
	valid bool
	cut   bool // only its beginning is shown
}

// prettyJSON indents a document without changing numbers or the order of keys, and splits it for
// display. Text that is not JSON is shown as it is. cut means that raw is only the beginning.
func prettyJSON(raw []byte, cut bool) pretty {
	raw = bytes.TrimSpace(raw)
	shown := raw[:min(len(raw), jsonShown)]
	if cut || len(shown) < len(raw) {
		text := strings.ToValidUTF8(string(shown), "\uFFFD")
		if begins(shown) {
			text = indentBeginning(text)
		}
		return pretty{spans: colored(readable(text)), valid: true, cut: true}
	}
	if !json.Valid(raw) {
		return pretty{spans: plain(strings.ToValidUTF8(string(raw), "\uFFFD"))}
	}
	if depthOf(raw) > jsonDepth {
		return pretty{spans: plain(readable(string(raw))), valid: true}
	}
	var buf bytes.Buffer
	_ = json.Indent(&buf, raw, "", "  ") // it is valid
	if buf.Len() > jsonIndented {
		return pretty{spans: plain(readable(string(raw))), valid: true}
	}
	return pretty{spans: colored(readable(buf.String())), valid: true}
}

func plain(text string) []span { return []span{{"", text}} }

func colored(text string) []span {
	if spans := spansOf(text); len(spans) <= jsonSpans {
		return spans
	}
	return plain(text)
}

// begins reports whether text is the beginning of JSON.
func begins(text []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := dec.Token(); err != nil {
			return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		}
	}
}

// indentBeginning is json.Indent for the beginning of a document, up to jsonShown bytes.
func indentBeginning(raw string) string {
	var out strings.Builder
	depth := 0
	line := func() { out.WriteString("\n" + strings.Repeat("  ", min(max(depth, 0), jsonDepth))) }
	for i := 0; i < len(raw) && out.Len() < jsonShown; {
		end := i + 1
		switch c := raw[i]; {
		case c == '"':
			end = stringEnd(raw, i)
			out.WriteString(raw[i:end])
		case strings.HasPrefix(raw[i:], "{}"), strings.HasPrefix(raw[i:], "[]"):
			end++
			out.WriteString(raw[i:end])
		case c == '{', c == '[':
			depth++
			out.WriteByte(c)
			line()
		case c == '}', c == ']':
			depth--
			line()
			out.WriteByte(c)
		case c == ',':
			out.WriteByte(c)
			line()
		case c == ':':
			out.WriteString(": ")
		case c > ' ':
			out.WriteByte(c)
		}
		i = end
	}
	return out.String()
}

// stringEnd returns where the string ends that begins at i, or the end of text.
func stringEnd(text string, i int) int {
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return min(i+1, len(text))
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
			end = stringEnd(text, i)
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

var jsonEscape = regexp.MustCompile(`(?:\\u[0-9a-fA-F]{4})+|\\.`)

// readable writes characters that are escaped without need as themselves: Go escapes <, > and &,
// Python letters that are not ASCII, PHP the slash. It is the same JSON.
func readable(text string) string {
	return jsonEscape.ReplaceAllStringFunc(text, func(s string) string {
		switch {
		case s == `\/`:
			return "/"
		case len(s) < escapeLen:
			return s
		}
		var out strings.Builder
		for len(s) > 0 {
			char, n := unescape(s)
			out.WriteString(char)
			s = s[n:]
		}
		return out.String()
	})
}

const escapeLen = len(`\u0000`)

// unescape returns the character that s begins with as an escape, or a pair of them, and the length
// of that. What cannot be seen stays escaped, and what JSON needs so.
func unescape(s string) (char string, n int) {
	r, n := unit(s), escapeLen
	if utf16.IsSurrogate(r) && len(s) > escapeLen {
		r, n = utf16.DecodeRune(r, unit(s[escapeLen:])), 2*escapeLen
	}
	switch {
	case r == unicode.ReplacementChar, utf16.IsSurrogate(r), r == '"', r == '\\', !unicode.IsPrint(r):
		return s[:escapeLen], escapeLen
	}
	return string(r), n
}

// unit returns the UTF-16 code unit of the escape that s begins with.
func unit(s string) rune {
	u, _ := strconv.ParseUint(s[2:escapeLen], 16, 16) // the pattern has matched it
	return rune(u)
}

// textEscaper escapes text between tags, where a quotation mark may stay one.
var textEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// jsonText writes spans without the white space that markup would put between
// them, which <pre> would show.
func jsonText(spans []span) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		var b strings.Builder
		for _, s := range spans {
			text := textEscaper.Replace(s.text)
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
