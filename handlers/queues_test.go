package handlers

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/views"
)

func TestQueues_TheURLOfAQueueLeadsBackToItsNames(t *testing.T) {
	t.Parallel()
	for _, want := range [][2]string{{"/", "warren.jobs.default"}, {"x", "a%41"}, {"a/b", "c d/é?#"}, {"/", "100%"}, {"ü", "+"}} {
		e := echo.New()
		var vhost, name string
		e.GET("/queues/:vhost/:name", func(c echo.Context) (err error) {
			vhost, name, err = queueParams(c)
			return err
		})
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, views.QueueURL(want[0], want[1]), nil))
		require.Equal(t, http.StatusOK, w.Code, want)
		require.Equal(t, want, [2]string{vhost, name})
	}
}

func TestQueues_AFormComesBackOnlyToALocalPath(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"/jobs?state=dead": "/jobs?state=dead", "": "/x", "http://elsewhere.example/": "/x", "//elsewhere.example": "/x",
		`/\elsewhere.example`: "/x", "jobs": "/x",
	} {
		r := httptest.NewRequest(http.MethodPost, "/settings/theme", nil)
		r.PostForm, r.Form = map[string][]string{}, map[string][]string{"back": {to}}
		require.Equal(t, want, back(echo.New().NewContext(r, httptest.NewRecorder()), "/x"), to)
	}
}
