package drop_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"caisseauto/internal/drop"
)

// TestMirrorTrust: signatures first, then what they sign, then the list of
// keys; what is there stays; a stranger's file goes nowhere.
func TestMirrorTrust(t *testing.T) {
	src, dst := newLocal(t), newLocal(t)
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(src.folder, "ACME/trust", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"0000000001.json", "0000000001.json.root-1.sig", "0000000002.json", "0000000002.json.root-2.sig",
		"tills-0000000001.json", "tills-0000000001.json.sig", "allowed_signers", "x", "0000000003.json.part", "0000000003.json.root-1.sig", "tills-0000000009.json.sig"} {
		put(n, n)
	}
	log := &recorder{Drop: dst.Drop}
	ctx := t.Context()
	n, err := drop.MirrorTrust(ctx, log, src.Drop, "ACME")
	if err != nil || n != 7 {
		t.Fatalf("%d files, %v", n, err)
	}
	want := []string{"0000000001.json.root-1.sig", "0000000002.json.root-2.sig", "tills-0000000001.json.sig",
		"0000000001.json", "0000000002.json", "tills-0000000001.json", "allowed_signers"}
	if !slices.Equal(log.names, want) {
		t.Errorf("in the order %q", log.names)
	}
	if n, err := drop.MirrorTrust(ctx, dst.Drop, src.Drop, "ACME"); n != 0 || err != nil {
		t.Errorf("again: %d files, %v", n, err)
	}
	put("allowed_signers", "another")
	if n, err := drop.MirrorTrust(ctx, dst.Drop, src.Drop, "ACME"); n != 1 || err != nil {
		t.Errorf("another list of keys: %d files, %v", n, err)
	}
	if got, err := drop.ReadSmall(ctx, dst.Drop, "ACME/trust/allowed_signers"); string(got) != "another" {
		t.Errorf("%q, %v", got, err)
	}
	put("0000000002.json", "another version 2")
	if _, err := drop.MirrorTrust(ctx, dst.Drop, src.Drop, "ACME"); !errors.Is(err, drop.ErrConflict) || !strings.Contains(err.Error(), "0000000002.json") {
		t.Errorf("two documents of one number: %v", err)
	}
	if _, err := drop.MirrorTrust(ctx, dst.Drop, src.Drop, "../ACME"); err == nil {
		t.Error("a dossier that cannot be one")
	}
	put("0000000002.json", "0000000002.jsom")
	if _, err := drop.MirrorTrust(ctx, dst.Drop, src.Drop, "ACME"); !errors.Is(err, drop.ErrConflict) || !strings.Contains(err.Error(), "0000000002.json") {
		t.Errorf("two documents of one number and size: %v", err)
	}
	put("tills-0000000002.json", strings.Repeat("x", drop.MaxManifest+1))
	if _, err := drop.MirrorTrust(ctx, newLocal(t).Drop, src.Drop, "ACME"); !errors.Is(err, drop.ErrTooLarge) {
		t.Errorf("an endless document: %v", err)
	}
}

type localDrop struct {
	drop.Drop
	folder string
}

func newLocal(t *testing.T) localDrop {
	t.Helper()
	dir := t.TempDir()
	d, err := drop.OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return localDrop{d, dir}
}

// recorder notes what is written, in order.
type recorder struct {
	drop.Drop
	names []string
}

func (r *recorder) Put(ctx context.Context, name string, size int64, feed drop.Feed) error {
	r.names = append(r.names, filepath.Base(name))
	return r.Drop.Put(ctx, name, size, func(ctx context.Context, offset int64, w io.Writer) error { return feed(ctx, offset, w) })
}

func (r *recorder) Replace(ctx context.Context, name string, data []byte) error {
	r.names = append(r.names, filepath.Base(name))
	return r.Drop.Replace(ctx, name, data)
}
