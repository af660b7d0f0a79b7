package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// ErrOther: the file is not the one that the manifest speaks of: its size or
// its SHA-256 is another.
var ErrOther = errors.New("another archive than the one that was signed")

// otherError keeps ErrOther out of the text, which says more.
type otherError struct{ text string }

func (e *otherError) Error() string { return e.text }
func (e *otherError) Unwrap() error { return ErrOther }

func other(format string, args ...any) error { return &otherError{fmt.Sprintf(format, args...)} }

// Check reads an archive once, without decompressing it, and reports whether
// it is the one that the manifest speaks of: its size, its SHA-256, and then
// that it is exactly one zstd frame within our limits. It reads at most one
// byte more than it may have. A wrong size or digest is [ErrOther]; an error of r
// is wrapped.
func Check(r io.Reader, want Sum) error {
	got, content, err := sum(io.LimitReader(r, want.Size+1))
	switch {
	case err != nil && got == Sum{}:
		return err
	case got.Size > want.Size:
		return other("archive is longer than the %d bytes of the manifest", want.Size)
	case got.Size < want.Size:
		return other("archive has %d bytes, the manifest says %d", got.Size, want.Size)
	case got.SHA256 != want.SHA256:
		return other("archive has the SHA-256 %s, the manifest says %s", got.SHA256, want.SHA256)
	case err != nil:
		return err
	case content >= 0 && content != want.TarSize:
		return fmt.Errorf("archive claims %d bytes when decompressed, the manifest says %d", content, want.TarSize)
	}
	return nil
}

// Hash reads all of r and returns its size and SHA-256, and an error when it
// is not exactly one zstd frame within our limits. TarSize is left 0. Use
// [Check] where it is known what must come out.
func Hash(r io.Reader) (Sum, error) {
	s, _, err := sum(r)
	return s, err
}

// sum returns a zero Sum only with an error of r, and the decompressed size
// that the frame claims, -1 when it claims none.
func sum(r io.Reader) (Sum, int64, error) {
	h, w := sha256.New(), newWalker()
	buf := make([]byte, 128<<10)
	n, err := io.CopyBuffer(io.MultiWriter(h, w), onlyReader{r}, buf)
	if err != nil {
		return Sum{}, -1, fmt.Errorf("reading the archive: %w", err)
	}
	return Sum{Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, w.content, w.finish()
}

// onlyReader hides WriteTo, which would bypass the buffer.
type onlyReader struct{ io.Reader }
