package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"caisseauto/internal/archive"
	"caisseauto/internal/change"
	"caisseauto/internal/term"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// ErrLost: the place cannot be read any more, the line is gone for example.
// What is under way ends with it.
var ErrLost = errors.New("the place cannot be read any more")

// An Inspector looks into batches. The zero value but for Contents is usable.
type Inspector struct {
	// Trust says whose signatures count, for each dossier. Nil, or a nil
	// Trust: there is no list of keys, and who signed is not checked.
	Trust func(dossier string) *manifest.Trust
	// Contents reads the rows of an archive; importer.ReadContents does.
	Contents func(ctx context.Context, m *manifest.Manifest, f *os.File, want func(member int, h *change.Header) bool, visit func(*change.Block) error) error
	// Progress shows how far a stage is; nil: nothing is shown.
	Progress func(label string, total int64, bytes bool) *term.Progress
	Workers  int // 0: one for each processor

	large sync.Mutex // one large manifest is decoded at a time
}

// largeManifest: a decoded manifest takes some ten times its bytes while it is
// decoded.
const largeManifest = 256 << 10

// A Batch is a manifest whose signature was verified.
type Batch struct {
	Place    Place
	Manifest *manifest.Manifest
	Digest   string // of the manifest's bytes
	Key      string // fingerprint of the key that signed
	Trusted  bool   // the key is one that Trust lists for the signer; false: nobody has checked whose it is
}

// Open reads and verifies the manifest of a batch. A file that is not there is
// fs.ErrNotExist, one that is not what it must be manifest.ErrRefused.
func (i *Inspector) Open(ctx context.Context, p Place, sequence int64) (*Batch, error) {
	doc, sig, err := readStatement(ctx, p, manifest.FileName(sequence, manifest.ManifestExt), manifest.FileName(sequence, manifest.SignatureExt), manifest.MaxManifest)
	if err != nil {
		return nil, err
	}
	return i.open(p, sequence, doc, sig)
}

// open verifies a manifest that was read.
func (i *Inspector) open(p Place, sequence int64, doc, sig []byte) (*Batch, error) {
	if len(doc) > largeManifest {
		i.large.Lock()
		defer i.large.Unlock()
	}
	name := shown(p, manifest.FileName(sequence, manifest.ManifestExt))
	namespace := manifest.BatchNamespace(p.Stream)
	b := &Batch{Place: p}
	var err error
	if b.Key, err = keys.Claimed(doc, sig, namespace); err != nil {
		return nil, refused(name, err)
	}
	trust := i.trust(p.Stream)
	if b.Trusted = trust != nil; !b.Trusted {
		// The signature is good for these bytes, so that this line of them is
		// what its maker meant.
		if trust, err = claimedTrust(sig, claimedSigner(doc), namespace); err != nil {
			return nil, refused(name, err)
		}
	}
	m, position, err := manifest.Open(name, p.Stream, doc, sig, trust)
	if err == nil {
		err = m.Expect(name, p.Stream, sequence)
	}
	if err != nil {
		return nil, err
	}
	b.Manifest, b.Digest = m, position.Digest
	return b, nil
}

// trust returns the list for a stream, nil for none.
func (i *Inspector) trust(stream string) *manifest.Trust {
	if i.Trust == nil {
		return nil
	}
	dossier, _, _ := strings.Cut(stream, "/")
	return i.Trust(dossier)
}

// readStatement reads a signed file and its signature.
func readStatement(ctx context.Context, p Place, name, signature string, limit int64) (doc, sig []byte, err error) {
	if doc, err = p.Files.Read(ctx, name, limit); err != nil {
		return nil, nil, unreadable(ctx, shown(p, name), err)
	}
	if sig, err = p.Files.Read(ctx, signature, manifest.MaxSignature); err != nil {
		return nil, nil, unreadable(ctx, shown(p, signature), err)
	}
	return doc, sig, nil
}

// oldest returns the number of the oldest archive that a good head says is
// there, 0 when nothing says it.
func (i *Inspector) oldest(ctx context.Context, p Place) int64 {
	doc, sig, err := readStatement(ctx, p, manifest.HeadName, manifest.HeadSignatureName, manifest.MaxHead)
	if err != nil {
		return 0
	}
	trust := i.trust(p.Stream)
	if trust == nil {
		if _, err := keys.Claimed(doc, sig, manifest.HeadNamespace); err != nil {
			return 0
		}
		if trust, err = claimedTrust(sig, anyPrincipal(p.Stream), manifest.HeadNamespace); err != nil {
			return 0
		}
	}
	h, err := manifest.OpenHead(manifest.HeadName, doc, sig, trust)
	if err != nil || h.Expect(manifest.HeadName, p.Stream) != nil {
		return 0
	}
	return h.Oldest
}

// archive opens the batch's archive and holds its size and digest against the
// manifest. What it returns was not decompressed yet.
func (i *Inspector) archive(ctx context.Context, b *Batch, p *term.Progress) (*os.File, error) {
	m := b.Manifest
	name := shown(b.Place, m.Archive.Name)
	f, err := b.Place.Files.Open(ctx, m.Archive.Name, m.Archive.Size)
	if err != nil {
		return nil, unreadable(ctx, name, err)
	}
	r := io.TeeReader(watched{ctx, f}, p)
	if err := archive.Check(r, archive.Sum{Size: m.Archive.Size, SHA256: m.Archive.SHA256, TarSize: m.Archive.TarSize}); err != nil {
		f.Close()
		return nil, unreadable(ctx, name, err)
	}
	return f, nil
}

// watched ends a long reading when its context does.
type watched struct {
	ctx context.Context
	r   io.Reader
}

func (w watched) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}

// shown is the name of a file for people.
func shown(p Place, name string) string { return p.Stream + "/" + name }

func refused(name string, err error) error {
	return fmt.Errorf("%s: %w: %w", name, manifest.ErrRefused, err)
}

// unreadable says what kind of error reading the file name has met: it is not
// there, this account may not, the disk or the line fails; and everything else
// is the file's fault.
func unreadable(ctx context.Context, name string, err error) error {
	var disk *fs.PathError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrLost):
		return fmt.Errorf("%s: %w", name, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case errors.As(err, &disk):
		return fmt.Errorf("%s: cannot be read: %w", name, disk.Err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: cannot be read: %w", name, err)
	}
	return refused(name, err)
}

// errIncomplete: a batch without its manifest is not there yet.
var errIncomplete = errors.New("its manifest is not there: it is not complete yet, or was left behind")

// openListed opens a batch of which a listing has told.
func (i *Inspector) openListed(ctx context.Context, p Place, l Listed) (*Batch, error) {
	name := shown(p, manifest.FileName(l.Sequence, manifest.ManifestExt))
	switch {
	case !l.Manifest:
		return nil, fmt.Errorf("%s: %w", name, errIncomplete)
	case !l.Signature:
		return nil, refused(name, errors.New("it is not signed: its signature is not there"))
	}
	return i.Open(ctx, p, l.Sequence)
}

// fatal reports whether an error is none of a file.
func fatal(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, ErrLost))
}

// Incomplete reports whether an error says that a batch is not there yet.
func Incomplete(err error) bool { return errors.Is(err, errIncomplete) }
