package importer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/importer"
	"caisseauto/internal/change"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// A notebook is a database that writes down what it is given.
type notebook struct {
	position manifest.Position
	head     *manifest.Head
	lines    []string
}

func (n *notebook) Position(context.Context, string) (manifest.Position, error) {
	return n.position, nil
}
func (n *notebook) Check(context.Context, *manifest.Manifest) error { return nil }
func (n *notebook) Head(context.Context, string) (*manifest.Head, error) {
	return n.head, nil
}

func (n *notebook) SaveHead(_ context.Context, h *manifest.Head) error {
	n.head = h
	return nil
}

func (n *notebook) Apply(_ context.Context, m *manifest.Manifest, p manifest.Position, rows change.BlockReader) (importer.Applied, error) {
	a := importer.Applied{}
	for {
		b, err := rows.Next()
		if err == io.EOF {
			n.position = p
			return a, nil
		}
		if err != nil {
			return a, err
		}
		for i := range b.Rows() {
			a.Rows++
			line := strings.TrimSpace(string(change.AppendRow(nil, b.Row(i))))
			n.lines = append(n.lines, fmt.Sprintf("%d %s %s %s", m.Sequence, b.Header.Op, b.Header.Table, line))
		}
	}
}

const vectors = "../testdata/vectors"

// newImporter copies the good vectors into an inbox.
func newImporter(t *testing.T, db importer.Applier) *importer.Importer {
	t.Helper()
	trust, err := keys.LoadTrust(filepath.Join(vectors, "allowed_signers"))
	if err != nil {
		t.Fatal(err)
	}
	inbox := filepath.Join(t.TempDir(), "inbox")
	if err := os.CopyFS(inbox, os.DirFS(filepath.Join(vectors, "good/ACME/down"))); err != nil {
		t.Fatal(err)
	}
	return &importer.Importer{Applier: db, Stream: "ACME/down", Inbox: inbox, Trust: trust, Keep: true,
		Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }}
}

// TestVectors reads every good batch, archives and rows included, one after
// the other through two epochs.
func TestVectors(t *testing.T) {
	db := &notebook{}
	i := newImporter(t, db)
	// The head names batch 3; a reader that begins there and one that begins
	// with the first baseline end at the same place.
	r, err := i.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.After.Sequence != 5 || r.After.Epoch != 2 {
		t.Errorf("the stream ends at %+v", r.After)
	}
	want, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), strings.Join(db.lines, "\n")+"\n"); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	again, err := i.Run(t.Context())
	if err != nil || len(again.Batches) != 0 {
		t.Errorf("a second run: %+v, %v", again, err)
	}
	if d := cmp.Diff(r.After, again.Before); d != "" {
		t.Error(d)
	}
}

// openVector opens the manifest of a number in the inbox.
func openVector(i *importer.Importer, n int64) (*manifest.Manifest, manifest.Position, error) {
	name := filepath.Join(i.Inbox, manifest.FileName(n, manifest.ManifestExt))
	doc, err := os.ReadFile(name)
	if err != nil {
		return nil, manifest.Position{}, err
	}
	sig, err := os.ReadFile(name + ".sig")
	if err != nil {
		return nil, manifest.Position{}, err
	}
	return manifest.Open(name, i.Stream, doc, sig, i.Trust)
}

// TestWaiting: a batch of which a file is still missing is no error.
func TestWaiting(t *testing.T) {
	for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
		t.Run(ext, func(t *testing.T) {
			i := newImporter(t, &notebook{})
			for _, name := range []string{manifest.FileName(5, ext), manifest.HeadName, manifest.HeadSignatureName} {
				if err := os.Remove(filepath.Join(i.Inbox, name)); err != nil {
					t.Fatal(err)
				}
			}
			i.Now = nil // what has just been copied has just arrived
			r, err := i.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if r.After.Sequence != 4 || !strings.Contains(r.Waiting, "batch 5") {
				t.Errorf("%+v", r)
			}
			i.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
			if _, err := i.Run(t.Context()); !errors.Is(err, importer.ErrRefused) {
				t.Errorf("two hours later: %v", err)
			}
		})
	}
}
