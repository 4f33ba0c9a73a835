package handlers

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestThrottle_AnAddressThatGuessesIsRefusedAlsoWithTheRightPassword(t *testing.T) {
	t.Parallel()
	var th throttle
	now := time.Now()
	wait, record := th.try("192.0.2.1", false, now)
	require.Zero(t, wait)
	require.True(t, record, "the first is written down")
	for range triesAtOnce - 1 {
		wait, record = th.try("192.0.2.1", false, now)
		require.Zero(t, wait)
		require.False(t, record, "the others are not")
	}
	wait, _ = th.try("192.0.2.1", true, now)
	require.InDelta(t, tryEvery, wait, float64(time.Millisecond))
	wait, _ = th.try("192.0.2.2", true, now)
	require.Zero(t, wait, "another address may try")

	later := now.Add(tryEvery)
	wait, _ = th.try("192.0.2.1", true, later)
	require.Zero(t, wait, "after a while it may try again, and the right one costs nothing")
	wait, _ = th.try("192.0.2.1", false, later)
	require.Zero(t, wait)
	wait, _ = th.try("192.0.2.1", true, later)
	require.Positive(t, wait)
}

func TestThrottle_NeighboursInAnIPv6NetworkCountAsOneAddress(t *testing.T) {
	t.Parallel()
	require.Equal(t, place("2001:db8::1"), place("2001:db8::ffff:1"))
	require.NotEqual(t, place("2001:db8::1"), place("2001:db8:0:1::1"))
	require.Equal(t, place("192.0.2.1"), place("::ffff:192.0.2.1"))
	require.NotEqual(t, place("192.0.2.1"), place("192.0.2.2"))
}

func TestThrottle_ManyAddressesTogetherMayNotGuessMoreThanTheCapAndOneThatKnewIsNotHeldUp(t *testing.T) {
	t.Parallel()
	var th throttle
	now := time.Now()
	_, _ = th.try("192.0.2.1", true, now)
	recorded := 0
	for i := range allAtOnce {
		wait, record := th.try(fmt.Sprintf("198.51.100.%d", i), false, now)
		require.Zero(t, wait)
		if record {
			recorded++
		}
	}
	require.LessOrEqual(t, recorded, auditBurst, "nobody floods the audit log")
	wait, _ := th.try("203.0.113.9", true, now)
	require.Positive(t, wait)
	wait, _ = th.try("192.0.2.1", true, now)
	require.Zero(t, wait)
}

func TestThrottle_GuessesAtTheSameTimeAreCountedEachAndRightOnesAreNot(t *testing.T) {
	t.Parallel()
	var th throttle
	now := time.Now()
	var looked, refused atomic.Int32
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if wait, _ := th.try("192.0.2.2", true, now); wait > 0 {
				refused.Add(1)
			}
		})
		all.Go(func() {
			if wait, _ := th.try("192.0.2.1", false, now); wait == 0 {
				looked.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, triesAtOnce, looked.Load())
	require.Zero(t, refused.Load())
}

func TestThrottle_RemembersABoundedNumberOfAddressesAndForgets(t *testing.T) {
	t.Parallel()
	th := throttle{}
	now := time.Now()
	for i := range visitorsMax + 100 {
		_ = th.visitor(fmt.Sprint("address ", i), now)
	}
	require.LessOrEqual(t, len(th.visitors), visitorsMax+1)
	_ = th.visitor("192.0.2.1", now.Add(2*forgetEvery))
	require.Len(t, th.visitors, 1)
}
