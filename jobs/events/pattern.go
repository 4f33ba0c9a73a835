package events

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// CheckPattern reports whether p is a topic pattern of AMQP: words joined by dots, where * stands
// for one word and # for any number of words, also none.
func CheckPattern(p string) error {
	if !shortText(p) {
		return fmt.Errorf("the pattern %.100q must be plain text of 1 to %d bytes", p, nameMax)
	}
	for word := range strings.SplitSeq(p, ".") {
		switch {
		case word == "":
			return fmt.Errorf("the pattern %q has an empty word", p)
		case len(word) > 1 && strings.ContainsAny(word, "*#"):
			return fmt.Errorf("the pattern %q has %q, where * and # must be words of their own", p, word)
		}
	}
	return nil
}

// Match reports whether a routing key matches a topic pattern, as in RabbitMQ's topic exchanges.
func Match(pattern, key string) bool { return matchWords(words(pattern), words(key)) }

// words splits a pattern or key. The empty one has no word.
func words(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ".")
}

// matchWords goes back only to the last #: what an earlier one took does not matter for the rest.
func matchWords(pattern, key []string) bool {
	p, k := 0, 0
	many, taken := -1, 0 // the last #, and the first word of the key after those that it has taken
	for k < len(key) {
		switch {
		case p < len(pattern) && pattern[p] == "#":
			many, taken = p, k
			p++
		case p < len(pattern) && (pattern[p] == "*" || pattern[p] == key[k]):
			p, k = p+1, k+1
		case many >= 0:
			taken++
			p, k = many+1, taken
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == "#" {
		p++
	}
	return p == len(pattern)
}

// Regexp returns a regular expression, in the common syntax of Go and PostgreSQL, that matches a
// routing key with a dot appended if and only if the key has at least one word and matches one of
// the patterns.
func Regexp(patterns ...string) string {
	alternatives := make([]string, len(patterns))
	for i, p := range patterns {
		var re strings.Builder
		for _, word := range words(p) {
			switch word {
			case "#":
				re.WriteString(`([^.]*[.])*`)
			case "*":
				re.WriteString(`[^.]*[.]`)
			default:
				re.WriteString(regexp.QuoteMeta(word) + `[.]`)
			}
		}
		alternatives[i] = re.String()
	}
	return "^(" + strings.Join(alternatives, "|") + ")$"
}

// ParsePattern parses a pattern that a person has typed. The error is a sentence for them.
func ParsePattern(p string) (string, error) {
	if p = strings.TrimSpace(p); p == "" {
		return "", nil
	}
	if CheckPattern(p) != nil {
		return "", errors.New("is not a topic pattern: words joined by dots, * for one word, # for any number of words")
	}
	return p, nil
}
