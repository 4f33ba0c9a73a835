package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestLogins_AnEndedOneIsRememberedUntilItsCookieIsOver(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	old, one, other := uuid.New(), uuid.New(), uuid.New()
	ended := func(id uuid.UUID) bool {
		_, ended, err := s.LoginSeries(t.Context(), id)
		require.NoError(t, err)
		return ended
	}
	admin := jobs.Actor{Name: "admin", From: "192.0.2.1"}
	require.NoError(t, s.EndLogin(t.Context(), old, time.Now().Add(-48*time.Hour), admin))
	require.True(t, ended(old))
	for range 2 {
		require.NoError(t, s.EndLogin(t.Context(), one, time.Now().Add(time.Hour), admin))
	}
	require.Equal(t, []bool{false, true, false}, []bool{ended(old), ended(one), ended(other)})

	before, _, err := s.LoginSeries(t.Context(), one)
	require.NoError(t, err)
	require.NoError(t, s.EndAllLogins(t.Context(), admin))
	after, _, err := s.LoginSeries(t.Context(), one)
	require.NoError(t, err)
	require.NotEqual(t, before, after)
	page, err := s.Audit(t.Context(), jobs.AuditFilter{}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.Len(t, page.Items, 3, "what is ended already is not written down again")
}
