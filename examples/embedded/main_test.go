package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/warrentest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	warrentest.Stop()
	os.Exit(code)
}

func TestEmbedded_AnOrderIsShippedAndSeenOnTheDashboard(t *testing.T) {
	t.Parallel()
	var db *pgxpool.Pool
	d := warrentest.Open(t, jobs.Handle(func(ctx context.Context, run *jobs.Run, args Ship) error { return ship(db)(ctx, run, args) }))
	var err error
	db, err = pgxpool.New(t.Context(), d.DatabaseURL)
	require.NoError(t, err)
	t.Cleanup(db.Close)
	_, err = db.Exec(t.Context(), table)
	require.NoError(t, err)
	handler, err := routes(db, d.Client)
	require.NoError(t, err)
	ask := func(method, path string) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(method, "http://localhost"+path, nil))
		return answer
	}
	require.Equal(t, http.StatusCreated, ask(http.MethodPost, "/orders").Code)
	require.Eventually(t, func() bool {
		var shipped bool
		return db.QueryRow(t.Context(), `SELECT shipped FROM orders_to_ship`).Scan(&shipped) == nil && shipped
	}, time.Minute, 50*time.Millisecond)
	require.Contains(t, ask(http.MethodGet, "/admin/jobs/jobs").Body.String(), "orders.ship")
}
