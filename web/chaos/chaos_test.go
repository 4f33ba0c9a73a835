//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	rabbittest.Stop()
	storetest.Stop()
	os.Exit(code)
}

// The short form of make chaos: every crash point once, and the storms that are soon over.
func TestChaos_EveryOrderHasOneEffectWhateverDies(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	dir, vhost := t.TempDir(), rabbittest.New(t)
	out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", "chaos", "-o", filepath.Join(dir, "chaos"),
		".").CombinedOutput()
	require.NoError(t, err, "%s", out)

	cmd := exec.CommandContext(ctx, filepath.Join(dir, "chaos"), "-brief", "-keep", filepath.Join(dir, "run"))
	cmd.Env = append(os.Environ(), "CHAOS_DATABASE_URL="+storetest.Migrated(t), "CHAOS_AMQP_URL="+vhost.URL,
		"CHAOS_MANAGEMENT_URL="+vhost.ManagementURL,
		"CHAOS_RATE=10") // a quarter of the usual orders: it runs beside other tests
	var said bytes.Buffer
	cmd.Stderr = &said
	told, err := cmd.Output()
	require.NoError(t, err, "%s%s", said.String(), told)

	lines := strings.Split(strings.TrimSpace(string(told)), "\n")
	books := `^attempted=[1-9]\d* acknowledged=[1-9]\d* lost=0 ghost=0 duplicated=0 stuck=0 dead=0 overlapping=0 recovered_p99=\d+\.\d+$`
	require.Regexp(t, books, lines[len(lines)-1])
}
