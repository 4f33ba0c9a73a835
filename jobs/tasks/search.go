package tasks

import (
	"strings"
	"unicode"

	"github.com/google/uuid"
)

// Search is the name of the subscriber that keeps the full-text index, of its queue and of the kind
// of its jobs.
const Search = "tasks.search"

// EventAny is the topic pattern of all events of tasks.
const EventAny = "tasks.event.*"

// Indexed is what the full-text index takes from a task, or from the event of a change.
type Indexed struct {
	ID          uuid.UUID `json:"id"`
	Version     int       `json:"version"`
	Description string    `json:"description"`
	Deleted     bool      `json:"-"`
}

// IndexState says how the full-text index is.
type IndexState struct {
	// Kept: a worker has subscribed to the events of tasks, and the index has been built. Until then
	// a search reads the newest jobs.SearchWindow tasks.
	Kept bool `json:"kept"`
	// Building: the first build is not complete.
	Building bool `json:"building"`
	// Behind is the number of changes that the index lacks, among the newest BehindMax.
	Behind int `json:"behind"`
}

// BehindMax bounds IndexState.Behind.
const BehindMax = 1000

// IndexBuild is how far a build of the full-text index is.
type IndexBuild struct {
	Tasks int64     // that were read
	After uuid.UUID // the last of them
	More  bool
}

// wordMax bounds a word of the index, in bytes. Longer words are cut, in texts and searches alike.
const wordMax = 200

// Words returns the words of a text, in lower case: runs of letters and digits, in any language.
// Chinese and Japanese do not put blanks between words, so that each of their characters is one.
func Words(text string) (list []string) {
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			list = append(list, word.String())
			word.Reset()
		}
	}
	for _, r := range strings.ToLower(text) {
		switch {
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana):
			end()
			list = append(list, string(r))
		case !unicode.In(r, unicode.L, unicode.N, unicode.M):
			end()
		case word.Len() < wordMax:
			word.WriteRune(r)
		}
	}
	end()
	return list
}
