package events_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/events"
)

func TestMatch_IsAsInRabbitMQsTopicExchanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, key string
		match        bool
	}{
		{"tasks.event.created", "tasks.event.created", true},
		{"tasks.event.created", "tasks.event.updated", false},
		{"tasks.event.*", "tasks.event.created", true},
		{"tasks.event.*", "tasks.event", false},
		{"tasks.event.*", "tasks.event.created.twice", false},
		{"tasks.#", "tasks", true},
		{"tasks.#", "tasks.event.created", true},
		{"#", "", true},
		{"*", "", false},
		{"#.created", "created", true},
		{"#.created", "a.b.created", true},
		{"#.created", "a.created.b", false},
		{"a.#.b.#.c", "a.x.b.y.b.c", true},
		{"a.#.b.#.c", "a.c.b", false},
		{"*.*", "a.b", true},
		{"#.*", "a", true},
		{"#.*", "", false},
		{"a.*.c", "a..c", true},
	} {
		require.Equal(t, c.match, events.Match(c.pattern, c.key), "%s on %s", c.pattern, c.key)
	}
}

// The reference is the regular expression that the database uses.
func FuzzMatch(f *testing.F) {
	f.Add("a.#.b.*", "a.c.b.d")
	f.Add("#.#.a", "a.a.b.a")
	f.Add("*.#.*", "a..b")
	f.Fuzz(func(t *testing.T, pattern, key string) {
		if len(pattern) > 60 || len(key) > 200 || key == "" || events.CheckPattern(pattern) != nil || strings.ContainsAny(key, "\x00\n") {
			return
		}
		re, err := regexp.Compile(events.Regexp(pattern))
		require.NoError(t, err)
		require.Equal(t, re.MatchString(key+"."), events.Match(pattern, key), "%q on %q", pattern, key)
	})
}

// Short patterns and keys of few words, all of them.
func TestMatch_AgreesWithTheRegularExpression(t *testing.T) {
	t.Parallel()
	alphabet := []string{"a", "b", "*", "#"}
	patterns, keys := sentences(alphabet, 4), sentences(alphabet[:2], 5)
	for _, pattern := range patterns {
		re := regexp.MustCompile(events.Regexp(pattern))
		for _, key := range keys {
			if events.Match(pattern, key) != re.MatchString(key+".") {
				t.Fatalf("%s on %s: Match says %v", pattern, key, events.Match(pattern, key))
			}
		}
	}
}

// sentences returns every sequence of 1 to n words.
func sentences(words []string, n int) (list []string) {
	last := []string{""}
	for range n {
		var longer []string
		for _, s := range last {
			for _, w := range words {
				longer = append(longer, strings.TrimPrefix(s+"."+w, "."))
			}
		}
		list, last = append(list, longer...), longer
	}
	return list
}

func TestCheckPattern_RefusesWhatNoKeyMatches(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "a..b", ".a", "a.", "a*", "##", "a.b#.c", "\x00", strings.Repeat("a", 256)} {
		require.Error(t, events.CheckPattern(bad), "%q", bad)
	}
	for _, good := range []string{"a", "*", "#", "tasks.event.*", "#.a.#", "Ünicode.x"} {
		require.NoError(t, events.CheckPattern(good), "%q", good)
	}
}
