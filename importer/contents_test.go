package importer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"caisseauto/importer"
	"caisseauto/internal/change"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// TestReadContents: rows come in order, a member that nobody wants is passed
// over, an error of the caller comes back as it is.
func TestReadContents(t *testing.T) {
	const folder = "../testdata/vectors/good/ACME/down/"
	trust, err := keys.LoadTrust("../testdata/vectors/allowed_signers")
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	m, _, err := manifest.Open("2", "ACME/down", read("0000000002.manifest.json"), read("0000000002.manifest.json.sig"), trust)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(folder + m.Archive.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	count := func(want func(int, *change.Header) bool) (rows int, ops string) {
		err := importer.ReadContents(t.Context(), m, f, want, func(b *change.Block) error {
			rows, ops = rows+b.Rows(), ops+string(b.Header.Op)+" "
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return rows, ops
	}
	if rows, ops := count(nil); rows != 4 || ops != "upsert patch delete " {
		t.Errorf("%d rows: %s", rows, ops)
	}
	if rows, ops := count(func(n int, h *change.Header) bool { return n == 1 && h.Op == change.Patch }); rows != 2 || ops != "patch " {
		t.Errorf("%d rows of the member wanted: %s", rows, ops)
	}
	enough := errors.New("enough")
	if err := importer.ReadContents(t.Context(), m, f, nil, func(*change.Block) error { return enough }); err != enough {
		t.Errorf("the caller's error became %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := importer.ReadContents(ctx, m, f, nil, func(*change.Block) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("the context's end became %v", err)
	}
	// Also what is passed over has to have the signed digest.
	m.Members[2].SHA256 = m.Members[0].SHA256
	if err := importer.ReadContents(t.Context(), m, f, func(int, *change.Header) bool { return false }, nil); err == nil {
		t.Error("a member with another digest was passed over")
	}
}
