//go:build cluster

package local

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClusterFormsAndElectsAnotherLeader(t *testing.T) {
	began := time.Now()
	c, err := StartCluster(t.Context(), t.TempDir(), 3)
	require.NoError(t, err)
	t.Cleanup(c.Stop)
	t.Logf("three nodes in %v", time.Since(began).Round(time.Millisecond))
}
