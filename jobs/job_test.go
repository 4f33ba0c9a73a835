package jobs_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

func TestDuration_IsWrittenForPeople(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(jobs.Duration(90 * time.Second))
	require.NoError(t, err)
	require.Equal(t, `"1m30s"`, string(raw))
	var d jobs.Duration
	require.NoError(t, json.Unmarshal(raw, &d))
	require.Equal(t, jobs.Duration(90*time.Second), d)
	require.Error(t, json.Unmarshal([]byte(`"soon"`), &d))
	require.Error(t, json.Unmarshal([]byte(`5`), &d))

	raw, err = json.Marshal(jobs.Duration(0))
	require.NoError(t, err)
	require.Equal(t, "null", string(raw))
	require.NoError(t, json.Unmarshal(raw, &d))
	require.Zero(t, d)
}
