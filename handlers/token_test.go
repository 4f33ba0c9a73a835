package handlers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestToken_ALoginIsGoodUntilItsTimeAndForItsPasswordOnly(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, other := withPassword(t), access(t, "other password", "", false)
	made := login{id: uuid.New(), series: uuid.New(), until: now.Add(time.Hour).Truncate(time.Second)}
	good := a.loginToken(made)
	same, ok := access(t, "one password", "", false).readLogin(good, now)
	require.True(t, ok, "another process takes it")
	require.Equal(t, made, same)

	_, ok = a.readLogin(good, now.Add(time.Hour))
	require.False(t, ok, "its time is over")
	_, ok = other.readLogin(good, now)
	require.False(t, ok, "a new password ends all logins")
	end := strings.LastIndexByte(good, '.')
	claim, signature := good[:end], good[end+1:]
	_, rest, _ := strings.Cut(claim, ".")
	for _, bad := range []string{"", ".", "..", "...", claim, claim + ".", "9999999999." + rest + "." + signature, rest + "." + signature,
		strings.Replace(claim, made.series.String(), uuid.NewString(), 1) + "." + signature, good + "A", good + "=", good + ".", "." + good,
		good[1:], good[:len(good)-1], good + good, claim + "." + claim + "." + signature, strings.ToUpper(good),
		other.seal(loginPurpose, made.until, made.id.String()+"."+made.series.String()),
		a.seal(loginPurpose, made.until, ""), a.seal(loginPurpose, made.until, "x.y"), a.seal(knownPurpose, made.until, rest),
		a.knownToken(now.Add(time.Hour)), a.seal(loginPurpose, now.Add(-time.Second), made.id.String()+"."+made.series.String())} {
		_, ok = a.readLogin(bad, now)
		require.False(t, ok, bad)
	}
	for i := range good {
		changed := []byte(good)
		changed[i] ^= 1
		_, ok = a.readLogin(string(changed), now)
		require.False(t, ok, "byte %d", i)
	}
}

func TestToken_OnlyABrowserThatWasSignedInIsKnown(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a := withPassword(t)
	known := a.knownToken(now.Add(time.Hour))
	require.NotEmpty(t, a.readKnown(known, now))
	require.NotEqual(t, a.readKnown(known, now), a.readKnown(a.knownToken(now.Add(time.Hour)), now), "each is counted on its own")
	for _, bad := range []string{"", known + "A", known[1:], a.loginToken(login{id: uuid.New(), until: now.Add(time.Hour)}),
		access(t, "other password", "", false).knownToken(now.Add(time.Hour)), a.knownToken(now)} {
		require.Empty(t, a.readKnown(bad, now), bad)
	}
}
