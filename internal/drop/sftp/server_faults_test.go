package sftp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	pkgsftp "github.com/pkg/sftp"

	"caisseauto/internal/drop"
	"caisseauto/internal/drop/sftp"
)

// Servers may answer a READ with fewer bytes than asked for.
func TestShortReads(t *testing.T) {
	for _, most := range []int{1, 100, 16384, 32767} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			f := startFaulty(t, func(h *pkgsftp.Handlers, _ *faulty) {
				inner := h.FileGet
				h.FileGet = readerFunc(func(r *pkgsftp.Request) (io.ReaderAt, error) {
					file, err := inner.Fileread(r)
					return readAtFunc(func(p []byte, off int64) (int, error) { return file.ReadAt(p[:min(len(p), most)], off) }), err
				})
			})
			c := dial(t, f.config())
			data := randomBytes(t, min(1<<20, 2000*most)+3)
			if err := c.Put(t.Context(), batch, int64(len(data)), feedOf(data)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(get(t, c, batch, 0), data) {
				t.Error("other bytes")
			}
		})
	}
}

// A file that has fewer bytes than its size says.
func TestShorterThanListed(t *testing.T) {
	for _, real := range []int64{0, 10, 32768, 200_000} {
		f := startFaulty(t, func(h *pkgsftp.Handlers, _ *faulty) {
			inner := h.FileGet
			h.FileGet = readerFunc(func(r *pkgsftp.Request) (io.ReaderAt, error) {
				file, err := inner.Fileread(r)
				return io.NewSectionReader(file, 0, real), err
			})
		})
		c := dial(t, f.config())
		if err := c.Put(t.Context(), batch, 300_000, feedOf(make([]byte, 300_000))); err != nil {
			t.Fatal(err)
		}
		if err := c.Get(t.Context(), batch, 0, io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Get of a file that has %d of its bytes: %v", real, err)
		}
	}
}

// A listing that never ends, and one of absurd names, end the connection.
func TestEndlessListing(t *testing.T) {
	for name, entry := range map[string]string{"names": "0000000001.tar.zst", "long names": strings.Repeat("x", 1000)} {
		t.Run(name, func(t *testing.T) {
			f := startFaulty(t, func(h *pkgsftp.Handlers, _ *faulty) {
				h.FileList = listerFunc(func(r *pkgsftp.Request) (pkgsftp.ListerAt, error) {
					return listAtFunc(func(p []os.FileInfo, _ int64) (int, error) {
						for i := range p {
							p[i] = namedFile(entry)
						}
						return len(p), nil
					}), nil
				})
			})
			c := dial(t, f.config())
			within(t, 60*time.Second, func() {
				_, err := c.List(t.Context(), "ACME/down")
				if !errors.Is(err, drop.ErrTooMany) {
					t.Errorf("List: %v, want ErrTooMany", err)
				}
			})
		})
	}
}

type namedFile string

func (n namedFile) Name() string     { return string(n) }
func (namedFile) Size() int64        { return 1 }
func (namedFile) Mode() os.FileMode  { return 0o644 }
func (namedFile) ModTime() time.Time { return time.Time{} }
func (namedFile) IsDir() bool        { return false }
func (namedFile) Sys() any           { return nil }

// A write that fails in the middle leaves a file with holes; it must go.
func TestWriteFaults(t *testing.T) {
	middle := func(err error) func(int64) error {
		return func(off int64) error {
			if off == 10*32768 {
				return err
			}
			return nil
		}
	}
	never := func(int64) error { return nil }
	tests := []struct {
		name string
		fail func(int64) error
		shut error
		want error
	}{
		{"failure", middle(pkgsftp.ErrSSHFxFailure), nil, nil},
		{"disk full", middle(errors.New("write /srv/x: no space left on device")), nil, drop.ErrNoSpace},
		{"quota", middle(errors.New("Disk quota exceeded")), nil, drop.ErrNoSpace},
		{"denied", middle(pkgsftp.ErrSSHFxPermissionDenied), nil, drop.ErrDenied},
		{"end of file", middle(io.EOF), nil, nil},
		{"failure at close", never, pkgsftp.ErrSSHFxFailure, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := startFaulty(t, failingWrites(test.fail, test.shut))
			c := dial(t, f.config())
			data := make([]byte, 1<<20)
			err := c.Put(t.Context(), batch, int64(len(data)), feedOf(data))
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("Put: %v, want %v", err, test.want)
			}
			if test.name == "end of file" {
				return // that answer is against the protocol: the connection is given up
			}
			l, err := c.List(t.Context(), "ACME/down")
			if err != nil || len(l.Files) != 0 || l.Ignored != 0 {
				t.Errorf("left in the folder: %+v, %v", l, err)
			}
		})
	}
}

// The rename is done, its answer is lost: the next Put finds the work done.
func TestLostRenameAnswer(t *testing.T) {
	f := startFaulty(t, func(h *pkgsftp.Handlers, f *faulty) {
		inner := h.FileCmd
		h.FileCmd = cmdFunc(func(r *pkgsftp.Request) error {
			err := inner.Filecmd(r)
			if r.Method == "Rename" {
				f.cut()
			}
			return err
		})
	})
	data := randomBytes(t, 100_000)
	err := dial(t, f.config()).Put(t.Context(), batch, int64(len(data)), feedOf(data))
	if !errors.Is(err, drop.ErrUnavailable) {
		t.Fatalf("Put: %v", err)
	}
	c := dial(t, f.config())
	err = c.Put(t.Context(), batch, int64(len(data)), func(context.Context, int64, io.Writer) error {
		t.Error("asked for the bytes again")
		return nil
	})
	if err != nil || !bytes.Equal(get(t, c, batch, 0), data) {
		t.Errorf("second Put: %v", err)
	}
}

// Servers without rename, and ones that only pretend to posix-rename.
func TestRenameFaults(t *testing.T) {
	refuse := func(methods ...string) func(*pkgsftp.Handlers, *faulty) {
		return func(h *pkgsftp.Handlers, _ *faulty) {
			inner := h.FileCmd
			h.FileCmd = cmdFunc(func(r *pkgsftp.Request) error {
				for _, m := range methods {
					if r.Method == m {
						return pkgsftp.ErrSSHFxOpUnsupported
					}
				}
				return inner.Filecmd(r)
			})
		}
	}
	data := randomBytes(t, 100_000)
	c := dial(t, startFaulty(t, refuse("Rename", "PosixRename")).config())
	for _, name := range []string{batch, "ACME/down/0000000002.tar.zst"} {
		if err := c.Put(t.Context(), name, int64(len(data)), feedOf(data)); err != nil {
			t.Fatalf("Put without rename: %v", err)
		}
		if !bytes.Equal(get(t, c, name, 0), data) {
			t.Error("other bytes")
		}
	}
	if l, err := c.List(t.Context(), "ACME/down"); err != nil || len(l.Files) != 2 || l.Ignored != 0 {
		t.Errorf("List: %+v, %v", l, err)
	}
	cfg := startFaulty(t, refuse("Rename", "PosixRename")).config()
	cfg.RenameMode = sftp.RenameAlways
	if err := dial(t, cfg).Put(t.Context(), batch, int64(len(data)), feedOf(data)); err == nil {
		t.Error("Put succeeded without rename though it was required")
	}
}
