package sftp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	pkgsftp "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"caisseauto/internal/drop"
	"caisseauto/internal/drop/sftp"
	"caisseauto/internal/sftpd"
)

// impatient limits let faults show within a second. They leave room for a
// busy machine: what has to happen at once has half a second.
var impatient = sftp.Timeouts{
	Connect: 2 * time.Second, Handshake: 5 * time.Second, KeepAlive: 100 * time.Millisecond, Stall: 600 * time.Millisecond,
	Metadata: 2 * time.Second, Data: 2 * time.Second, Commit: 2 * time.Second,
}

// within fails when f takes longer than a frozen line may hold a client.
func within(t *testing.T, limit time.Duration, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(limit):
		buf := make([]byte, 1<<20)
		t.Fatalf("still running after %v\n%s", limit, buf[:runtime.Stack(buf, true)])
	}
}

// Frozen in the middle of everything: each operation ends and says why.
func TestFrozen(t *testing.T) {
	operations := map[string]func(c *sftp.Client) error{
		"stat": func(c *sftp.Client) error { _, err := c.Stat(t.Context(), batch); return err },
		"list": func(c *sftp.Client) error { _, err := c.List(t.Context(), "ACME/down"); return err },
		"get":  func(c *sftp.Client) error { return c.Get(t.Context(), batch, 0, io.Discard) },
		"put": func(c *sftp.Client) error {
			return c.Put(t.Context(), "ACME/down/0000000002.tar.zst", 1<<20, feedOf(make([]byte, 1<<20)))
		},
		"replace": func(c *sftp.Client) error { return c.Replace(t.Context(), "ACME/down/HEAD.json", []byte("x")) },
		"remove":  func(c *sftp.Client) error { return c.Remove(t.Context(), batch) },
	}
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			e := startEmbedded(t, sftpd.Limits{})
			p := startProxy(t, e.addr, fault{})
			cfg := e.config("server")
			cfg.Addr, cfg.Timeouts = p.addr, impatient
			c := dial(t, cfg)
			if err := c.Put(t.Context(), batch, 3<<20, feedOf(randomBytes(t, 3<<20))); err != nil {
				t.Fatal(err)
			}
			p.frozen.Store(true)
			within(t, 10*time.Second, func() {
				if err := operation(c); !errors.Is(err, drop.ErrUnavailable) {
					t.Errorf("%v, want ErrUnavailable", err)
				}
				c.Close()
			})
		})
	}
}

// Frozen in the middle of a transfer.
func TestFrozenTransfers(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	data := randomBytes(t, 3<<20)
	if err := dial(t, e.config("server")).Put(t.Context(), batch, int64(len(data)), feedOf(data)); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, e.addr, fault{up: 1 << 20, down: 1 << 20, then: freeze})
	cfg := e.config("server")
	cfg.Addr, cfg.Timeouts = p.addr, impatient
	within(t, 20*time.Second, func() {
		err := dial(t, cfg).Get(t.Context(), batch, 0, io.Discard)
		if !errors.Is(err, drop.ErrUnavailable) || !strings.Contains(err.Error(), "nothing heard") {
			t.Errorf("Get: %v", err)
		}
		stuck := func(ctx context.Context, _ int64, w io.Writer) error {
			w.Write(data[:1<<20+100_000]) // less than may be under way at the freeze
			<-ctx.Done()                  // a source that is stuck itself
			return ctx.Err()
		}
		if err := dial(t, cfg).Put(t.Context(), "ACME/down/0000000002.tar.zst", int64(len(data))+1, stuck); !errors.Is(err, drop.ErrUnavailable) {
			t.Errorf("Put: %v", err)
		}
	})
}

// Cut in the middle, then carried on where it was.
func TestResume(t *testing.T) {
	for _, how := range []string{reset, finish} {
		t.Run(how, func(t *testing.T) {
			e := startEmbedded(t, sftpd.Limits{})
			p := startProxy(t, e.addr, fault{up: 2 << 20, down: 2 << 20, then: how})
			cut := e.config("server")
			cut.Addr, cut.Timeouts = p.addr, impatient
			data := randomBytes(t, 3<<20+5)
			err := dial(t, cut).Put(t.Context(), batch, int64(len(data)), feedOf(data))
			if !errors.Is(err, drop.ErrUnavailable) {
				t.Fatalf("Put over a cut line: %v", err)
			}
			from := int64(-1)
			c := dial(t, e.config("server"))
			err = c.Put(t.Context(), batch, int64(len(data)), func(ctx context.Context, offset int64, w io.Writer) error {
				from = offset
				return feedOf(data)(ctx, offset, w)
			})
			if err != nil || from < 1<<20 {
				t.Fatalf("second Put: from %d, %v", from, err)
			}
			if !bytes.Equal(get(t, c, batch, 0), data) {
				t.Error("the resumed upload has other bytes")
			}
			var got bytes.Buffer
			err = dial(t, cut).Get(t.Context(), batch, 0, &got)
			if !errors.Is(err, drop.ErrUnavailable) || got.Len() < 1<<20 {
				t.Fatalf("Get over a cut line: %d bytes, %v", got.Len(), err)
			}
			if err := c.Get(t.Context(), batch, int64(got.Len()), &got); err != nil || !bytes.Equal(got.Bytes(), data) {
				t.Errorf("resumed download: %v", err)
			}
		})
	}
}

