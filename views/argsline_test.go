package views

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArgsLine_ShowsTheFieldsWithoutTheirPunctuation(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		`{"invoice":"INV-1","amount":12.50,"urgent":true}`:  "invoice INV-1 · amount 12.50 · urgent true",
		`{"to": ["a", "b"], "by": {"id": 7}, "note": null}`: `to ["a", "b"] · by {"id": 7} · note null`,
		`{"empty":"","text":"two\nlines"}`:                  `empty "" · text two lines`,
		`{}`:                                                "no arguments",
		`[1, 2]`:                                            "[1, 2]",
		`"hello"`:                                           `"hello"`,
		`{"a":1,`:                                           `{"a":1,`,
		`{"":"x"}`:                                          "x",
	} {
		require.Equal(t, want, argsLine(json.RawMessage(args)))
	}
}
