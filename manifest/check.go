package manifest

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxInteger: a double holds every integer up to here, and most JSON
	// readers know nothing else (RFC 8259, section 6).
	maxInteger = 1<<53 - 1
	// MaxMember is the most bytes that the rows of one member take, so that
	// both sides can hold a member in memory.
	MaxMember = 8 << 20
	// MaxMemberHeader is the most bytes that a member's first line takes on
	// top: 2000 columns, SQLite's default limit, with names of 120 bytes.
	MaxMemberHeader = 256 << 10
	// minRow is the shortest row: [1] and a line feed.
	minRow = 4
	// maxName bounds the name of a table or a column; PostgreSQL allows 63.
	maxName = 1024
)

// noPrevious stands in previous of the first batch of an epoch.
var noPrevious = strings.Repeat("0", 64)

// NoPrevious returns what stands in previous of the first batch of an epoch:
// 64 zeros.
func NoPrevious() string { return noPrevious }

func checkManifest(m *Manifest) *Refusal {
	switch {
	case m.Format != Format:
		return refuse("D4", "format is %q, not %q: another kind of file, or a newer version of this program wrote it", m.Format, Format)
	case !ValidStream(m.Stream):
		return refuse("D5", "%q is not a stream", m.Stream)
	case !MaySign(m.Stream, m.Signer):
		return refuse("S6", "%q may not sign stream %s", m.Signer, m.Stream)
	case !inRange(m.Epoch, maxInteger):
		return refuse("D6", "epoch %d is out of range", m.Epoch)
	case !inRange(m.Sequence, MaxSequence):
		return refuse("D6", "sequence %d is out of range", m.Sequence)
	case !isDigest(m.Previous):
		return refuse("D7", "previous is not 64 lower-case hex digits")
	case !validTime(m.Created):
		return refuse("D8", "created is not a UTC time of whole seconds")
	}
	for _, check := range []func(*Manifest) *Refusal{checkChain, checkPackage, checkTables, checkMembers, checkArchive, checkUploads, checkTill} {
		if r := check(m); r != nil {
			return r
		}
	}
	return nil
}

// checkChain holds what kind, sequence and previous say against each other.
func checkChain(m *Manifest) *Refusal {
	first := m.Previous == noPrevious
	switch {
	case m.Kind != Delta && m.Kind != Baseline && m.Kind != KindPackage:
		return refuse("M1", "kind %q is not delta, baseline or package; is there a newer version of this program?", m.Kind)
	case IsPackages(m.Stream) != (m.Kind == KindPackage):
		return refuse("M1", "stream %s carries no %s", m.Stream, m.Kind)
	case m.Kind == Baseline && IsUp(m.Stream):
		return refuse("M1", "a till sends no baseline")
	case m.Sequence == 1 && !first:
		return refuse("M2", "sequence 1 names a batch before it")
	case m.Unchanged && (m.Kind != Baseline || first):
		return refuse("M16", "unchanged stands in a baseline alone, and never in the first batch of an epoch")
	case first && m.Kind != Baseline && !beginsPlain(m.Stream):
		return refuse("M2", "the first batch of an epoch must be a baseline")
	}
	return nil
}

// beginsPlain reports whether the stream begins without a baseline: each of
// its batches counts for itself.
func beginsPlain(stream string) bool { return IsUp(stream) || IsPackages(stream) }

func checkArchive(m *Manifest) *Refusal {
	a := m.Archive
	switch {
	case a.Name != FileName(m.Sequence, ArchiveExt):
		return refuse("M3", "archive %q is not named after sequence %d", a.Name, m.Sequence)
	case !inRange(a.Size, maxInteger):
		return refuse("M3", "archive size %d is out of range", a.Size)
	case !isDigest(a.SHA256):
		return refuse("D7", "archive sha256 is not 64 lower-case hex digits")
	case a.TarSize != m.tarSize():
		return refuse("M4", "tar_size is %d, but the members make %d", a.TarSize, m.tarSize())
	}
	return nil
}

