package child

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken below the range from which systems give ports to outgoing
// connections: a client that keeps dialling a port of that range while its
// server is down can end up connected to itself, and the server never gets
// the port back.
const (
	lowestPort  = 20000
	highestPort = 31999
)

var handedOut sync.Map // ports given by FreePort in this process, so that no two callers get one

// FreePort returns a TCP port that nobody listens on at 127.0.0.1, and never
// the same one twice. Another process may still take it before it is used.
func FreePort() (int, error) {
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if _, taken := handedOut.LoadOrStore(port, true); !taken && PortFree(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("found no free port between %d and %d on 127.0.0.1", lowestPort, highestPort)
}

// PortFree says whether a server could listen on 127.0.0.1 at port now.
func PortFree(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = listener.Close()
	return true
}
