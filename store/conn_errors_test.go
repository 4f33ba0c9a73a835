package store_test

import (
	"database/sql/driver"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/store"
)

// What pgx and database/sql return when the server closes a connection during a statement.
func TestIsAway_AServerThatEndsAConnectionDuringAStatementIsAway(t *testing.T) {
	t.Parallel()
	for _, err := range []error{io.ErrUnexpectedEOF, driver.ErrBadConn} {
		require.True(t, store.IsAway(fmt.Errorf("list jobs: %w", err)), err)
	}
	require.False(t, store.IsAway(fmt.Errorf("list jobs: %w", io.ErrClosedPipe)))
}
