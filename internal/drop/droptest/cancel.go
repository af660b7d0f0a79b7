package droptest

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"
)

// testCancelled calls everything with a context that has ended.
func testCancelled(t *testing.T, s *suite) {
	s.place(t, archive, random(1, 100))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Drop.List(ctx, Dir)
	want(t, "List", err, context.Canceled)
	_, err = s.Drop.Tills(ctx, "ACME")
	want(t, "Tills", err, context.Canceled)
	_, err = s.Drop.Stat(ctx, archive)
	want(t, "Stat", err, context.Canceled)
	want(t, "Get", s.Drop.Get(ctx, archive, 0, new(bytes.Buffer)), context.Canceled)
	want(t, "Put", s.Drop.Put(ctx, manifest, 1, feed([]byte("x"))), context.Canceled)
	want(t, "Replace", s.Drop.Replace(ctx, head, []byte("x")), context.Canceled)
	want(t, "Remove", s.Drop.Remove(ctx, archive), context.Canceled)
	s.absent(t, manifest)
	s.absent(t, head)
	s.holds(t, archive, random(1, 100))
}

// testCancelledUnderWay ends the context in the middle of a transfer.
func testCancelledUnderWay(t *testing.T, s *suite) {
	data := random(1, 24<<20)
	s.place(t, manifest, data)
	quick := func(what string, f func(ctx context.Context, cancel func()) error) {
		t.Helper()
		var at time.Time
		err := soon(t, what, func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return f(ctx, func() {
				if at.IsZero() {
					at = time.Now()
				}
				cancel()
			})
		})
		want(t, what, err, context.Canceled)
		if took := time.Since(at); took > 5*time.Second {
			t.Errorf("%s went on for %v after it was cancelled", what, took)
		}
	}
	quick("Get", func(ctx context.Context, cancel func()) error {
		return s.Drop.Get(ctx, manifest, 0, writerFunc(func(p []byte) (int, error) {
			cancel()
			return len(p), nil
		}))
	})
	d := s.reopen(t) // the first connection may be gone with its transfer
	quick("Put", func(ctx context.Context, cancel func()) error {
		return d.Put(ctx, archive, int64(len(data)), func(ctx context.Context, offset int64, w io.Writer) error {
			if err := feedUntil(data, 1<<20, nil)(ctx, offset, w); err != nil {
				return err
			}
			cancel()
			// What a source does that sits in a slow read meanwhile.
			return feed(data)(ctx, 1<<20, w)
		})
	})
	s.absent(t, archive)
	check(t, s.reopen(t).Put(t.Context(), archive, int64(len(data)), feed(data)))
	s.holds(t, archive, data)
}
