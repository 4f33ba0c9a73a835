package engine

import (
	"context"
	"sync"
)

// gate is open, or closed while the worker is quiet. Safe for concurrent use.
type gate struct {
	mu     sync.Mutex
	opened chan struct{}      // not nil while closed; closed by open
	end    context.CancelFunc // ends the context of the last pass
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		return
	}
	g.opened = make(chan struct{})
	if g.end != nil {
		g.end()
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// pass waits while the gate is closed. The context that it returns ends with ctx, or when the gate
// closes again.
func (g *gate) pass(ctx context.Context) (context.Context, context.CancelFunc) {
	for {
		g.mu.Lock()
		opened := g.opened
		if opened == nil || ctx.Err() != nil {
			taking, end := context.WithCancel(ctx)
			g.end = end
			g.mu.Unlock()
			return taking, end
		}
		g.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-opened:
		}
	}
}

// Quiet asks the worker to take no new jobs: deliveries that have not started go back to the broker
// at once, running jobs go on. It does not wait. Idempotent, and safe for concurrent use, also
// before Run.
func (w *Worker) Quiet() { w.gate.close() }

// Resume undoes Quiet. It does not wait. Idempotent.
func (w *Worker) Resume() { w.gate.open() }
