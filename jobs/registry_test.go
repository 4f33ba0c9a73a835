package jobs_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

func TestRegistry_AnUnknownKindNamesTheKnownOnes(t *testing.T) {
	t.Parallel()
	job := jobs.NewJob{Kind: "ordre"}
	var bad jobs.FieldErrors
	require.ErrorAs(t, orders().Prepare(&job), &bad)
	require.Equal(t, "kind", bad[0].Field)
	require.Contains(t, bad[0].Message, "order")
}

func TestNewRegistry_NamesEachKindThatIsNotValidOrGivenTwice(t *testing.T) {
	t.Parallel()
	_, err := jobs.NewRegistry(jobs.Describe[order](), jobs.Describe[order](), jobs.Describe[misnamed]())
	require.ErrorContains(t, err, `the kind "order" is given twice`)
	require.ErrorContains(t, err, `"Mis named" is not a valid kind: lower-case letters`)
}

func TestRegistry_FillsAKindsDefaultsWhereAJobSaysNothing(t *testing.T) {
	t.Parallel()
	r, err := jobs.NewRegistry(jobs.Describe[count](jobs.OnQueue("numbers"), jobs.MaxAttempts(2), jobs.Timeout(time.Minute),
		jobs.Tags("n")))
	require.NoError(t, err)
	open := jobs.New(count{N: 2})
	set := jobs.New(count{N: 2}, jobs.OnQueue("other"), jobs.MaxAttempts(7), jobs.Timeout(time.Second), jobs.Tags("mine"))
	require.NoError(t, r.Prepare(&open))
	require.NoError(t, r.Prepare(&set))
	require.Equal(t, []any{"numbers", 2, time.Minute, []string{"n"}}, []any{open.Queue, open.MaxAttempts, open.Timeout, open.Tags})
	require.Equal(t, []any{"other", 7, time.Second, []string{"mine"}}, []any{set.Queue, set.MaxAttempts, set.Timeout, set.Tags})
}

// count is a kind with defaults.
type count struct {
	N int `json:"n"`
}

func (count) Kind() string { return "count" }
