package handlers

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/store/storetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	storetest.Stop()
	os.Exit(code)
}

func TestADownloadHasTheTimeThatASlowLineTakes(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	id, _, err := s.KeepFile(t.Context(), "tasks.csv", "text/csv", strings.NewReader("description\n"))
	require.NoError(t, err)
	w := &timedWriter{ResponseRecorder: httptest.NewRecorder(), wrote: make(chan time.Duration, 10)}
	c := echo.New().NewContext(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/files/"+id.String(), nil), w)
	c.SetParamNames("id")
	c.SetParamValues(id.String())
	require.NoError(t, (&App{Store: s}).file(c))
	require.Greater(t, <-w.wrote, 20*time.Minute)
	require.Equal(t, "description\n", w.Body.String())
}
