package management

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// The broker encodes an empty map as [], an unknown number as "" or null, and an unset string as null.
// The types in this file decode all of them.

// count is a number that may be unknown. A negative number counts as unknown: the broker is known to
// report negative depths for a moment.
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

// text is a string, in which U+FFFD stands for zero bytes; any other JSON value is "".
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	if len(b) == 0 || b[0] != '"' {
		return nil
	}
	var s string
	err := json.Unmarshal(b, &s)
	*t = text(strings.ReplaceAll(s, "\x00", "\uFFFD"))
	return err
}

// told is a text, and whether the broker sent it at all, be it as null.
type told struct {
	text text
	told bool
}

func (t *told) UnmarshalJSON(b []byte) error {
	t.told = true
	return t.text.UnmarshalJSON(b)
}

// flag is a bool; any other JSON value is false.
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	*f = string(b) == "true"
	return nil
}

// object is a T if the broker sent a map, else the zero T.
type object[T any] struct{ v T }

func (o *object[T]) UnmarshalJSON(b []byte) error {
	var zero T
	o.v = zero
	if !isObject(b) {
		return nil
	}
	return json.Unmarshal(b, &o.v)
}

// rawObject is an unmodified JSON object, or "{}" if the broker sent anything else.
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

// tags are sent as a list by 3.10 and later, as words separated by commas before; without any tag as "" or [].
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
