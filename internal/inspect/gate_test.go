package inspect

import (
	"context"
	"testing"
	"time"
)

// TestGate: jobs enter by their number and as long as there is room, and an end
// of the context lets all of them go.
func TestGate(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	g := newGate(ctx, 10)
	defer g.close()
	in := make(chan int, 10)
	enter := func(n int, cost int64) {
		go func() {
			g.enter(n, cost)
			in <- n
		}()
	}
	wants := func(n int) {
		t.Helper()
		select {
		case got := <-in:
			if got != n {
				t.Fatalf("job %d has entered, want %d", got, n)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("job %d waits for ever", n)
		}
	}
	nobody := func() {
		t.Helper()
		select {
		case got := <-in:
			t.Fatalf("job %d has entered", got)
		case <-time.After(50 * time.Millisecond):
		}
	}
	enter(1, 1)
	nobody() // before 0
	enter(0, 9)
	if first, second := <-in, <-in; first+second != 1 {
		t.Fatalf("jobs %d and %d have entered", first, second)
	}
	enter(2, 5)
	nobody() // no room
	g.leave(9)
	wants(2)
	enter(5, 1)
	nobody()
	cancel()
	wants(5)
}
