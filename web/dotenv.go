package web

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/joho/godotenv"
)

// loadDotEnv sets the variables of the file .env in the working directory that the environment does
// not set. Its errors never quote the file, as it holds passwords.
func loadDotEnv() error {
	text, err := os.ReadFile(".env")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read .env: %w", err)
	}
	values, err := parseDotEnv(bytes.TrimPrefix(text, []byte("\uFEFF")))
	if err != nil {
		return fmt.Errorf("read .env: %w", err)
	}
	for name, value := range values {
		if _, set := os.LookupEnv(name); set {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("read .env: %s cannot be set", name)
		}
	}
	return nil
}

func parseDotEnv(text []byte) (map[string]string, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8 text")
	}
	values, err := godotenv.UnmarshalBytes(text)
	if err != nil {
		return nil, errors.New("a line is not of the form NAME=value, or a quote is never closed")
	}
	if name := lostBackslash.FindSubmatch(text); name != nil {
		return nil, fmt.Errorf("%s has a \\ in double quotes that would be lost: write the value in single quotes", name[1])
	}
	literal, err := godotenv.UnmarshalBytes(bytes.ReplaceAll(text, []byte("$"), []byte(dollar)))
	if err != nil {
		return nil, errors.New("a name has a $ in it")
	}
	for name, value := range values {
		if value != expand(strings.ReplaceAll(literal[name], dollar, "$"), value, values) {
			return nil, fmt.Errorf("%s has a $ that would be lost: write the value in single quotes, in which $ is itself. Only "+
				"${NAME} of a line above stands for something else", name)
		}
	}
	return values, nil
}

// lostBackslash matches a line whose value has a backslash that escapes nothing.
var lostBackslash = regexp.MustCompile(`(?m)^[ \t]*(?:export[ \t]+)?([A-Za-z0-9_.]+)[ \t]*[=:][ \t]*"(?:[^"\\]|\\.)*?\\[^nr"\\$\n]`)

// dollar stands for $ where the parser must not replace anything: a character that no file has.
const dollar = "\uF8FE"

var reference = regexp.MustCompile(`\\?\$([A-Z0-9_]+|\{[A-Z0-9_]+\})`)

// expand returns what a value means: as it is written if the parser has left it so, in single
// quotes for instance, or with its references replaced. The parser also replaces references to
// variables that it does not know, and then a part of a password is gone.
func expand(written, parsed string, values map[string]string) string {
	if written == parsed {
		return parsed
	}
	return reference.ReplaceAllStringFunc(written, func(s string) string {
		if plain, escaped := strings.CutPrefix(s, `\`); escaped {
			return plain
		}
		if value := values[strings.Trim(s, "${}")]; value != "" {
			return value
		}
		return s
	})
}
