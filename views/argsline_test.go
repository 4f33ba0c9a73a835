package views

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Where a browser does not break a line is an underscore here.
func TestArgsLine_ShowsTheFieldsWithoutTheirPunctuation(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		`{"invoice":"INV-1","amount":12.50,"urgent":true}`:  "invoice_INV-1_· amount_12.50_· urgent_true",
		`{"to": ["a", "b"], "by": {"id": 7}, "note": null}`: `to_["a", "b"]_· by_{"id": 7}_· note_null`,
		`{"empty":"","text":"two\nlines"}`:                  `empty_""_· text_two lines`,
		`{}`:                                                "no arguments",
		`[1, 2]`:                                            "[1, 2]",
		`"hello"`:                                           `"hello"`,
		`{"a":1,`:                                           `{"a":1,`,
		`{"":"x"}`:                                          "x",
	} {
		require.Equal(t, want, strings.ReplaceAll(argsLine(json.RawMessage(args)), "\u00a0", "_"))
	}
}
