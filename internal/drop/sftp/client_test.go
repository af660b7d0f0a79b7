package sftp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"caisseauto/internal/drop"
	"caisseauto/internal/sftpd"
)

const batch = "ACME/down/0000000001.tar.zst"

func TestRoundTrip(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	c := dial(t, e.config("server"))
	for i, size := range []int{0, 1, 32767, 32768, 32769, 5<<20 + 17} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			name := fmt.Sprintf("ACME/down/%010d.tar.zst", i+1)
			data := randomBytes(t, size)
			if err := c.Put(t.Context(), name, int64(size), feedOf(data)); err != nil {
				t.Fatal(err)
			}
			for _, offset := range []int{0, size / 2, size} {
				if !bytes.Equal(get(t, c, name, int64(offset)), data[offset:]) {
					t.Errorf("other bytes came back from offset %d", offset)
				}
			}
			if err := c.Put(t.Context(), name, int64(size), feedOf(data)); err != nil {
				t.Errorf("second Put: %v", err)
			}
			if err := c.Put(t.Context(), name, int64(size)+1, feedOf(append(data, 0))); !errors.Is(err, drop.ErrConflict) {
				t.Errorf("Put with another size: %v, want ErrConflict", err)
			}
		})
	}
	l, err := c.List(t.Context(), "ACME/down")
	if err != nil || len(l.Files) != 6 || l.Ignored != 0 {
		t.Errorf("List: %+v, %v", l, err)
	}
}

func TestReplace(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	c := dial(t, e.config("server"))
	for _, text := range []string{"one", "number two", ""} {
		if err := c.Replace(t.Context(), "ACME/down/HEAD.json", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := get(t, c, "ACME/down/HEAD.json", 0); string(got) != text {
			t.Errorf("HEAD.json: %q, want %q", got, text)
		}
	}
	names, err := os.ReadDir(filepath.Join(e.root, "ACME/down"))
	if err != nil || len(names) != 1 {
		t.Errorf("left in the folder: %v, %v", names, err)
	}
}

func TestErrors(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	c := dial(t, e.config("till017"))
	if _, err := c.Stat(t.Context(), batch); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat of nothing: %v", err)
	}
	if err := c.Get(t.Context(), batch, 0, io.Discard); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get of nothing: %v", err)
	}
	if err := c.Remove(t.Context(), "ACME/up/017/0000000001.tar.zst"); err != nil {
		t.Errorf("Remove of nothing: %v", err)
	}
	if err := c.Put(t.Context(), batch, 1, feedOf([]byte("x"))); !errors.Is(err, drop.ErrDenied) {
		t.Errorf("Put into a folder of others: %v", err)
	}
	if l, err := c.List(t.Context(), "ACME/up/018"); err != nil || len(l.Files) != 0 {
		t.Errorf("List of a folder of others: %v, %v", l, err)
	}
	if err := c.Get(t.Context(), "../../etc/passwd", 0, io.Discard); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Get of a path outside: %v", err)
	}
}

func TestCancelledContextClosesConnection(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	c := dial(t, e.config("server"))
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Put(ctx, batch, 1<<20, func(ctx context.Context, _ int64, w io.Writer) error {
		w.Write(make([]byte, 100_000))
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Put: %v", err)
	}
	if _, err := c.Stat(t.Context(), batch); !errors.Is(err, drop.ErrUnavailable) {
		t.Errorf("after it: %v, want ErrUnavailable", err)
	}
}
