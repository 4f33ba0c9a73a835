package views

import (
	"bytes"
	"encoding/json"
	"strings"
)

// argsLine returns args on one line: the fields of an object as "invoice INV-1 · amount 12.5", and
// anything else as it is. What is nested stays JSON.
func argsLine(raw json.RawMessage) string {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return oneLine(string(raw))
	}
	var fields []string
	for dec.More() {
		key, err := dec.Token()
		var value json.RawMessage
		if err != nil || dec.Decode(&value) != nil {
			return oneLine(string(raw))
		}
		name, _ := key.(string)
		fields = append(fields, together(name, strings.Join(strings.Fields(plainValue(value)), " ")))
	}
	if len(fields) == 0 {
		return "no arguments"
	}
	return beginning(strings.Join(fields, "\u00a0· "))
}

// together joins a name and a value so that a line does not break between them.
func together(name, value string) string {
	if name == "" {
		return value
	}
	return strings.ReplaceAll(name, " ", "\u00a0") + "\u00a0" + value
}

// plainValue returns a text without quotes and any other value as it is written.
func plainValue(value json.RawMessage) string {
	var text string
	if value[0] == '"' && json.Unmarshal(value, &text) == nil && text != "" {
		return text
	}
	return string(value)
}
