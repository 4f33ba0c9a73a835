package messages

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/warrenjobs/warren/jobs"
)

// Matches reports whether a routing key matches the pattern of a topic exchange, in which * stands
// for one word and # for any number of them.
func Matches(pattern, key string) bool {
	return matches(words(pattern), words(key))
}

// words splits a key: the empty one has no words.
func words(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

func matches(pattern, key []string) bool {
	// after[j] is whether the rest of the pattern matches the key from word j on.
	after := make([]bool, len(key)+1)
	after[len(key)] = true
	for i := len(pattern) - 1; i >= 0; i-- {
		now := make([]bool, len(key)+1)
		for j := len(key); j >= 0; j-- {
			switch {
			case pattern[i] == "#":
				now[j] = after[j] || j < len(key) && now[j+1]
			case j < len(key):
				now[j] = (pattern[i] == "*" || pattern[i] == key[j]) && after[j+1]
			}
		}
		after = now
	}
	return after[0]
}

// Binding is how a tail's queue is bound to an exchange.
type Binding struct {
	Key       string
	Arguments map[string]any
}

// BindingOf returns the binding for a pattern. Only the four kinds of AMQP can be tailed: an exchange of
// another kind may give to a new queue what it would have given to one that is there.
func BindingOf(kind string, s Source) (Binding, error) {
	var wrong string
	switch kind {
	case "topic":
		return Binding{Key: cmp.Or(s.Pattern, "#")}, nil
	case "direct":
		if s.Pattern != "" && s.Pattern != "#" {
			return Binding{Key: s.Pattern}, nil
		}
		wrong = "must be a routing key: %s is a direct exchange, which has no patterns"
	case "fanout":
		if s.Pattern == "" || s.Pattern == "#" {
			return Binding{}, nil
		}
		wrong = "must be empty: %s is a fanout exchange, which gives every message to every queue"
	case "headers":
		return headersBinding(s.Pattern)
	default:
		return Binding{}, jobs.FieldErrors{{Field: "exchange", Message: fmt.Sprintf("cannot be tailed: %s is of the kind %s, which may "+
			"give to a new queue what another would have got", s.Exchange, kind)}}
	}
	return Binding{}, jobs.FieldErrors{{Field: "pattern", Message: fmt.Sprintf(wrong, s.Exchange)}}
}

// headersBinding reads header=value pairs, all of which must fit, or any of them after the word any.
func headersBinding(pattern string) (Binding, error) {
	b := Binding{Arguments: map[string]any{}}
	pairs, match := strings.Fields(pattern), "all"
	if len(pairs) > 0 && (pairs[0] == "any" || pairs[0] == "all") {
		match, pairs = pairs[0], pairs[1:]
	}
	if len(pairs) == 1 && pairs[0] == "#" {
		pairs = nil
	}
	for _, pair := range pairs {
		name, value, err := ParseHeader(pair)
		if err != nil {
			return b, jobs.FieldErrors{{Field: "pattern", Message: "must be header=value pairs, such as format=pdf copies=2, after any " +
				"if one of them suffices"}}
		}
		b.Arguments[name] = value
	}
	b.Arguments["x-match"] = match
	return b, nil
}
