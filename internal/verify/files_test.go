package verify_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"caisseauto/internal/archive"
	"caisseauto/internal/verify"
	"caisseauto/manifest"
)

// sealFile writes a package of one file of zeros and returns its manifest and
// its archive.
func sealFile(t *testing.T, size int64) (*manifest.Manifest, *os.File) {
	t.Helper()
	s := newStream(t)
	f, err := os.Create(filepath.Join(s.drop, "archive"))
	s.check(err)
	t.Cleanup(func() { f.Close() })
	w, err := archive.Form{MaxMember: manifest.MaxFileSize}.NewWriter(f)
	s.check(err)
	defer w.Abort()
	digest, err := w.AddFile("image", size, io.LimitReader(zeros{}, size))
	s.check(err)
	sum, err := w.Close()
	s.check(err)
	return &manifest.Manifest{Archive: manifest.Archive{TarSize: sum.TarSize},
		Package: &manifest.Package{Files: []manifest.File{{Name: "image", Mode: manifest.ModeData, Size: size, SHA256: digest}}}}, f
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestReadFiles: a file of any size is read in little memory, by one who looks
// at it and by one who does not; and whoever ends the reading is told so.
func TestReadFiles(t *testing.T) {
	size := int64(128 << 20)
	if raceEnabled {
		size = 1 << 20
	}
	m, f := sealFile(t, size)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := verify.ReadFiles(t.Context(), m, f, nil); err != nil {
		t.Error(err)
	}
	var n int64
	err := verify.ReadFiles(t.Context(), m, f, func(file int, body io.Reader) (err error) {
		n, err = io.Copy(io.Discard, body)
		return err
	})
	if err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 48<<20 {
		t.Errorf("%d MiB of memory", got>>20)
	}
	own := errors.New("enough")
	if err := verify.ReadFiles(t.Context(), m, f, func(int, io.Reader) error { return own }); err != own {
		t.Errorf("%v, want what visit said", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := verify.ReadFiles(ctx, m, f, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
	m.Files[0].SHA256 = manifest.Digest(nil)
	if err := verify.ReadFiles(t.Context(), m, f, nil); err == nil {
		t.Error("a file with another digest is taken")
	}
	m.Files[0].Name = "../image"
	if err := verify.ReadFiles(t.Context(), m, f, nil); err == nil {
		t.Error("a name that leads elsewhere is taken")
	}
}
