package store

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/warrenjobs/warren/jobs"
)

// cleanText makes any text valid for PostgreSQL: UTF-8 without zero bytes. Error messages and
// stacks come from anywhere and must not make their own insert fail.
func cleanText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// shortText is cleanText cut to at most limit bytes, at a character.
func shortText(s string, limit int) string {
	s = cleanText(s)
	for len(s) > limit {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

func progressText(p *jobs.Progress) *string {
	if p == nil {
		return nil
	}
	b, err := json.Marshal(p)
	if err != nil { // a number and a string: cannot happen
		return nil
	}
	s := string(b)
	return &s
}

// textOrNil is cleanText, but nil for the empty string.
func textOrNil(s string) *string {
	if s == "" {
		return nil
	}
	s = cleanText(s)
	return &s
}
