package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/jobs/warrentest"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	warrentest.Stop()
	os.Exit(code)
}

func TestShop_EachSubscriberGetsTheEventsOfAllThreeTransactionsOnce(t *testing.T) {
	t.Parallel()
	s, err := openShop(t.Context(), storetest.Migrated(t), rabbittest.New(t).URL)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.warren.Run(t.Context()) }()
	t.Cleanup(func() { require.NoError(t, <-done); s.close() })
	var o Order
	sell := func() {
		answer := httptest.NewRecorder()
		s.routes().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/orders", nil))
		require.Equal(t, http.StatusCreated, answer.Code, answer.Body.String())
		require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &o))
	}
	count := func(sql string) (n int) {
		require.NoError(t, s.pool.QueryRow(t.Context(), sql, o.ID).Scan(&n))
		return n
	}
	until := func(n int, sql string) {
		t.Helper()
		end := time.Now().Add(time.Minute)
		for count(sql) != n {
			require.True(t, time.Now().Before(end), sql)
			time.Sleep(50 * time.Millisecond)
		}
	}
	// Once a mail has come, the queues are bound.
	end := time.Now().Add(time.Minute)
	for mailed := `SELECT count(*) FROM order_mails WHERE order_id <= $1`; ; time.Sleep(200 * time.Millisecond) {
		if sell(); count(mailed) > 0 {
			break
		}
		require.True(t, time.Now().Before(end), "no mail")
	}
	sell()
	until(1, `SELECT count(*) FROM order_mails WHERE order_id = $1`)
	until(2, `SELECT count(*) FROM warren.jobs
		WHERE kind = 'shop-search' AND state = 'completed' AND args->'body'->>'id' = $1::bigint::text`)
	until(1, `SELECT count(*) FROM found WHERE id = $1 AND item = 'blue teapot' AND state = 'packed' AND version = 3`)
	require.Equal(t, 1, count(`SELECT count(*) FROM order_mails WHERE order_id = $1`))
}
