package jobs

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// Page is one page of a list. Next and Prev are the cursors of the pages after and before it,
// or zero if there is none.
type Page[T any] struct {
	Items      []T
	Next, Prev Cursor
}

// MarshalJSON writes the page as the API and the command line present it: items, and next, which
// is the cursor of the next page or null.
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

// Cursor is a position in a list: the page after the row that Key identifies or, with Back, the
// page before it. It stays valid when that row is deleted. The zero Cursor is the first page;
// Key is opaque to all but the store.
type Cursor struct {
	Key       string
	Back      bool
	Inclusive bool // the page begins with the row itself: used to go back from a page whose rows were deleted
}

// cursorMarks are the possible first bytes of an encoded cursor: after, before, and the same inclusive.
const cursorMarks = "abAB"

// String returns the opaque form of c for URLs; that of the zero Cursor is "".
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

// cursorMax limits an encoded cursor; the longest is that of a queue, with two names of 255 bytes.
const cursorMax = 2000

// ParseCursor parses the result of Cursor.String. The error is ErrCursor.
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

// ErrCursor reports that a cursor does not belong to the list that it was used for.
var ErrCursor error = FieldErrors{{"cursor", "has expired: start from the first page"}}
