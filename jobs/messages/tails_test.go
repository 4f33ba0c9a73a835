package messages

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeTail is a tail without a broker: what Tails does with one depends on time alone.
type fakeTail struct {
	in     chan Tailed
	once   sync.Once
	closed chan struct{}
}

func (f *fakeTail) C() <-chan Tailed { return f.in }
func (f *fakeTail) Behind() bool     { return false }
func (f *fakeTail) Err() error       { return errors.New("deleted") }
func (f *fakeTail) Close()           { f.once.Do(func() { close(f.closed) }) }

func (f *fakeTail) isClosed() bool {
	select {
	case <-f.closed:
		return true
	default:
		return false
	}
}

type fakeBroker struct {
	Broker
	opened []*fakeTail
}

func (b *fakeBroker) Tail(context.Context, Source) (Tail, error) {
	b.opened = append(b.opened, &fakeTail{in: make(chan Tailed), closed: make(chan struct{})})
	return b.opened[len(b.opened)-1], nil
}

// inBubble runs a test of tails on a clock of its own.
func inBubble(t *testing.T, test func(t *testing.T, tails *Tails, b *fakeBroker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBroker{}
		tails := NewTails(b, func(string) {})
		defer tails.Close()
		test(t, tails, b)
	})
}

func show(t *testing.T, tails *Tails, owner, exchange string) View {
	t.Helper()
	v, err := tails.Show(t.Context(), owner, Source{Exchange: exchange})
	require.NoError(t, err)
	return v
}

func TestTails_OneIsClosedSomeSecondsAfterItsPageAndNotBefore(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tails *Tails, b *fakeBroker) {
		leave := tails.Watch([]string{"jobs", show(t, tails, "ada", "x").Topic})
		time.Sleep(time.Hour)
		require.False(t, b.opened[0].isClosed(), "a page watches it")
		leave()
		time.Sleep(unwatchedFor - time.Second)
		require.False(t, b.opened[0].isClosed(), "the page may be loading again")
		show(t, tails, "ada", "x")
		time.Sleep(unwatchedFor - time.Second)
		require.False(t, b.opened[0].isClosed(), "it was asked for")
		time.Sleep(2 * time.Second)
		require.True(t, b.opened[0].isClosed())
		show(t, tails, "ada", "x")
		require.Len(t, b.opened, 2)
		require.Empty(t, tails.watched)
	})
}

func TestTails_KeepTwentyMessagesASecondAndCountTheRest(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tails *Tails, b *fakeBroker) {
		defer tails.Watch([]string{show(t, tails, "ada", "x").Topic})()
		for i := range 1000 {
			b.opened[0].in <- Tailed{Key: fmt.Sprint(i)}
		}
		synctest.Wait()
		v := show(t, tails, "ada", "x")
		require.Equal(t, []int{shownRate, 1000, 1000 - shownRate}, []int{len(v.Messages), v.Seen, v.Hidden})
		require.Equal(t, "19", v.Messages[0].Key, "the newest first")
		for range 3 * shownMax {
			time.Sleep(time.Second / shownRate)
			b.opened[0].in <- Tailed{Body: make([]byte, 1000)}
		}
		synctest.Wait()
		v = show(t, tails, "ada", "x")
		require.Len(t, v.Messages, shownMax)
		require.Greater(t, v.Messages[0].Seq, v.Messages[1].Seq)
		for range 2 * bytesMax / BodyKept {
			time.Sleep(time.Second / shownRate)
			b.opened[0].in <- Tailed{Body: make([]byte, BodyKept)}
		}
		synctest.Wait()
		require.Len(t, show(t, tails, "ada", "x").Messages, bytesMax/BodyKept)
	})
}

func TestTails_AreLimitedForEachOwnerAndForTheProcess(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tails *Tails, b *fakeBroker) {
		for owner := range tailsMax / tailsEach {
			for i := range tailsEach {
				show(t, tails, fmt.Sprint(owner), fmt.Sprint(i))
			}
			_, err := tails.Show(t.Context(), fmt.Sprint(owner), Source{Exchange: "more"})
			require.ErrorContains(t, err, "5 tails are open with this login")
		}
		_, err := tails.Show(t.Context(), "somebody", Source{})
		require.ErrorContains(t, err, "20 tails are open in this process")
		show(t, tails, "0", "0") // that is open already
		time.Sleep(unwatchedFor + time.Second)
		show(t, tails, "somebody", "x")
	})
}

func TestTails_OneThatEndedSaysWhyAndIsOpenedAgainWithWhatItKept(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tails *Tails, b *fakeBroker) {
		defer tails.Watch([]string{show(t, tails, "ada", "x").Topic})()
		b.opened[0].in <- Tailed{Key: "before"}
		close(b.opened[0].in)
		synctest.Wait()
		require.EqualError(t, show(t, tails, "ada", "x").Ended, "deleted")
		require.Len(t, b.opened, 1)
		time.Sleep(reopenAfter + time.Second)
		v := show(t, tails, "ada", "x")
		require.NoError(t, v.Ended)
		require.True(t, v.Behind, "what came in between is missing")
		seq := v.Messages[0].Seq
		m, ok := tails.Find("ada", Source{Exchange: "x"}, seq)
		require.True(t, ok)
		require.Equal(t, "before", m.Key)
		_, ok = tails.Find("eve", Source{Exchange: "x"}, seq)
		require.False(t, ok)
		require.NotEqual(t, v.Topic, show(t, tails, "eve", "x").Topic)
	})
}
