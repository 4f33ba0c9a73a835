package handlers

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

func TestWindow_IsARangeOrAFixedTimeAndNothingElse(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	const tooLate = "from: must be at least 10 s before the end of the charts, and in the past"
	for query, want := range map[string]string{
		"":                           "range=15m",
		"?range=24h":                 "range=24h",
		"?range=10d":                 `range: must be one of 15m, 1h, 6h, 24h, 7d, 30d`,
		"?range=":                    "range=15m",
		"?from=1":                    "from: must be a time such as 2026-01-31T15:04:05Z",
		"?to=2026-11":                "from: must be a time such as 2026-01-31T15:04:05Z",
		"?from=2026-11-21T11:00:00Z": "to: must be a time such as 2026-01-31T15:04:05Z",
		"?from=2026-11-21T11:00:00Z&to=2026-11-21T11:30:00Z":     "from=2026-11-21T11%3A00%3A00Z&to=2026-11-21T11%3A30%3A00Z",
		"?from=2026-11-21T11:59:00Z&to=2027-01-01T00:00:00Z":     "from=2026-11-21T11%3A59%3A00Z&to=2026-11-21T12%3A00%3A00Z",
		"?from=2026-11-21T11:30:00Z&to=2026-11-21T11:00:00Z":     tooLate,
		"?from=2026-12-21T11:30:00Z&to=2026-12-21T12:00:00Z":     tooLate,
		"?from=2026-01-01T00:00:00Z&to=2026-11-21T11:00:00Z":     "from: must be at most 90 days ago",
		"?from=2026-11-21T12:00:00%2B02:00&to=2026-11-21T11:00Z": "to: must be a time such as 2026-01-31T15:04:05Z",
	} {
		c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/"+query, nil), nil)
		w, err := chartWindow(c, now)
		if err != nil {
			require.ErrorContains(t, err, want, query)
			continue
		}
		require.Equal(t, want, w.Values().Encode(), query)
	}
}
