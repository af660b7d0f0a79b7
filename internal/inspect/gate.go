package inspect

import (
	"context"
	"sync"
)

// A gate lets jobs in by their number, one after the other, as long as there
// is room for them. So memory stays bounded on however many processors, and
// the one whose results are waited for is never behind one that waits for its
// turn to give results.
type gate struct {
	mu   sync.Mutex
	cond *sync.Cond
	next int
	room int64
	stop func() bool
	ctx  context.Context
}

func newGate(ctx context.Context, room int64) *gate {
	g := &gate{room: room, ctx: ctx}
	g.cond = sync.NewCond(&g.mu)
	g.stop = context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.cond.Broadcast()
	})
	return g
}

// close frees what the gate holds.
func (g *gate) close() { g.stop() }

// enter waits until all jobs with smaller numbers have entered and there is
// room. Every number has to enter, once, be it with nothing.
func (g *gate) enter(number int, cost int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.ctx.Err() == nil && (g.next != number || g.room < cost) {
		g.cond.Wait()
	}
	g.next++
	g.room -= cost
	g.cond.Broadcast()
}

// leave gives the room back.
func (g *gate) leave(cost int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.room += cost
	g.cond.Broadcast()
}
