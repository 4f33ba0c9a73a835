package handlers

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	storetest.Stop()
	os.Exit(code)
}

func TestFiles_ADownloadHasTheTimeThatASlowLineTakes(t *testing.T) {
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

func TestFiles_WhatStandsBeforeAnUploadedFileIsBounded(t *testing.T) {
	t.Parallel()
	const part = "--x\r\nContent-Disposition: form-data; name=%q; filename=\"t.csv\"\r\n\r\n"
	junk := io.LimitReader(endless{}, tasks.FileMax+2*formMax)
	body := io.MultiReader(strings.NewReader(fmt.Sprintf(part, "other")), junk, strings.NewReader("\r\n"+fmt.Sprintf(part, "file")+
		"description\n\r\n--x--\r\n"))
	r := httptest.NewRequest(http.MethodPost, "/tasks/import", body)
	r.Host = "127.0.0.1"
	r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	w := httptest.NewRecorder()
	site(t, access(t, "", "", false)).ServeHTTP(w, r)
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, w.Body.String(), "No file was chosen")
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestFiles_AnUploadIsKeptAsTheCSVThatItIsTakenFor(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"tasks.csv": "tasks.csv", "T.CSV": "T.CSV", "index.html": "index.csv", `C:\a\b.txt`: "b.csv",
		"../../etc/passwd": "passwd.csv", "plain": "plain.csv"} {
		require.Equal(t, want, csvName(name))
	}
}
