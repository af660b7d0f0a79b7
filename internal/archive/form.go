package archive

import (
	"fmt"
	"io"
	"strings"
)

const (
	// maxName and maxPrefix are the bytes of the two fields of a USTAR header
	// that make a name: prefix, slash, name. A name that fits the name field
	// is not split.
	maxName   = 100
	maxPrefix = 155
	// maxSize is what the 11 octal digits of a USTAR header hold.
	maxSize = 1<<33 - 1
)

// A Form says what the members of an archive may be. Whatever it allows, no
// archive has a member whose name leads elsewhere or means two things: see
// [Form.NewReader].
type Form struct {
	CheckName func(name string) error // what keeps name from being a member's; nil: nothing but the above
	MaxMember int64                   // the longest body, in bytes
}

// Rows is the form of the archives that carry rows.
var Rows = Form{CheckName, MaxMember}

// NewReader is [NewReader] for archives of this form. Beside what the form
// refuses, it refuses a name that is absolute or has a part that is empty,
// "." or "..", that has a backslash or a byte that is not printable ASCII,
// that does not fit a USTAR header or that stands in members twice; and a
// body that is longer than such a header can say.
func (f Form) NewReader(r io.Reader, members []Member, tarSize int64) (*Reader, error) {
	if err := f.checkMembers(members); err != nil {
		return nil, err
	}
	return newReader(r, members, tarSize)
}

// checkMembers refuses a list that no Writer could have written.
func (f Form) checkMembers(members []Member) error {
	seen := make(map[string]bool, len(members))
	for i, m := range members {
		if err := f.checkName(m.Name); err != nil {
			return fmt.Errorf("member %d of the list: %w", i+1, err)
		}
		if seen[m.Name] {
			return fmt.Errorf("member %d of the list: %q stands there twice", i+1, m.Name)
		}
		seen[m.Name] = true
		if m.Size < 0 || m.Size > f.maxMember() {
			return fmt.Errorf("member %d of the list: %q has the size %d, want 0 to %d", i+1, m.Name, m.Size, f.maxMember())
		}
	}
	return nil
}

func (f Form) maxMember() int64 { return min(f.MaxMember, maxSize) }

// checkName asks the form first, which knows better what a name is for, and
// then holds the name against the rules of all archives.
func (f Form) checkName(name string) error {
	if f.CheckName != nil {
		if err := f.CheckName(name); err != nil {
			return err
		}
	}
	for _, c := range []byte(name) {
		if c < ' ' || c > '~' || c == '\\' {
			return fmt.Errorf("member name %q has the byte %q, want printable ASCII and no backslash", name, c)
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("member name %q has a part that is empty, %q or %q", name, ".", "..")
		}
	}
	return fits(name)
}

// fits reports what keeps name, which has no empty part, out of a USTAR
// header. Without this the tar libraries would put a PAX record in front,
// which no Reader takes.
func fits(name string) error {
	// Split at the last slash that leaves no more than maxPrefix bytes in front.
	slash := -1
	if len(name) > maxName {
		slash = strings.LastIndexByte(name[:min(len(name), maxPrefix+1)], '/')
	}
	if len(name)-slash-1 <= maxName {
		return nil
	}
	return fmt.Errorf("member name %q of %d bytes does not fit a tar header: one of more than %d must have a slash with at most %d bytes in front of it and at most %d behind", name, len(name), maxName, maxPrefix, maxName)
}
