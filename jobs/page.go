package jobs

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// Page is one page of a list. Next goes on where it ends and Prev goes back; each is
// zero where there is nothing.
type Page[T any] struct {
	Items      []T
	Next, Prev Cursor
}

// MarshalJSON writes the page as the API and the command line do: its items, and as
// next the cursor of the next page or null.
func (p Page[T]) MarshalJSON() ([]byte, error) {
	page := struct {
		Items []T     `json:"items"`
		Next  *string `json:"next"`
	}{Items: p.Items}
	if page.Items == nil {
		page.Items = []T{}
	}
	if next := p.Next.String(); next != "" {
		page.Next = &next
	}
	return json.Marshal(page)
}

// Cursor is a place in a list: the page behind the row that Key names or, with Back,
// the page before it. It survives the deletion of that row. The zero Cursor is the
// first page. Keys are the store's, and mean nothing to others.
type Cursor struct {
	Key       string
	Back      bool
	Inclusive bool // the page begins with the row itself: the way back from a page whose rows are gone
}

// cursorMarks are the first byte of a cursor's text: behind, before, and the same inclusive.
const cursorMarks = "abAB"

// String is the opaque form for URLs; the zero Cursor is "".
func (c Cursor) String() string {
	if c.Key == "" {
		return ""
	}
	mark := 0
	if c.Back {
		mark++
	}
	if c.Inclusive {
		mark += 2
	}
	return base64.RawURLEncoding.EncodeToString([]byte(cursorMarks[mark:mark+1] + c.Key))
}

// cursorMax bounds the text of a cursor: a queue's, with two names of 255 bytes, is the longest.
const cursorMax = 2000

// ParseCursor reads String's form. The error is ErrCursor.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(raw) < 2 || len(s) > cursorMax {
		return Cursor{}, ErrCursor
	}
	mark := strings.IndexByte(cursorMarks, raw[0])
	if mark < 0 {
		return Cursor{}, ErrCursor
	}
	return Cursor{Key: string(raw[1:]), Back: mark&1 != 0, Inclusive: mark&2 != 0}, nil
}

// ErrCursor says that a cursor is not one of the list that it was used for.
var ErrCursor error = FieldErrors{{"cursor", "is not a cursor of this list: take it from \"next\""}}
