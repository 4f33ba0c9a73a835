package management

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// The broker writes an empty map as [], an unknown number as "" or null, and an
// unset string as null. These types read all of them.

// count is a number that may be unknown. A negative one is unknown too: the
// broker is known to report negative depths for a moment.
type count struct{ n *int64 }

func (c *count) UnmarshalJSON(b []byte) error {
	c.n = nil
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		if n >= 0 {
			c.n = &n
		}
		return nil
	}
	if f, err := strconv.ParseFloat(string(b), 64); err == nil && f >= 0 && f < math.MaxInt64 {
		n := int64(f)
		c.n = &n
	}
	return nil // "", null, [], "undefined": unknown
}

// text is a string; everything else is "".
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(t))
	}
	return nil
}

// flag is a bool; everything else is false.
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	*f = string(b) == "true"
	return nil
}

// object is a T if the broker wrote a map, else the zero T.
type object[T any] struct{ v T }

func (o *object[T]) UnmarshalJSON(b []byte) error {
	var zero T
	o.v = zero
	if !isObject(b) {
		return nil
	}
	return json.Unmarshal(b, &o.v)
}

// rawObject is a JSON object as it came, "{}" if it is none.
type rawObject json.RawMessage

func (r *rawObject) UnmarshalJSON(b []byte) error {
	*r = rawObject("{}")
	if isObject(b) {
		*r = append((*r)[:0], b...)
	}
	return nil
}

func (r rawObject) raw() json.RawMessage {
	if len(r) == 0 {
		return json.RawMessage("{}")
	}
	return json.RawMessage(r)
}

func isObject(b []byte) bool { return bytes.HasPrefix(b, []byte("{")) }

// tags are a list in 3.10 and later, words with commas before; an account without any has "" or [].
type tags []string

func (t *tags) UnmarshalJSON(b []byte) error {
	*t = nil
	var list []string
	if json.Unmarshal(b, &list) == nil {
		*t = list
		return nil
	}
	var words text
	_ = words.UnmarshalJSON(b)
	for _, w := range bytes.FieldsFunc([]byte(words), func(r rune) bool { return r == ',' || r == ' ' }) {
		*t = append(*t, string(w))
	}
	return nil
}
