package messages

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ParseHeader reads name=value. The value is a number or a boolean if it looks like one, else a text;
// in double quotes it is a text in any case.
func ParseHeader(s string) (name string, value any, err error) {
	name, text, found := strings.Cut(s, "=")
	name, text = strings.TrimSpace(name), strings.TrimSpace(text)
	if !found || name == "" {
		return "", nil, fmt.Errorf("%q is not a header: write name=value", s)
	}
	value, err = parseValue(text)
	return name, value, err
}

func parseValue(text string) (any, error) {
	if strings.HasPrefix(text, `"`) {
		var quoted string
		if err := json.Unmarshal([]byte(text), &quoted); err != nil {
			return nil, fmt.Errorf("%s is not a text in double quotes", text)
		}
		return quoted, nil
	}
	if text == "true" || text == "false" {
		return text == "true", nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		return n, nil
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && json.Valid([]byte(text)) {
		return f, nil
	}
	return text, nil
}

// ParseHeaders reads headers, one in a line; nil if there are none.
func ParseHeaders(lines []string) (map[string]any, error) {
	var headers map[string]any
	for _, line := range lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, err := ParseHeader(line)
		if err != nil {
			return nil, err
		}
		if _, twice := headers[name]; twice {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		if headers == nil {
			headers = map[string]any{}
		}
		headers[name] = value
	}
	return headers, nil
}

// FormatHeaders is the inverse of ParseHeaders. left lists the headers that it cannot write: lists and
// tables.
func FormatHeaders(headers map[string]any) (lines, left []string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		text, ok := formatValue(headers[name])
		if !ok || name != strings.TrimSpace(name) || strings.ContainsAny(name, "=\r\n") {
			left = append(left, name)
			continue
		}
		lines = append(lines, name+"="+text)
	}
	return lines, left
}

func formatValue(v any) (text string, ok bool) {
	s, isText := v.(string)
	if !isText {
		text, err := Number(v)
		return text, err == nil
	}
	if again, err := parseValue(strings.TrimSpace(s)); err == nil && again == s && !strings.ContainsAny(s, "\r\n") {
		return s, true
	}
	raw, err := json.Marshal(s)
	return string(raw), err == nil
}

// Number writes a number or a boolean as ParseHeader reads it.
func Number(v any) (string, error) {
	switch v.(type) {
	case bool, int, int8, int16, int32, int64, uint8, uint16, uint32, float32, float64:
		raw, err := json.Marshal(v)
		return string(raw), err
	}
	return "", errors.New("it is neither a number nor a boolean")
}
