package store_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/kinds"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store"
)

// runTaskKind runs a job of a kind of the Tasks page, and returns its output.
func runTaskKind(t *testing.T, s *store.Store, args jobs.Args) (out struct {
	Tasks, Refused int
	Errors         []tasks.LineError
	Download       string
}, err error) {
	t.Helper()
	registry, err := jobs.NewRegistry(kinds.OfPages(kinds.Config{Tasks: s, Announce: func(string, ...string) {}})...)
	require.NoError(t, err)
	job := jobs.New(args)
	require.NoError(t, registry.Prepare(&job))
	run := &jobs.Run{ID: job.ID, Kind: job.Kind, Args: job.Args, Attempt: 1}
	err = registry.Lookup(job.Kind).Work(t.Context(), run)
	if raw := run.Record().Output(); raw != nil {
		require.NoError(t, json.Unmarshal(raw, &out))
	}
	return out, err
}

func keep(t *testing.T, s *store.Store, csv string) kinds.TasksImport {
	t.Helper()
	id, _, err := s.KeepFile(t.Context(), "tasks.csv", "text/csv", strings.NewReader(csv))
	require.NoError(t, err)
	return kinds.TasksImport{File: id}
}

func TestImport_CountsAndNamesEachLineThatIsMissing(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	var csv strings.Builder
	csv.WriteString("description,priority\nTask 2,low\n\"never closed,low\n")
	for i := 4; i <= 501; i++ {
		fmt.Fprintf(&csv, "Task %d,low\n", i)
	}
	file := keep(t, s, csv.String())
	out, err := runTaskKind(t, s, file)
	require.NoError(t, err)
	require.Equal(t, []int{1, 499, 499}, []int{out.Tasks, out.Refused, len(out.Errors)})
	require.Contains(t, out.Errors[0].Error, "lines 3 to 501 were read as one")
	all, err := s.ImportErrors(t.Context(), file.File, 1000)
	require.NoError(t, err)
	require.Equal(t, tasks.LineError{Line: 501, Error: "was read as a part of line 3"}, all[498], "the download has them, too")
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.tasks`))
}

func TestImport_WhatEndsItIsReportedWithWhatWasImported(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	file := keep(t, s, "description,priority\nA,low\nB,urgent\n\""+strings.Repeat("x", 600<<10))
	for range 2 { // a retry adds nothing
		out, err := runTaskKind(t, s, file)
		require.EqualError(t, err,
			`read "tasks.csv", stopped after 1 task added, 1 line refused: the line after line 3 is longer than 256 KiB: `+
				`is a quote never closed?`)
		require.True(t, jobs.IsPermanent(err))
		require.Equal(t, []int{1, 1}, []int{out.Tasks, out.Refused})
		require.NotEmpty(t, out.Download)
	}
	_, err := runTaskKind(t, s, keep(t, s, "description,priority\nA,low\nGr\xf6\xdfe,low\n"))
	require.ErrorContains(t, err, `read "tasks.csv": the file is not in UTF-8 (see line 3)`)
	require.True(t, jobs.IsPermanent(err))
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.tasks`), "it is imported whole when it is saved anew")
}

// Excel reads a CSV file as UTF-8 only if it begins with a byte order mark.
func TestExport_IsReadBySpreadsheetsAndImportedAsItWas(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	for _, text := range []string{"Größe", "=1+1", "a\nb, \"c\"", "＝x", " -y ", "a;=1+1;b", "a\t=1+1"} {
		task(t, s, tasks.Input{Description: text})
	}
	out, err := runTaskKind(t, s, kinds.TasksExport{})
	require.NoError(t, err)
	id := uuid.MustParse(strings.TrimPrefix(out.Download, "/files/"))
	csv, err := io.ReadAll(s.OpenFile(t.Context(), id))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(csv), "\uFEFFdescription,priority,start_at,due_at,done\n\"Größe\",none,,,false\n\"'=1+1\","),
		"%s", csv)
	require.Contains(t, string(csv), "\n\"a;=1+1;b\",none", "a spreadsheet that separates by semicolons reads one text")
	require.Contains(t, string(csv), "\n\"a\t=1+1\",none")

	other, _ := database(t)
	imported, err := runTaskKind(t, other, keep(t, other, string(csv)))
	require.NoError(t, err)
	require.Equal(t, 7, imported.Tasks)
	texts := func(s *store.Store) (all []string) {
		list, err := s.ExportTasks(t.Context(), tasks.Filter{View: tasks.ViewAll}, uuid.Nil, 10)
		require.NoError(t, err)
		for _, task := range list {
			all = append(all, task.Description)
		}
		return all
	}
	require.ElementsMatch(t, texts(s), texts(other))
}
