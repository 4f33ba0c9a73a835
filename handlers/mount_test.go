package handlers

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMount_ARefusedUploadIsAnsweredToWhoSendsItAllTheSameAndToWhoWaits(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(app(t, withPassword(t)).Dashboard())
	t.Cleanup(server.Close)
	const size = 4 << 20
	for expect, body := range map[string]string{"": strings.Repeat("x", size), "Expect: 100-continue\r\n": ""} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "POST /api/v1/tasks/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"+
			"%sContent-Length: %d\r\n\r\n%s", expect, size, body)
		require.NoError(t, err, "all of it can be sent")
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, answer.StatusCode)
		require.NoError(t, answer.Body.Close())
		require.NoError(t, conn.Close())
	}
}
