package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
)

const (
	// MaxMember is the longest body of a member of rows: 8 MiB of them, so that
	// both sides work with bounded memory, and 256 KiB for the line above them.
	MaxMember = 8<<20 + 256<<10
	// MaxWindow is the largest zstd window, 8 MiB: what RFC 8878, section
	// 3.1.1.1.2, asks every decoder to support, and what a hostile archive
	// may make ours allocate.
	MaxWindow = 8 << 20
	// block is the unit of a tar.
	block = 512
)

// A Member is one file of an archive, as the signed manifest names it.
type Member struct {
	Name   string
	Size   int64
	SHA256 string // lower-case hex
}

// Sum is what a manifest says of an archive as a whole.
type Sum struct {
	Size    int64  // bytes of the file
	SHA256  string // of these bytes, lower-case hex
	TarSize int64  // bytes when decompressed
}

// TarSize returns the exact length of the tar that holds members: for each a
// header of one block and its body in whole blocks, then two blocks of zeros.
func TarSize(members []Member) int64 {
	size := int64(2 * block)
	for _, m := range members {
		size += block + m.Size + padding(m.Size)
	}
	return size
}

// padding returns how many zeros follow a body.
func padding(size int64) int64 { return -size & (block - 1) }

// CheckName reports what keeps name from being that of a member of rows: it is a relative
// path of up to 100 bytes, whose parts are of [a-z0-9._%-] and do not begin
// with a dot, and which does not begin with a dash. So no two names differ in case only, and none leads elsewhere
// for a person who unpacks an archive by hand.
func CheckName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("member name of %d bytes is longer than %d", len(name), maxName)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' {
			return fmt.Errorf("member name %q has a part that is empty or begins with a dot", name)
		}
	}
	if name[0] == '-' {
		return fmt.Errorf("member name %q begins with a dash, as an option does", name)
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("._%-/", c) >= 0:
		default:
			return fmt.Errorf("member name %q has the byte %q, which is not of [a-z0-9._%%/-]", name, c)
		}
	}
	return nil
}

// header returns the one block that stands in front of the body of a member
// of this name and size; a long name is split into prefix and name. It comes from the standard library, while writing
// goes through the adaptor: a test holds the two against each other.
func header(name string, size int64) ([]byte, error) {
	var buf bytes.Buffer
	err := tar.NewWriter(&buf).WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, Format: tar.FormatUSTAR,
	})
	if err != nil {
		return nil, err
	}
	if buf.Len() != block {
		return nil, fmt.Errorf("tar header of %q has %d bytes", name, buf.Len())
	}
	return buf.Bytes(), nil
}