func checkTables(m *Manifest) *Refusal {
	if len(m.Tables) == 0 && len(m.Uploads) == 0 && m.Package == nil {
		return refuse("M5", "no table is listed")
	}
	seen := make(map[string]bool, len(m.Tables))
	for i := range m.Tables {
		t := &m.Tables[i]
		if seen[t.Name] {
			return refuse("M5", "table %q is listed twice", t.Name)
		}
		seen[t.Name] = true
		if r := checkTable(t, m.Kind); r != nil {
			return r
		}
		if t.Scope == Whole && IsUp(m.Stream) {
			return refuse("M6", "table %s: a till sends no table whole", t.Name)
		}
	}
	return nil
}

func checkTable(t *Table, kind Kind) *Refusal {
	switch {
	case !validName(t.Name):
		return refuse("M5", "%q cannot be a table's name", t.Name)
	case t.Scope != Changes && t.Scope != Whole:
		return refuse("M6", "table %s: scope %q is neither changes nor whole", t.Name, t.Scope)
	case kind == Baseline && t.Scope != Whole:
		return refuse("M6", "table %s: every table of a baseline is whole", t.Name)
	case len(t.Columns) == 0:
		return refuse("M7", "table %s has no columns", t.Name)
	case len(t.Key) == 0:
		return refuse("M8", "table %s has no key", t.Name)
	}
	columns := make(map[string]bool, len(t.Columns))
	for _, c := range t.Columns {
		if !validName(c.Name) || columns[c.Name] {
			return refuse("M7", "table %s: column %q has no proper name or stands there twice", t.Name, c.Name)
		}
		if !validType(c.Type) {
			return refuse("M7", "table %s: column %s has no proper type", t.Name, c.Name)
		}
		columns[c.Name] = true
	}
	for i, k := range t.Key {
		if !columns[k] || slices.Contains(t.Key[:i], k) {
			return refuse("M8", "table %s: key column %q is none of its columns or stands there twice", t.Name, k)
		}
	}
	if t.Schema != Fingerprint(t.Columns, t.Key) {
		return refuse("M9", "table %s: schema is not the fingerprint of its columns and key", t.Name)
	}
	return nil
}

func checkMembers(m *Manifest) *Refusal {
	count := make(map[string]int, len(m.Tables))
	for i := range m.Tables {
		count[m.Tables[i].Name] = 0
	}
	for i := range m.Members {
		b := &m.Members[i]
		n, listed := count[b.Table]
		n++
		count[b.Table] = n
		switch {
		case !listed:
			return refuse("M10", "member %q: table %q is not listed", b.Name, b.Table)
		case n > MaxMembersPerTable || b.Name != MemberName(b.Table, n):
			return refuse("M10", "member %q: number %d of table %s must be %s", b.Name, n, b.Table, MemberName(b.Table, n))
		case !inRange(b.Size, MaxMember+MaxMemberHeader):
			return refuse("M11", "member %s: size %d is out of range", b.Name, b.Size)
		case b.Rows < 0 || b.Rows > b.Size/minRow:
			return refuse("M11", "member %s: %d rows do not fit %d bytes", b.Name, b.Rows, b.Size)
		case !isDigest(b.SHA256):
			return refuse("D7", "member %s: sha256 is not 64 lower-case hex digits", b.Name)
		}
	}
	return nil
}

// TarSize returns the size of the tar that holds the members: a header of 512
// bytes each, bodies filled up to 512, and two blocks of zeros at the end
// (POSIX.1-1988, ustar).
func TarSize(members []Member) int64 {
	size := int64(2 * block)
	for _, b := range members {
		size += entrySize(b.Size)
	}
	return size
}

// tarSize returns the size of the tar of the batch, of rows or of files.
func (m *Manifest) tarSize() int64 {
	size := TarSize(m.Members)
	if m.Package != nil {
		for _, f := range m.Package.Files {
			size += entrySize(f.Size)
		}
	}
	return size
}

const block = 512 // the unit of a tar

func entrySize(body int64) int64 { return block + (body+block-1)/block*block }

func inRange(n, most int64) bool { return n >= 1 && n <= most }

func isDigest(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// validTime: what RFC 3339 writes with four digits and Z, and no fraction.
func validTime(t time.Time) bool {
	_, offset := t.Zone()
	return offset == 0 && t.Nanosecond() == 0 && t.Year() >= 1970 && t.Year() <= 9999
}

func validName(s string) bool {
	return s != "" && validType(s)
}

func validType(s string) bool {
	return len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}
