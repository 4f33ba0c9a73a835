package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// IsTimeout reports whether err means that the database did not answer in time.
func IsTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || isCode(err, codeQueryCanceled) || pgconn.Timeout(err)
}

// IsAway reports whether err means that the database could not be reached, is starting, stopping or
// failing over, or has no Warren tables yet.
func IsAway(err error) bool {
	var connect *pgconn.ConnectError
	var op *net.OpError
	if errors.As(err, &connect) || errors.As(err, &op) || pgconn.SafeToRetry(err) {
		return true
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn) { // it ended the connection during a statement
		return true
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	switch {
	case pg.Code[:2] == "57" && pg.Code != codeQueryCanceled: // admin_shutdown, crash_shutdown, cannot_connect_now
		return true
	case pg.Code == codeReadOnly: // the primary became a standby: there is or will be another
		return true
	case pg.Code[:2] == "08" || pg.Code == codeUndefinedTable || pg.Code == "53300": // connection, undefined_table, too_many_connections
		return true
	}
	return false
}
