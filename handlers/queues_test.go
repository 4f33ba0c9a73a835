package handlers

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/views"
)

func TestQueues_TheURLOfAQueueLeadsBackToItsNames(t *testing.T) {
	t.Parallel()
	for _, want := range [][2]string{{"/", "warren.jobs.default"}, {"x", "a%41"}, {"a/b", "c d/é?#"}, {"/", "100%"}, {"ü", "+"},
		{"/", "."}, {"/", ".."}, {"..", "."}, {".", "..."}, {"~2", "~2~2"}, {"a~2b", "~1~0"}, {"..%2f", "./x"}, {".a", "a.."}} {
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

func TestQueues_AnActionOnAnImpossibleNameIsRefusedInASentence(t *testing.T) {
	t.Parallel()
	a := &App{VHost: "/", QueuePrefix: "warren.jobs."}
	for _, name := range []string{"%00", "%ff", "a%20b", strings.Repeat("x", 4000), "-x"} {
		e := echo.New()
		var err error
		e.POST("/queues/:vhost/:name/pause", func(c echo.Context) error { _, _, err = a.ownQueue(c); return nil })
		e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/queues/~1/warren.jobs."+name+"/pause", nil))
		require.ErrorContains(t, err, "is not a valid queue name", name)
		require.Less(t, len(err.Error()), 500)
	}
}

func TestQueues_TheAPISaysWhichIsPausedAndByWhom(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	app.VHost, app.QueuePrefix = "/", "warren.jobs."
	_, err := app.Store.Enqueue(t.Context(), jobs.NewJob{Kind: "dots", Queue: "mail"})
	require.NoError(t, err)
	require.NoError(t, app.Store.PauseQueue(t.Context(), "mail", jobs.Actor{Name: "ann"}))
	zero, at := int64(0), time.Now().Truncate(time.Microsecond)
	var queues []monitor.Queue
	for _, name := range []string{"warren.jobs.default", "warren.jobs.mail", "mail"} {
		queues = append(queues, monitor.Queue{VHost: "/", Name: name, Arguments: json.RawMessage(`{}`), Ready: &zero, SampledAt: at})
	}
	require.NoError(t, app.Store.SaveBroker(t.Context(), monitor.Snapshot{At: at, Queues: queues}))
	var page struct{ Items []map[string]any }
	answer := ask(e, http.MethodGet, "/api/v1/queues", "", "")
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &page))
	require.Len(t, page.Items, 3, answer.Body)
	for _, q := range page.Items {
		require.Contains(t, q, "paused_at")
		require.Equal(t, q["name"] == "warren.jobs.mail", q["paused_at"] != nil, q)
		require.Equal(t, q["name"] == "warren.jobs.mail", q["paused_by"] == "ann", q)
	}
}

func TestQueues_ThePathOfAPageIsOneOfOurs(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{"/jobs?q=x": "/jobs?q=x", "//other.example/jobs": "/"} {
		require.Equal(t, want, local(uri, "/"))
	}
}
