//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/store/storetest"
)

// built are the programs that all tests of this package run.
var built programs

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "warren-scenarios-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		built, err = build(context.Background(), filepath.Join(dir, "bin"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer rabbittest.Stop()
	defer storetest.Stop()
	return m.Run()
}

// Each scenario of make scenarios, in its short form.
func TestScenarios_WhatWasSentHasItsEffect(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			broker := rabbittest.New(t)
			w, err := openWorld(built, filepath.Join(t.TempDir(), "world"), urls{storetest.Migrated(t), broker.URL, broker.ManagementURL},
				slog.New(slog.NewTextHandler(t.Output(), nil)))
			require.NoError(t, err)
			t.Cleanup(w.close)
			n, err := s.run(ctx, w, shortForm)
			if errors.Is(err, errNoPika) {
				t.Skip(err)
			}
			require.NoError(t, err)
			require.NoError(t, n.check())
			require.Regexp(t, `^\d [a-z/ ]+ sent=\d+ seen=\d+ ok$`, s.line(n, err))
		})
	}
}

func TestScenarios_ALineSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	n := count{sent: 3, seen: 2}
	s := scenario{number: 3, name: "work queue"}
	require.Equal(t, "3 work queue sent=3 seen=2 failed: 2 of 3 had their effect", s.line(n, n.check()))
	require.Error(t, count{}.check(), "nothing was sent")
}

func TestIdeal_EachRunGoesToTheFirstFreeWorker(t *testing.T) {
	t.Parallel()
	at := time.Now()
	second := func(from, to int) run {
		return run{started: at.Add(time.Duration(from) * time.Second), finished: at.Add(time.Duration(to) * time.Second)}
	}
	// One worker had all the heavy ones, as with a larger prefetch.
	unfair := []run{second(0, 3), second(0, 1), second(3, 6), second(1, 2), second(6, 9), second(2, 3)}
	require.Equal(t, 9*time.Second, makespan(unfair))
	require.Equal(t, 7*time.Second, ideal(unfair, 2))
}
