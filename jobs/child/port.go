package child

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are chosen below the ephemeral range, from which systems assign ports to outgoing
// connections: a client that keeps dialling a port of that range while its server is down can
// end up connected to itself, and the server never gets the port back.
const (
	lowestPort  = 20000
	highestPort = 31999
)

var handedOut sync.Map // ports that FreePort has returned in this process

// FreePort returns an unused TCP port of 127.0.0.1, never the same one twice. Another process may
// still take the port before it is used.
func FreePort() (int, error) {
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if _, taken := handedOut.LoadOrStore(port, true); !taken && PortFree(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("found no free port between %d and %d on 127.0.0.1", lowestPort, highestPort)
}

// PortFree reports whether a server could now listen on the port of 127.0.0.1.
func PortFree(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = listener.Close()
	return true
}
