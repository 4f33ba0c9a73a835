package web_test

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/web"
)

func TestRun_AsRootSaysSoInOneLineAndHowNotTo(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	cfg := web.Config{Listen: taken.Addr().String(), Prefix: "warren", LogFormat: "text", Queues: []string{"default"}, Concurrency: 1}
	var said bytes.Buffer

	err = web.Run(t.Context(), cfg, []warren.Role{warren.RoleWeb}, slog.New(slog.NewTextHandler(&said, nil)))

	require.ErrorContains(t, err, "cannot listen on")
	require.Equal(t, 1, strings.Count(said.String(), "\n"))
	require.Contains(t, said.String(), "warren runs as root and has no need to")
	require.Contains(t, said.String(), "runuser -u USER")
}
