package jobs

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// printer is for keywords that have no sentence of ours. It is safe for concurrent use.
var printer = message.NewPrinter(language.English)

// typeNames are the types of JSON Schema in words.
var typeNames = map[string]string{"string": "a string", "number": "a number", "integer": "a whole number", "boolean": "true or false",
	"array": "a list", "object": "an object", "null": "null"}

// formatNames are formats of JSON Schema in words; any other is named as it is.
var formatNames = map[string]string{
	"uuid": "UUID", "email": "email address", "uri": "URL", "hostname": "host name", "ipv4": "IPv4 address", "ipv6": "IPv6 address",
	"date-time": "time, such as 2026-01-31T15:04:05Z", "date": "date, such as 2026-01-31", "time": "time of day, such as 15:04:05Z",
	"duration": "duration, such as PT5M", "regex": "regular expression",
}

// rule says what the schema asks of a value, in words that follow the name of its field.
func rule(e jsonschema.ErrorKind) string {
	switch k := e.(type) {
	case *kind.Type:
		return "must be " + either(k.Want, func(name string) string { return typeNames[name] })
	case *kind.Enum:
		return "must be " + either(k.Want, literal)
	case *kind.Const:
		return "must be " + literal(k.Want)
	case *kind.Format:
		name, known := formatNames[k.Want]
		if !known {
			name = k.Want
		}
		return "must be a valid " + name
	case *kind.Pattern:
		return "must match the pattern " + k.Want
	case *kind.ContentEncoding:
		return "must be encoded as " + k.Want
	case *kind.ContentMediaType:
		return "must be valid " + k.Want
	case *kind.FalseSchema, *kind.Not:
		return "is not allowed"
	case *kind.OneOf:
		return "fits more than one of the allowed forms"
	case *kind.PropertyNames:
		return fmt.Sprintf("must not have a field named %q", k.Property)
	}
	if text := sizeRule(e); text != "" {
		return text
	}
	return e.LocalizedString(printer)
}

// sizeRule is rule for the keywords that bound a number or a length; "" for any other.
func sizeRule(e jsonschema.ErrorKind) string {
	switch k := e.(type) {
	case *kind.Minimum:
		return "must be at least " + decimal(k.Want)
	case *kind.Maximum:
		return "must be at most " + decimal(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + decimal(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + decimal(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + decimal(k.Want)
	case *kind.MinLength:
		return atLeast(k.Want, "character")
	case *kind.MaxLength:
		return atMost(k.Want, "character")
	case *kind.MinItems:
		return atLeast(k.Want, "item")
	case *kind.MaxItems:
		return atMost(k.Want, "item")
	case *kind.MinProperties:
		return atLeast(k.Want, "field")
	case *kind.MaxProperties:
		return atMost(k.Want, "field")
	case *kind.AdditionalItems:
		return "has too many items: " + number(k.Count, "item") + " at its end must go"
	case *kind.UniqueItems:
		return fmt.Sprintf("must not have an item twice: items %d and %d are the same", k.Duplicates[0]+1, k.Duplicates[1]+1)
	case *kind.Contains:
		return "must have an item of the form that its schema asks for"
	case *kind.MinContains:
		return "must have at least " + number(k.Want, "item") + " of the form that its schema asks for"
	case *kind.MaxContains:
		return atMost(k.Want, "item") + " of the form that its schema names"
	}
	return ""
}

func atLeast(n int, what string) string {
	if n == 1 && what != "field" {
		return "must not be empty"
	}
	return "must have at least " + number(n, what)
}

func atMost(n int, what string) string { return "must have at most " + number(n, what) }

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// decimal writes a bound as a schema has it: with as many decimals as it needs.
func decimal(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	if digits, exact := r.FloatPrec(); exact {
		return r.FloatString(digits)
	}
	return r.RatString()
}

// literal writes a value of a schema: a string in quotes, as it may be empty.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case nil:
		return "null"
	}
	return jsonText(v)
}

// either lists alternatives.
func either[T any](list []T, text func(T) string) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = text(v)
	}
	if len(words) < 3 {
		return strings.Join(words, " or ")
	}
	return "one of " + strings.Join(words, ", ")
}

// merged joins the rules of alternatives that all fail for one value, such as those of a field
// that may also be null: only one of them has to be met.
func merged(branches []FieldErrors) (FieldError, bool) {
	var words []string
	for _, branch := range branches {
		if len(branch) != 1 || branch[0].Field != branches[0][0].Field || !strings.HasPrefix(branch[0].Message, "must ") {
			return FieldError{}, false
		}
		if word := strings.TrimPrefix(branch[0].Message, "must "); !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return FieldError{branches[0][0].Field, "must " + strings.Join(words, ", or ")}, true
}
