package change

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestPipe(t *testing.T) {
	before := runtime.NumGoroutine()
	_, want, member := wide(5000)
	for _, depth := range []int{0, 1, 2, 8} {
		m, err := NewMemberReader(bytes.NewReader(member))
		if err != nil {
			t.Fatal(err)
		}
		p := NewPipe(t.Context(), depth, m.Fill)
		got, err := collect(t, p)
		if err != io.EOF {
			t.Fatal(err)
		}
		sameRows(t, want, got)
		if _, err := p.Next(); err != io.EOF {
			t.Errorf("Next after the end: %v", err)
		}
		p.Close()
	}
	noMoreGoroutines(t, before)
}

func noMoreGoroutines(t *testing.T, before int) {
	t.Helper()
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i > 100 {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// numbered fills blocks with their number, for ever.
func numbered(calls *atomic.Int64) func(*Block) error {
	h := &Header{"t", Upsert, []string{"n"}}
	return func(b *Block) error {
		b.reset(h)
		b.Values = append(b.Values, whole(calls.Add(1)))
		return nil
	}
}

// TestPipeDepth: no more blocks are made than were asked for.
func TestPipeDepth(t *testing.T) {
	const depth = 3
	var calls atomic.Int64
	p := NewPipe(t.Context(), depth, numbered(&calls))
	defer p.Close()
	for n := int64(1); n < 50; n++ {
		b, err := p.Next()
		if err != nil || b.Values[0].Int != n {
			t.Fatalf("block %v, error %v, want block %d", b, err, n)
		}
		if n%10 == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		if ahead := calls.Load() - n; ahead > depth {
			t.Fatalf("%d blocks ahead, at most %d may be", ahead, depth)
		}
	}
}

// TestPipeClose stops at once at any moment, and leaves nothing behind.
func TestPipeClose(t *testing.T) {
	before := runtime.NumGoroutine()
	for n := range 20 {
		var calls atomic.Int64
		p := NewPipe(t.Context(), 2, numbered(&calls))
		for range n {
			if _, err := p.Next(); err != nil {
				t.Fatal(err)
			}
		}
		p.Close()
		at := calls.Load()
		p.Close()
		if _, err := p.Next(); !errors.Is(err, ErrClosed) {
			t.Errorf("Next after Close: %v", err)
		}
		if calls.Load() != at {
			t.Error("fill was called after Close")
		}
	}
	noMoreGoroutines(t, before)
}

// TestPipeContext: the end of the context ends Next, which may be waiting.
func TestPipeContext(t *testing.T) {
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan struct{})
	p := NewPipe(ctx, 2, func(*Block) error { <-waits; return errors.New("late") })
	time.AfterFunc(5*time.Millisecond, cancel)
	if _, err := p.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
	if _, err := p.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("Next again: %v", err)
	}
	close(waits)
	p.Close()
	noMoreGoroutines(t, before)
}

// TestPipeError: what came before an error is handed out first.
func TestPipeError(t *testing.T) {
	broken := errors.New("broken")
	var calls atomic.Int64
	fill := numbered(&calls)
	p := NewPipe(t.Context(), 4, func(b *Block) error {
		if calls.Load() == 3 {
			return broken
		}
		return fill(b)
	})
	defer p.Close()
	rows, err := collect(t, p)
	if len(rows) != 3 || !errors.Is(err, broken) {
		t.Errorf("%d rows, error %v", len(rows), err)
	}
	if _, err := p.Next(); !errors.Is(err, broken) {
		t.Errorf("Next again: %v", err)
	}
}

// TestPipeCloseWaits: what fill reads from may be closed as soon as Close has
// returned.
func TestPipeCloseWaits(t *testing.T) {
	var active atomic.Int64
	started := make(chan struct{}, 1)
	p := NewPipe(t.Context(), 2, func(*Block) error {
		active.Add(1)
		started <- struct{}{}
		time.Sleep(20 * time.Millisecond)
		active.Add(-1)
		return io.EOF
	})
	<-started
	p.Close()
	if active.Load() != 0 {
		t.Error("Close returned while fill was under way")
	}
}
