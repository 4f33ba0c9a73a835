package jobs

import (
	"encoding/base64"

	"github.com/google/uuid"
)

// Filter picks jobs. The zero Filter picks all. One Filter feeds the list, its
// counts and its links, so that they cannot disagree.
type Filter struct {
	State State
	Kind  string
	Queue string
	// Text is looked for in id, kind, args, error, tags and unique key of the newest SearchWindow jobs.
	Text string
}

// SearchWindow is how many of the newest jobs a text search reads.
const SearchWindow = 100_000

// ListedBytesMax is how large args and output may be, each, to be in a list of
// jobs; larger ones are nil there, and whole in the job itself.
const ListedBytesMax = 4 << 10

// Cursor is a place in a list that is ordered by id, newest first: the page
// after (older than) or before (newer than) the job with that id. It survives
// the deletion of that job.
type Cursor struct {
	ID    uuid.UUID
	Newer bool
}

// String is the opaque form for URLs; the zero Cursor is "".
func (c Cursor) String() string {
	if c.ID == uuid.Nil {
		return ""
	}
	direction := "o"
	if c.Newer {
		direction = "n"
	}
	return base64.RawURLEncoding.EncodeToString(append([]byte(direction), c.ID[:]...))
}

// ParseCursor reads String's form. The error is a FieldError.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(raw) != 17 || raw[0] != 'o' && raw[0] != 'n' {
		return Cursor{}, FieldErrors{{"cursor", "is no cursor of this list: take it from \"next\""}}
	}
	return Cursor{ID: uuid.UUID(raw[1:]), Newer: raw[0] == 'n'}, nil
}

// Page is one page of a list of jobs, newest first.
type Page struct {
	Jobs  []Job
	Older Cursor // zero on the last page
	Newer Cursor // zero on the first
}

// Count is a number of rows that stops at CountCap.
type Count int

// CountCap is where counting stops: the count then reads "10,000+".
const CountCap = 10_000

// Capped says that there are more than the number says.
func (c Count) Capped() bool { return c > CountCap }
