package rabbit

import (
	"bufio"
	"net"
	"sync"
)

// wire is the network connection of a link. The library flushes each frame with a system call of
// its own and reads 4 KiB at a time; wire buffers both, so that a batch of messages or
// acknowledgements costs one call. Like any net.Conn, it is safe for concurrent use.
type wire struct {
	net.Conn
	in *bufio.Reader

	mu   sync.Mutex
	held int // calls of together in progress, which hold back what is written
	out  []byte
}

const wireBuffer = 64 << 10

func newWire(c net.Conn) *wire { return &wire{Conn: c, in: bufio.NewReaderSize(c, wireBuffer)} }

func (w *wire) Read(p []byte) (int, error) { return w.in.Read(p) }

// Write buffers p, up to wireBuffer bytes, while a call of together is in progress.
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

// together sends what do writes with as few system calls as possible. It returns do's error; an
// error of the network closes the connection, which its reader then reports.
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

// flush writes the buffer. The caller must hold mu.
func (w *wire) flush() error {
	if len(w.out) == 0 {
		return nil
	}
	_, err := w.Conn.Write(w.out)
	w.out = w.out[:0]
	return err
}
