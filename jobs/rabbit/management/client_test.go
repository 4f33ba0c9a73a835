package management

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClient_NoErrorCarriesThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"http://u:s3cret@127.0.0.1:1", "http://u:s3cret@127.0.0.1:1/prefix", "ftp://u:s3cret@host", "http://u:s3cret@host:port",
		"http://u:s3cret@ bad", "u:s3cret@host:15672", "",
	} {
		c, err := New(url)
		if err == nil {
			require.NotContains(t, c.Address(), "s3cret", url)
			_, err = c.Overview(t.Context())
		}
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "s3cret", url)
	}
}

func TestClient_AnAnswerThatDoesNotComeEndsTheCall(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush() // send the header, but never the body
		<-hang
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(hang) })
	c, err := New(srv.URL, WithTimeout(50*time.Millisecond))
	require.NoError(t, err)
	_, err = c.Queues(t.Context())
	require.ErrorContains(t, err, srv.URL)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client(t, srv.URL).Queues(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestClient_AnEndlessAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	_, err := readAtMost(strings.NewReader(strings.Repeat("x", 2<<20)), 1<<20)
	require.ErrorContains(t, err, "more than 1 MB")
}

func TestClient_ConnectionsAreKept(t *testing.T) {
	t.Parallel()
	var opened atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") }))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	c := client(t, srv.URL)
	for range 3 {
		_, err := c.Queues(t.Context())
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, opened.Load())
}

func TestClient_VhostsAndNamesAreEscaped(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.EscapedPath())
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(srv.Close)
	_, err := client(t, srv.URL+"/rabbit/").Queue(t.Context(), "/", "a/b %c?")
	require.NoError(t, err)
	require.Equal(t, "/rabbit/api/queues/%2F/a%2Fb%20%25c%3F", asked.Load())
}

func TestClient_TheURLMayEndInTheAPIsOwnPath(t *testing.T) {
	t.Parallel()
	for suffix, asks := range map[string]string{"": "", "/": "", "/api": "", "/api/": "", "//": "", "/api//": "", "/rabbit": "/rabbit",
		"/rabbit/api": "/rabbit", "/rabbit/api/": "/rabbit", "/myapi": "/myapi", "/#/": "", "/#/queues": "", "/?x=1": ""} {
		c, err := New("http://u:p@host:15672" + suffix)
		require.NoError(t, err)
		require.Equal(t, "http://host:15672"+asks, c.Address(), suffix)
	}
}

func TestClient_ARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var other atomic.Bool
	there := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { other.Store(true) }))
	t.Cleanup(there.Close)
	here := httptest.NewServer(http.RedirectHandler(there.URL, http.StatusFound))
	t.Cleanup(here.Close)
	_, err := client(t, here.URL).Overview(t.Context())
	require.ErrorContains(t, err, "302")
	require.False(t, other.Load())
}
