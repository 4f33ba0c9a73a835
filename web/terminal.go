package web

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// steers reports whether a character does something to a terminal, or to the text around it: it moves
// the cursor, begins a row, sets a color or the direction of writing.
func steers(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// escaped writes the characters that steer as JSON escapes them, except one; text in a terminal may
// be anybody's, such as the description of a task.
func escaped(text string, except rune) string {
	var b strings.Builder
	for _, r := range text { // invalid UTF-8 becomes U+FFFD
		switch {
		case r == except || !steers(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// cell is text on one line of a table.
func cell(text string) string { return escaped(text, -1) }

// terminal escapes all that steers in what is written to it, except line feeds. JSON stays the same
// JSON, as it has such characters only within strings. A write must not end within a character.
type terminal struct{ io.Writer }

func (t terminal) Write(p []byte) (int, error) {
	if _, err := io.WriteString(t.Writer, escaped(string(p), '\n')); err != nil {
		return 0, err
	}
	return len(p), nil
}
