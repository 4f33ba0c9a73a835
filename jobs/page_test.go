package jobs_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/jobs"
)

func TestCursor_ComesBackAsItWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := jobs.Cursor{Key: rapid.StringN(1, -1, 1000).Draw(t, "key"), Back: rapid.Bool().Draw(t, "back"), Inclusive: rapid.Bool().Draw(t,
			"inclusive")}
		got, err := jobs.ParseCursor(c.String())
		require.NoError(t, err)
		require.Equal(t, c, got)
	})
}

func TestCursor_NothingElseIsOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), base64.RawURLEncoding.EncodeToString)).Draw(t, "s")
		c, err := jobs.ParseCursor(s)
		var bad jobs.FieldErrors
		if err != nil {
			require.ErrorAs(t, err, &bad)
			require.Equal(t, "cursor", bad[0].Field)
			return
		}
		again, err := jobs.ParseCursor(c.String())
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}

func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{"", "YQ", "YWE", jobs.Cursor{Key: `{"At":"2026-01-01T00:00:00Z","ID":"x"}`, Back: true}.String(), "!",
		"====", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := jobs.ParseCursor(s)
		if err != nil {
			require.Equal(t, jobs.ErrCursor, err)
			return
		}
		again, err := jobs.ParseCursor(c.String())
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}
