package jobs_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// The messages follow the name of a field, on pages and in the API.
func TestSchema_EachKeywordIsRefusedInASentence(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{`{"minimum":2}`, `1`, "must be at least 2"},
		{`{"minimum":0.1}`, `0.05`, "must be at least 0.1"},
		{`{"maximum":10000000000}`, `1e11`, "must be at most 10000000000"},
		{`{"exclusiveMinimum":2}`, `2`, "must be more than 2"},
		{`{"exclusiveMaximum":2.5}`, `2.5`, "must be less than 2.5"},
		{`{"multipleOf":5}`, `7`, "must be a multiple of 5"},
		{`{"minLength":1}`, `""`, "must not be empty"},
		{`{"minLength":3}`, `"ab"`, "must have at least 3 characters"},
		{`{"maxLength":1}`, `"ab"`, "must have at most 1 character"},
		{`{"pattern":"^[a-z]+$"}`, `"A"`, "must match the pattern ^[a-z]+$"},
		{`{"type":"string"}`, `1`, "must be a string"},
		{`{"type":"integer"}`, `1.5`, "must be a whole number"},
		{`{"type":"boolean"}`, `"yes"`, "must be true or false"},
		{`{"type":"array"}`, `{}`, "must be a list"},
		{`{"type":"object"}`, `[]`, "must be an object"},
		{`{"type":["string","null"]}`, `1`, "must be null or a string"},
		{`{"type":["string","null","array"]}`, `1`, "must be one of null, a string, a list"},
		{`{"oneOf":[{"type":"string"},{"type":"null"}]}`, `1`, "must be a string, or be null"},
		{`{"anyOf":[{"minimum":5},{"maximum":1}]}`, `3`, "must be at least 5, or be at most 1"},
		{`{"oneOf":[{"minimum":1},{"minimum":2}]}`, `3`, "fits more than one of the allowed forms"},
		{`{"enum":["s","m",""]}`, `"xl"`, `must be one of "s", "m", ""`},
		{`{"enum":[1,null]}`, `2`, "must be 1 or null"},
		{`{"const":"x"}`, `"y"`, `must be "x"`},
		{`{"minItems":1}`, `[]`, "must not be empty"},
		{`{"minItems":2}`, `[1]`, "must have at least 2 items"},
		{`{"maxItems":1}`, `[1,2]`, "must have at most 1 item"},
		{`{"uniqueItems":true}`, `[1,2,1]`, "must not have an item twice: items 1 and 3 are the same"},
		{`{"contains":{"type":"string"}}`, `[1]`, "must have an item of the form that its schema asks for"},
		{`{"contains":{"type":"string"},"minContains":2}`, `["a"]`, "must have at least 2 items of the form that its schema asks for"},
		{`{"contains":{"type":"string"},"maxContains":1}`, `["a","b"]`, "must have at most 1 item of the form that its schema names"},
		{`{"minProperties":1}`, `{}`, "must have at least 1 field"},
		{`{"maxProperties":1}`, `{"a":1,"b":2}`, "must have at most 1 field"},
		{`{"propertyNames":{"maxLength":1}}`, `{"ab":1}`, `must not have a field named "ab"`},
		{`{"not":{"type":"null"}}`, `null`, "is not allowed"},
		{`false`, `1`, "is not allowed"},
		{`{"items":false,"prefixItems":[true]}`, `[1,2]`, "is not allowed"},
		{`{"dependentRequired":{"from":["to"]}}`, `{"from":1}`, "is required together with from"},
		{`{"required":["to"]}`, `{}`, "is required"},
		{`{"properties":{},"additionalProperties":false}`, `{"to":1}`, "is not a field of this kind"},
	} {
		kind, err := jobs.Definition{Name: "k", Schema: json.RawMessage(`{"properties":{"v":` + c[0] + `}}`)}.Kind()
		require.NoError(t, err, c[0])
		var wrong jobs.FieldErrors
		require.ErrorAs(t, kind.Check(json.RawMessage(`{"v":`+c[1]+`}`)), &wrong, c[0])
		require.Len(t, wrong, 1, c[0])
		require.Equal(t, c[2], wrong[0].Message, c[0])
		require.Regexp(t, `^args\.v`, wrong[0].Field)
	}
}
