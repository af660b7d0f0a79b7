package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// expect passes the bytes of a tar on as long as they are those that the
// signed members make. All but the bodies is known beforehand, byte for byte,
// and of the bodies the digest is. So no header that the manifest does not
// ask for - no link, no device, no PAX record, no other owner or mode - ever
// reaches a tar parser, and the end can neither be moved forward nor back.
//
// The last bytes of a body come out only when the whole body has the signed
// digest.
type expect struct {
	r       io.Reader
	members []Member
	at      int   // index of the member under way; len(members): in the trailer
	part    part  // what comes next
	left    int64 // of the part
	head    [block]byte
	sum     hash.Hash
	err     error
}

// part is a place in a tar.
type part uint8

const (
	inHeader  part = iota
	inBody         // of member at
	inPadding      // zeros behind it
	inTrailer      // the second block of zeros
	atEnd          // not one byte more
)

func newExpect(r io.Reader, members []Member) *expect {
	return &expect{r: r, members: members, left: block, sum: sha256.New()}
}

// Read returns io.EOF at the end of the tar, exactly.
func (e *expect) Read(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.r.Read(p)
	if bad := e.check(p[:n]); bad != nil {
		e.err = bad
		return 0, bad
	}
	if err == io.EOF && e.part != atEnd {
		err = fmt.Errorf("tar is cut: it ends %s", e.where())
	}
	e.err = err
	return n, err
}

func (e *expect) check(p []byte) error {
	for len(p) > 0 {
		n := int(min(int64(len(p)), e.left))
		if n == 0 {
			return fmt.Errorf("tar goes on after its end")
		}
		now := p[:n]
		p, e.left = p[n:], e.left-int64(n)
		switch e.part {
		case inHeader:
			copy(e.head[block-int(e.left)-n:], now)
		case inBody:
			e.sum.Write(now)
		case inPadding, inTrailer:
			if !zero(now) {
				return fmt.Errorf("tar has bytes that are not zero %s", e.where())
			}
		}
		for e.left == 0 && e.part != atEnd {
			if err := e.next(); err != nil {
				return err
			}
		}
	}
	return nil
}

// next checks the part that has just ended and goes to the one behind it.
func (e *expect) next() error {
	switch e.part {
	case inHeader:
		return e.header()
	case inBody:
		m := e.members[e.at]
		if got := hex.EncodeToString(e.sum.Sum(nil)); got != m.SHA256 {
			return fmt.Errorf("member %d, %q: its SHA-256 is %s, the manifest says %s", e.at+1, m.Name, got, m.SHA256)
		}
		e.sum.Reset()
		e.part, e.left = inPadding, padding(m.Size)
	case inPadding:
		e.at++
		e.part, e.left = inHeader, block
	case inTrailer:
		e.part, e.left = atEnd, 0
	}
	return nil
}

// header compares the block in e.head with the one that must be there.
func (e *expect) header() error {
	if e.at == len(e.members) {
		if !zero(e.head[:]) {
			return fmt.Errorf("tar has a member that the manifest does not name, %q, behind the last one", fullName(e.head[:]))
		}
		e.part, e.left = inTrailer, block
		return nil
	}
	m := e.members[e.at]
	want, err := header(m.Name, m.Size)
	if err != nil {
		return fmt.Errorf("member %d, %q: %w", e.at+1, m.Name, err)
	}
	if !bytes.Equal(want, e.head[:]) {
		return fmt.Errorf("member %d, %q: %s", e.at+1, m.Name, difference(e.head[:], want))
	}
	e.part, e.left = inBody, m.Size
	return nil
}

// where says where in the tar e is, for an error.
func (e *expect) where() string {
	switch {
	case e.at == len(e.members):
		return "in the blocks of zeros at its end"
	case e.part == inHeader && e.left == block:
		return fmt.Sprintf("in front of member %d of %d, %q", e.at+1, len(e.members), e.members[e.at].Name)
	case e.part == inPadding:
		return fmt.Sprintf("in the padding of member %d, %q", e.at+1, e.members[e.at].Name)
	}
	return fmt.Sprintf("inside member %d, %q", e.at+1, e.members[e.at].Name)
}

// zeros is compared with, a block at a time.
var zeros [block]byte

func zero(p []byte) bool {
	for len(p) > block {
		if !bytes.Equal(p[:block], zeros[:]) {
			return false
		}
		p = p[block:]
	}
	return bytes.Equal(p, zeros[:len(p)])
}
