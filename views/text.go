package views

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/warrenjobs/warren/views/ui"
)

// Text is words and times that tick.
type Text []Piece

// Piece is words and, if At is set, a time after them.
type Piece struct {
	Words string
	At    time.Time
	Mode  ui.TimeMode
}

// In returns the text as of now.
func (t Text) In(now time.Time) string {
	var b strings.Builder
	for _, p := range t {
		b.WriteString(p.Words)
		if !p.At.IsZero() {
			b.WriteString(ui.Relative(p.At, now, p.Mode))
		}
	}
	return b.String()
}

func words(s string) Text { return Text{{Words: s}} }

// add returns the text with a piece after it.
func (t Text) add(p Piece) Text {
	if n := len(t) - 1; n >= 0 && t[n].At.IsZero() {
		p.Words = t[n].Words + p.Words
		t = t[:n]
	}
	return append(t[:len(t):len(t)], p)
}

func (t Text) and(words string) Text { return t.add(Piece{Words: words}) }

// sentence returns the text as a sentence.
func (t Text) sentence() Text {
	if len(t) == 0 {
		return t
	}
	first, size := utf8.DecodeRuneInString(t[0].Words)
	t = slices.Clone(t)
	t[0].Words = string(unicode.ToUpper(first)) + t[0].Words[size:]
	return t.and(".")
}

// timed returns the text with words and a time after it, or without both if the time is not known.
func (t Text) timed(words string, at time.Time, mode ui.TimeMode) Text {
	if at.IsZero() {
		return t
	}
	return t.add(Piece{words, at, mode})
}

func since(words string, at time.Time) Text { return Text{}.timed(words, at, ui.Clock) }

// AsSentence returns text on one line, as a sentence.
func AsSentence(text string) string {
	text = oneLine(text)
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	text = string(unicode.ToUpper(first)) + text[size:]
	if strings.TrimRight(text, ".!?…") != text {
		return text
	}
	return text + "."
}
