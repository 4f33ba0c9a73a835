package store

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"
)

// shortEscapes are JSON's escapes of two characters.
var shortEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '/': `\/`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

// jsonPattern returns a regular expression of PostgreSQL's, for ~*, that finds a text in JSON however
// a client escapes it: é may be \u00e9, a slash \/, and & \u0026.
func jsonPattern(text string) string {
	var pattern strings.Builder
	for _, r := range text {
		if r == ' ' || r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) { // nobody escapes these
			pattern.WriteRune(r)
			continue
		}
		forms := []string{}
		if short := shortEscapes[r]; short != "" {
			forms = append(forms, regexp.QuoteMeta(short))
		}
		for same := r; ; { // and its other cases, whatever the database's collation knows of them
			forms = append(forms, regexp.QuoteMeta(string(same)), `\\u`+unicodeEscape(same))
			if same = unicode.SimpleFold(same); same == r {
				break
			}
		}
		pattern.WriteString("(?:" + strings.Join(forms, "|") + ")")
	}
	return pattern.String()
}

// unicodeEscape returns what follows the \u of a character's escape; of most emoji it is a pair.
func unicodeEscape(r rune) string {
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return fmt.Sprintf(`%04x\\u%04x`, high, low)
	}
	return fmt.Sprintf("%04x", r)
}
