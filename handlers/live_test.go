package handlers

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

func TestLive_WhatChangedBetweenThePageAndItsConnectionIsTold(t *testing.T) {
	t.Parallel()
	h := NewHub()
	h.Change(store.Change{Topic: engine.TopicJobs, IDs: []string{"7"}})
	told := func(rendered time.Time, topics ...string) map[string]int {
		cl, ok := h.join(topics, rendered)
		require.True(t, ok)
		return cl.take()
	}
	before, after := time.Now().Add(-time.Minute), time.Now().Add(time.Minute)
	require.Equal(t, map[string]int{"jobs": 1, "job-7": 1}, told(before, "jobs", "job-7", "queues"))
	require.Empty(t, told(after, "jobs", "job-7"))
	require.Empty(t, told(time.Time{}, "jobs"), "a client that tells no time gets only what comes")
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
