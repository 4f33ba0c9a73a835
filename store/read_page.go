package store

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// Every list is read in the same way: it has an order with a unique key, a page starts at the key
// of a cursor, limit+1 rows are read, and pageOf cuts off the last.

// seek returns the key comparison and the direction in which a list continues from a cursor.
// descending means that the first row of the list has the largest key.
func seek(c jobs.Cursor, descending bool) (comparison, direction string) {
	comparison, direction = ">", "ASC"
	if descending != c.Back {
		comparison, direction = "<", "DESC"
	}
	if c.Inclusive {
		comparison += "="
	}
	return comparison, direction
}

// timeKey is the key of a list that is ordered by time.
type timeKey struct {
	At time.Time
	ID uuid.UUID
}

// keyOf parses the key of a cursor; first reports whether there is none, as on the first page.
func keyOf[K any](c jobs.Cursor) (key K, first bool, err error) {
	if c.Key == "" {
		return key, true, nil
	}
	if json.Unmarshal([]byte(c.Key), &key) != nil {
		return key, false, jobs.ErrCursor
	}
	return key, false, nil
}

// pageOf makes a page of the rows read from a cursor; the extra row only shows that there are more.
func pageOf[T any](list []T, c jobs.Cursor, limit int, key func(T) any) jobs.Page[T] {
	more := len(list) > limit
	list = list[:min(len(list), limit)]
	if c.Back {
		slices.Reverse(list)
	}
	p := jobs.Page[T]{Items: list}
	if len(list) == 0 { // all rows beyond the cursor are gone: the way back includes the cursor's row
		back := jobs.Cursor{Key: c.Key, Back: !c.Back, Inclusive: c.Key != ""}
		switch {
		case c.Key == "":
		case c.Back:
			p.Next = back
		default:
			p.Prev = back
		}
		return p
	}
	if more || c.Back {
		p.Next = jobs.Cursor{Key: keyText(key(list[len(list)-1]))}
	}
	if c.Key != "" && (!c.Back || more) {
		p.Prev = jobs.Cursor{Key: keyText(key(list[0])), Back: true}
	}
	return p
}

func keyText(key any) string {
	raw, _ := json.Marshal(key) // ids, times, numbers and names
	return string(raw)
}
