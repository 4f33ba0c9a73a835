package store_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/store"
)

// forthAndBack follows the cursors of a list, as URLs carry them, to its end and back to its
// beginning. It checks that both ways show the same rows, each once, and returns them.
func forthAndBack[T any](t *testing.T, read func(jobs.Cursor) (jobs.Page[T], error)) []T {
	t.Helper()
	page := func(c jobs.Cursor) jobs.Page[T] {
		c, err := jobs.ParseCursor(c.String())
		require.NoError(t, err)
		p, err := read(c)
		require.NoError(t, err)
		return p
	}
	last := page(jobs.Cursor{})
	require.Zero(t, last.Prev, "nothing is before the first page")
	forth := last.Items
	for last.Next != (jobs.Cursor{}) {
		last = page(last.Next)
		forth = append(forth, last.Items...)
	}
	back := last.Items
	for last.Prev != (jobs.Cursor{}) {
		last = page(last.Prev)
		back = append(slices.Clone(last.Items), back...)
	}
	require.Equal(t, forth, back)
	return forth
}

func TestPages_OfTheAuditLogHaveEachEntryOnce(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	for n := 1; n <= 7; n++ {
		require.NoError(t, s.WriteAudit(t.Context(), somebody, "x", fmt.Sprint(n), nil))
		require.NoError(t, s.WriteAudit(t.Context(), jobs.Actor{Name: "another"}, "x", fmt.Sprint(n), nil))
	}
	list := forthAndBack(t, func(c jobs.Cursor) (jobs.Page[jobs.AuditEntry], error) {
		return s.Audit(t.Context(), jobs.AuditFilter{Actor: "somebody"}, c, 3)
	})
	require.Equal(t, []string{"7", "6", "5", "4", "3", "2", "1"}, targets(jobs.Page[jobs.AuditEntry]{Items: list}))
}

func TestPages_OfQueuesHaveEachQueueOnceInEveryOrder(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	var queues []monitor.Queue
	for i := range 11 {
		q := depth(fmt.Sprintf("q%02d", i), int64(i/3), noon) // three of each depth
		if i%4 == 0 {
			q.Ready = nil
		}
		if i%2 == 0 {
			q.Rates.Publish = new(float64(i) / 3)
		}
		queues = append(queues, q)
	}
	require.NoError(t, s.SaveBroker(t.Context(), monitor.Snapshot{At: noon, Queues: queues}))
	for _, sort := range []string{"trouble", "name", "ready", "publish", "redelivered"} {
		for _, desc := range []bool{false, true} {
			list := forthAndBack(t, func(c jobs.Cursor) (jobs.Page[monitor.Queue], error) {
				page, all, err := s.Queues(t.Context(), store.QueueFilter{Sort: sort, Desc: desc}, c, 3)
				require.Equal(t, len(queues), all.Queues)
				return page, err
			})
			require.Len(t, list, len(queues), "%s, descending %t", sort, desc)
			if sort == "ready" {
				require.Nil(t, list[len(list)-1].Ready, "unknown comes last")
				require.NotNil(t, list[0].Ready)
			}
		}
	}
}

func TestPages_ACursorOfAnotherListIsRefused(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	_, err := s.Jobs(t.Context(), jobs.Filter{}, jobs.Cursor{Key: "7"}, 10)
	require.ErrorContains(t, err, "cursor")
	_, err = s.Audit(t.Context(), jobs.AuditFilter{}, jobs.Cursor{Key: `"x"`}, 10)
	require.ErrorContains(t, err, "cursor")
	_, _, err = s.Queues(t.Context(), store.QueueFilter{}, jobs.Cursor{Key: "[]"}, 10)
	require.ErrorContains(t, err, "cursor")
}

// FuzzCursorKey checks that a cursor which was not made for a list is refused as such.
func FuzzCursorKey(f *testing.F) {
	for _, key := range []string{"", "1", `"0198c5f2-7c1e-7a30-8f51-0d2b9a4c6e11"`, `{"At":"9999-12-31T23:59:59Z","ID":"x"}`,
		`{"Name":"\u0000","Value":1e400}`, "[[[[", "1e99"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		for _, err := range store.ParseKeys(jobs.Cursor{Key: key}) {
			if err != nil {
				require.Equal(t, jobs.ErrCursor, err)
			}
		}
	})
}
