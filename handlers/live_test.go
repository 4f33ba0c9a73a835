package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
)

func TestLive_WhatChangedBetweenThePageAndItsConnectionIsTold(t *testing.T) {
	t.Parallel()
	h := NewHub()
	h.Change(store.Change{Topic: engine.TopicJobs, IDs: []string{"7"}})
	told := func(rendered time.Time, topics ...string) map[string]int {
		cl, err := h.join("ann", topics, rendered)
		require.NoError(t, err)
		return cl.take().changed
	}
	before, after := time.Now().Add(-time.Minute), time.Now().Add(time.Minute)
	require.Equal(t, map[string]int{"jobs": 1, "job-7": 1}, told(before, "jobs", "job-7", "queues"))
	require.Empty(t, told(after, "jobs", "job-7"))
	require.Empty(t, told(time.Time{}, "jobs"), "a client that tells no time gets only what comes")
}

func TestLive_APageOfOneJobIsToldOnlyOfChangesThatNameIt(t *testing.T) {
	t.Parallel()
	h := NewHub()
	ended, err := h.join("ada", []string{"job-7"}, time.Time{})
	require.NoError(t, err)
	open, err := h.join("ada", []string{"job-7", views.TopicUnnamedJobs}, time.Time{})
	require.NoError(t, err)
	for _, c := range []struct {
		change      store.Change
		ended, open map[string]int
	}{
		{store.Change{Topic: engine.TopicJobs}, map[string]int{}, map[string]int{views.TopicUnnamedJobs: 1}},
		{store.Change{Topic: engine.TopicJobs, IDs: []string{"8"}}, map[string]int{}, map[string]int{}},
		{store.Change{Topic: engine.TopicQueues}, map[string]int{}, map[string]int{}},
		{store.Change{Topic: engine.TopicJobs, IDs: []string{"7"}}, map[string]int{"job-7": 1}, map[string]int{"job-7": 1}},
	} {
		h.Change(c.change)
		require.Equal(t, c.ended, ended.take().changed)
		require.Equal(t, c.open, open.take().changed)
	}
	h.Lost()
	require.Contains(t, ended.take().changed, "job-7", "what was missed may have named it")
	late := func() map[string]int {
		cl, err := h.join("ada", []string{"job-7"}, time.Now())
		require.NoError(t, err)
		return cl.take().changed
	}
	require.Contains(t, late(), "job-7")
	h.forget(time.Now().Add(time.Hour))
	require.Empty(t, late(), "times of single jobs are not kept for ever")
}

// timedWriter records how long each write of a stream may take.
type timedWriter struct {
	*httptest.ResponseRecorder
	deadline time.Time
	wrote    chan time.Duration
}

func (w *timedWriter) SetWriteDeadline(at time.Time) error { w.deadline = at; return nil }

func (w *timedWriter) Write(p []byte) (int, error) {
	w.wrote <- time.Until(w.deadline)
	return w.ResponseRecorder.Write(p)
}

func TestLive_StreamSetsAWriteDeadlineForEachMessage(t *testing.T) {
	t.Parallel()
	app := &App{Live: NewHub()}
	ctx, cancel := context.WithCancel(t.Context())
	w := &timedWriter{ResponseRecorder: httptest.NewRecorder(), wrote: make(chan time.Duration)}
	ended := make(chan error, 1)
	go func() {
		ended <- app.live(echo.New().NewContext(httptest.NewRequestWithContext(ctx, http.MethodGet, "/live?topics=jobs", nil), w))
	}()
	for range 3 {
		allowed := <-w.wrote
		require.Positive(t, allowed)
		require.LessOrEqual(t, allowed, time.Minute)
		app.Live.Change(store.Change{Topic: "jobs"})
	}
	cancel()
	for {
		select {
		case <-w.wrote:
		case err := <-ended:
			require.NoError(t, err)
			require.Empty(t, app.Live.clients)
			return
		}
	}
}

func TestLive_ATopicIsNoLineOfTheStream(t *testing.T) {
	t.Parallel()
	app := &App{Live: NewHub()}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	c := echo.New().NewContext(httptest.NewRequestWithContext(over, http.MethodGet, "/live?topics=job-%0Aevent:%20health", nil),
		httptest.NewRecorder())
	require.ErrorContains(t, app.live(c), "topics")
}

func TestLive_AStoppingServerEndsItsStreams(t *testing.T) {
	t.Parallel()
	app := &App{Live: NewHub()}
	ended := make(chan error, 1)
	go func() {
		ended <- app.live(echo.New().NewContext(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/live?topics=jobs", nil),
			httptest.NewRecorder()))
	}()
	app.Live.Close()
	app.Live.Close()
	require.NoError(t, <-ended)
}

func TestLive_OneClientLeavesStreamsForTheOthers(t *testing.T) {
	t.Parallel()
	app := &App{Live: NewHub(), Log: slog.New(slog.DiscardHandler)}
	var last *client
	fill := func(owner string, n int) {
		for range n {
			var err error
			last, err = app.Live.join(owner, []string{"jobs"}, time.Time{})
			require.NoError(t, err)
		}
	}
	ask := func(from string, set ...func(echo.Context)) string {
		over, cancel := context.WithCancel(t.Context())
		cancel()
		r := httptest.NewRequestWithContext(over, http.MethodGet, "/live?topics=jobs", nil)
		r.RemoteAddr = from + ":4711"
		c := echo.New().NewContext(r, httptest.NewRecorder())
		for _, s := range set {
			s(c)
		}
		var refused *echo.HTTPError
		if err := app.live(c); errors.As(err, &refused) {
			require.Equal(t, http.StatusTooManyRequests, refused.Code, "the page polls then")
			return refused.Error()
		}
		return ""
	}
	ann := login{id: uuid.New()}
	signedIn := func(c echo.Context) { c.Set(loginKey, ann); c.Set(userKey, User{Name: account}) }
	fill("address 192.0.2.1", liveEach)
	require.Contains(t, ask("192.0.2.1"), "100 pages are open")
	require.Empty(t, ask("192.0.2.2"), "another address")
	require.Empty(t, ask("192.0.2.1", func(c echo.Context) { c.Set(userKey, User{Name: "bob"}) }), "a user")
	require.Empty(t, ask("192.0.2.1", signedIn), "a login")
	fill("login "+ann.id.String(), liveEach)
	require.Contains(t, ask("192.0.2.9", signedIn), "100 pages are open")
	app.Live.leave(last)
	require.Empty(t, ask("192.0.2.9", signedIn), "one was closed")
	for i := range liveClients/liveEach - 2 {
		fill(fmt.Sprint("user ", i), liveEach)
	}
	fill("user x", 1)
	require.Contains(t, ask("192.0.2.3"), "1000 pages are open")
	require.Len(t, app.Live.owners, liveClients/liveEach+1)
	app.Live.leave(last)
	require.NotContains(t, app.Live.owners, "user x")
}
