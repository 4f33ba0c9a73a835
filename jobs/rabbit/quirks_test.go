package rabbit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuirks_AreSwitchedByTheMajorVersionOfTheBroker(t *testing.T) {
	t.Parallel()
	for version, has := range map[string]bool{"3.10.8": true, "3.13.7": true, "4.0.5": false, "4.3.0": false,
		"10.0": false, "": true, "x": true} {
		b := &Broker{}
		require.True(t, b.has(quirk{fixed: 4}), "not connected yet")
		b.version.Store(version)
		require.Equal(t, has, b.has(quirk{fixed: 4}), version)
	}
}