// One byte now and then keeps the watchdog quiet; the budget ends it.
func TestSlowLoris(t *testing.T) {
	f := startFaulty(t, func(h *pkgsftp.Handlers, _ *faulty) {
		inner := h.FileGet
		h.FileGet = readerFunc(func(r *pkgsftp.Request) (io.ReaderAt, error) {
			file, err := inner.Fileread(r)
			return readAtFunc(func(p []byte, off int64) (int, error) {
				time.Sleep(50 * time.Millisecond)
				return file.ReadAt(p[:1], off)
			}), err
		})
	})
	cfg := f.config()
	cfg.Timeouts = impatient
	c := dial(t, cfg)
	if err := c.Put(t.Context(), batch, 100_000, feedOf(make([]byte, 100_000))); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, func() {
		err := c.Get(t.Context(), batch, 0, io.Discard)
		if !errors.Is(err, drop.ErrUnavailable) || !strings.Contains(err.Error(), "time limit") {
			t.Errorf("Get: %v", err)
		}
	})
}

// A slow line with a long way is no fault.
func TestSlowButHealthy(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	p := startProxy(t, e.addr, fault{delay: 5 * time.Millisecond, rate: 150_000})
	cfg := e.config("server")
	cfg.Addr, cfg.Timeouts = p.addr, impatient
	cfg.Timeouts.Handshake, cfg.Timeouts.Data = 5*time.Second, 500*time.Millisecond
	data := randomBytes(t, 400_000)
	c := dial(t, cfg)
	if err := c.Put(t.Context(), batch, int64(len(data)), feedOf(data)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if !bytes.Equal(get(t, c, batch, 0), data) {
		t.Error("other bytes")
	}
	if took := time.Since(start); took < 2*cfg.Timeouts.Data {
		t.Errorf("took only %v: the test shows nothing", took)
	}
	time.Sleep(2 * cfg.Timeouts.Stall) // idle, but alive
	if _, err := c.Stat(t.Context(), batch); err != nil {
		t.Errorf("after a pause: %v", err)
	}
}

// A long way must cost round trips, not packets: with one request at a time,
// 2 MiB over 50 ms would take more than three seconds each way.
func TestPipelining(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	p := startProxy(t, e.addr, fault{delay: 25 * time.Millisecond})
	cfg := e.config("server")
	cfg.Addr = p.addr
	c := dial(t, cfg)
	data := randomBytes(t, 2<<20)
	start := time.Now()
	if err := c.Put(t.Context(), batch, int64(len(data)), feedOf(data)); err != nil {
		t.Fatal(err)
	}
	up := time.Since(start)
	if !bytes.Equal(get(t, c, batch, 0), data) {
		t.Error("other bytes")
	}
	t.Logf("up %v, down %v", up, time.Since(start)-up)
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("2 MiB up and down took %v", took)
	}
}

// Two hundred sessions that fail in all the ways leave nothing behind.
func TestNoLeaks(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	cut := startProxy(t, e.addr, fault{down: 900, then: reset})
	frozen := startProxy(t, e.addr, fault{down: 60_000, then: finish})
	short := impatient
	short.Handshake = 50 * time.Millisecond
	runtime.GC()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for i := range 200 {
		cfg := e.config("server")
		cfg.Timeouts = impatient
		switch i % 5 {
		case 0:
			cfg.Addr = cut.addr
		case 1:
			cfg.User = "nobody"
		case 2:
			cfg.HostKeys = []ssh.PublicKey{newKey(t).PublicKey()}
		case 3:
			cfg.Addr, cfg.Timeouts = mute.Addr().String(), short
		case 4:
			cfg.Addr = frozen.addr
		}
		c, err := sftp.Dial(t.Context(), cfg)
		if err != nil {
			continue
		}
		if i%5 != 4 {
			t.Fatalf("session %d: no error", i)
		}
		err = c.Put(t.Context(), batch, 1<<20, feedOf(make([]byte, 1<<20)))
		c.List(t.Context(), "ACME/down")
		c.Close()
		if i == 4 && err != nil && !errors.Is(err, drop.ErrUnavailable) {
			t.Error(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		g, f := runtime.NumGoroutine(), openFiles(t)
		if g <= goroutines+5 && f <= files+5 {
			return
		}
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("goroutines %d -> %d, files %d -> %d\n%s", goroutines, g, files, f, buf[:runtime.Stack(buf, true)])
		}
	}
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // not Linux
	}
	return len(entries)
}
