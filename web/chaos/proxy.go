//go:build unix

package main

import (
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// proxy stands between one process and one server, as a network that can fail.
type proxy struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	links  map[*link]bool
	frozen bool // new links are frozen, too
}

// link is one connection through a proxy.
type link struct {
	client, server net.Conn

	mu     sync.Mutex
	cond   *sync.Cond
	frozen bool // nothing passes, neither data nor the end of the connection
	silent bool // the answers of the server are dropped
	ended  bool
}

// newProxy listens until the program ends, and forwards to the server of the URL.
func newProxy(target string) (*proxy, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("make a proxy: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("make a proxy: %w", err)
	}
	p := &proxy{listener: l, target: u.Host, links: map[*link]bool{}}
	go p.accept()
	return p, nil
}

// through returns the URL of the server through the proxy.
func (p *proxy) through(target string) string {
	u, _ := url.Parse(target) // newProxy has read it
	u.Host = p.listener.Addr().String()
	return u.String()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.connect(client)
	}
}

func (p *proxy) connect(client net.Conn) {
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		reset(client)
		return
	}
	l := &link{client: client, server: server}
	l.cond = sync.NewCond(&l.mu)
	p.mu.Lock()
	l.frozen = p.frozen
	p.links[l] = true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.pump(server, client, false) })
	both.Go(func() { l.pump(client, server, true) })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pump copies one direction. The end of either side is the end of both, except while the link is
// frozen: then the other side does not notice it.
func (l *link) pump(to, from net.Conn, answers bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		pass := l.await(answers)
		if n > 0 && pass {
			_, werr := to.Write(buf[:n])
			if werr != nil {
				err = werr
			}
		}
		if err != nil {
			l.end()
			return
		}
	}
}

// await blocks while the link is frozen and reports whether the data that was read may pass.
func (l *link) await(answers bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.frozen && !l.ended {
		l.cond.Wait()
	}
	return !l.ended && (!answers || !l.silent)
}

func (l *link) end() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.cond.Broadcast()
	reset(l.client)
	reset(l.server)
}

// reset closes a connection with a TCP reset.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (l *link) set(change func(*link)) {
	l.mu.Lock()
	change(l)
	l.mu.Unlock()
	l.cond.Broadcast()
}

func (l *link) isSilent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.silent
}

// each calls do on all links that are open now.
func (p *proxy) each(do func(*link)) {
	p.mu.Lock()
	var links []*link
	for l := range p.links {
		links = append(links, l)
	}
	p.mu.Unlock()
	for _, l := range links {
		do(l)
	}
}

// cut ends all connections.
func (p *proxy) cut() { p.each((*link).end) }

// freeze stalls all connections, also new ones: the network is away.
func (p *proxy) freeze() {
	p.mu.Lock()
	p.frozen = true
	p.mu.Unlock()
	p.halfOpen()
}

// halfOpen stalls the connections that are open now, and lets new ones through: each side believes
// in a connection that the other may have lost.
func (p *proxy) halfOpen() { p.each(func(l *link) { l.set(func(l *link) { l.frozen = true }) }) }

// thaw lets everything through again, also the data that was held back.
func (p *proxy) thaw() {
	p.mu.Lock()
	p.frozen = false
	p.mu.Unlock()
	p.each(func(l *link) { l.set(func(l *link) { l.frozen = false }) })
}

// loseAnswers lets requests through and drops the answers for d, then cuts the connections:
// requests are executed, and the client never receives their results.
func (p *proxy) loseAnswers(d time.Duration) {
	p.each(func(l *link) { l.set(func(l *link) { l.silent = true }) })
	time.Sleep(d)
	p.each(func(l *link) {
		if l.isSilent() {
			l.end()
		}
	})
}
