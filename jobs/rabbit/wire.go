package rabbit

import (
	"bufio"
	"net"
	"sync"
)

// wire is the network connection of a link. The library flushes each frame
// that it sends with a system call of its own, and reads 4 KiB at a time: held
// together, a batch of messages or acknowledgements costs one call. Safe for
// concurrent use, as a net.Conn is.
type wire struct {
	net.Conn
	in *bufio.Reader

	mu   sync.Mutex
	held int // how many callers want what is written to wait
	out  []byte
}

const wireBuffer = 64 << 10

func newWire(c net.Conn) *wire { return &wire{Conn: c, in: bufio.NewReaderSize(c, wireBuffer)} }

func (w *wire) Read(p []byte) (int, error) { return w.in.Read(p) }

// Write keeps p while somebody holds the wire, and never more than a buffer full.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held == 0 && len(w.out) == 0 {
		return w.Conn.Write(p)
	}
	w.out = append(w.out, p...)
	if w.held == 0 || len(w.out) >= wireBuffer {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// together sends what do writes in as few system calls as it fits in. It
// returns do's error; one of the network ends the connection, which its reader says.
func (w *wire) together(do func() error) error {
	w.mu.Lock()
	w.held++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.held--; w.held == 0 && w.flush() != nil {
			_ = w.Close()
		}
	}()
	return do()
}

// flush needs the lock.
func (w *wire) flush() error {
	if len(w.out) == 0 {
		return nil
	}
	_, err := w.Conn.Write(w.out)
	w.out = w.out[:0]
	return err
}
