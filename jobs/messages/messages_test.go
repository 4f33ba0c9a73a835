package messages

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatches_IsThatOfATopicExchange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, hits, misses string // keys, separated by blanks; - is the empty key
	}{
		{"#", "- a a.b a..b", ""},
		{"*", "a", "- a.b"},
		{"a.*", "a.b a.", "a a.b.c b.a"},
		{"a.#", "a a.b a.b.c", "- b ab"},
		{"#.c", "c a.c a.b.c", "a.c.d"},
		{"a.#.z", "a.z a.b.z a.b.c.z", "a z a.z.y"},
		{"#.#", "- a a.b", ""},
		{"*.#", "a a.b", "-"},
		{"*.*", "a.b .", "a a.b.c"},
		{"", "-", "a"},
	} {
		for key := range strings.FieldsSeq(c.hits) {
			require.True(t, Matches(c.pattern, strings.Trim(key, "-")), "%q %q", c.pattern, key)
		}
		for key := range strings.FieldsSeq(c.misses) {
			require.False(t, Matches(c.pattern, strings.Trim(key, "-")), "%q %q", c.pattern, key)
		}
	}
	require.True(t, Matches(strings.Repeat("#.", 100)+"z", strings.Repeat("a.", 100)+"z"), "without trying every way")
}

func TestHeaders_AreWrittenAsTheyAreRead(t *testing.T) {
	t.Parallel()
	headers, err := ParseHeaders([]string{"n=7", "f = 1.5", "yes=true", `s="7"`, "text=a=b c", "", "none=", "zip=007", `quote="a\"b"`})
	require.NoError(t, err)
	want := map[string]any{"n": int64(7), "f": 1.5, "yes": true, "s": "7", "text": "a=b c", "none": "", "zip": "007", "quote": `a"b`}
	require.Equal(t, want, headers)
	lines, left := FormatHeaders(headers)
	require.Empty(t, left)
	again, err := ParseHeaders(lines)
	require.NoError(t, err)
	require.Equal(t, want, again)
	_, left = FormatHeaders(map[string]any{"list": []any{1}, "a=b": "x", "lines": "a\nb"})
	require.Equal(t, []string{"a=b", "list"}, left)
	for _, bad := range []string{"n", "=1", `s="x`} {
		_, err := ParseHeaders([]string{bad})
		require.Error(t, err, bad)
	}
	_, err = ParseHeaders([]string{"a=1", "a=2"})
	require.ErrorContains(t, err, "twice")
}

func TestHeaders_OfJSONKeepTheirTypes(t *testing.T) {
	t.Parallel()
	headers, err := HeadersOfJSON([]byte(`{"n":9007199254740993,"f":1.5,"b":false,"s":"x"}`))
	require.NoError(t, err)
	require.Equal(t, map[string]any{"n": int64(9007199254740993), "f": 1.5, "b": false, "s": "x"}, headers)
	for _, bad := range []string{`[]`, `{"a":[1]}`, `{"a":null}`, `{"a":1e400}`} {
		_, err := HeadersOfJSON([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestTailed_HasItsBodyAsTextOrInBase64(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body, want string
		size       int
	}{
		{"é", `"body":"é"`, 2},
		{"a\xc3", `"body":"a"`, 10}, // cut within a character
		{"a\xc3", `"body_base64":"YcM="`, 2},
		{"a\x00", `"body_base64":"YQA="`, 2},
	} {
		raw, err := json.Marshal(Tailed{Body: []byte(c.body), Size: c.size})
		require.NoError(t, err)
		require.Contains(t, string(raw), c.want)
	}
}

func TestMessage_ThatAMQPCannotCarryNamesItsFields(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	m := Message{Exchange: long, Key: long, Body: make([]byte, BodyMax+1), Properties: Properties{Priority: 256, Expiration: "-1",
		Timestamp: "now", Type: "\xff", Headers: map[string]any{"": 1}}}
	var fields []string
	for _, e := range m.Check() {
		fields = append(fields, e.Field)
	}
	require.Equal(t, []string{"exchange", "routing_key", "type", "priority", "expiration", "timestamp", "headers", "body"}, fields)
	require.Empty(t, Message{Properties: Properties{Priority: 255, Expiration: "0", Timestamp: "1796306400000"}}.Check())
}
