package archive

import (
	"bytes"
	"fmt"
)

// fields are those of a USTAR header (POSIX.1-1988, pax(1) "ustar Interchange
// Format"), the telling ones first.
var fields = []struct {
	name     string
	from, to int
}{
	{"type flag", 156, 157},
	{"name", 0, 100},
	{"link name", 157, 257},
	{"size", 124, 136},
	{"mode", 100, 108},
	{"uid", 108, 116},
	{"gid", 116, 124},
	{"time", 136, 148},
	{"magic", 257, 265}, // with the version
	{"user name", 265, 297},
	{"group name", 297, 329},
	{"device", 329, 345},
	{"prefix", 345, 500},
	{"end", 500, block},
	{"checksum", 148, 156},
}

// difference says in which field got is not what the manifest asks for.
func difference(got, want []byte) string {
	if zero(got) {
		return "it is missing, the tar ends in front of it"
	}
	for _, f := range fields {
		g, w := got[f.from:f.to], want[f.from:f.to]
		if !bytes.Equal(g, w) {
			return fmt.Sprintf("the %s in its tar header is %q, want %q", f.name, field(g), field(w))
		}
	}
	return "its tar header is not as it must be"
}

// field returns a header field without the NULs at its end.
func field(b []byte) []byte { return bytes.TrimRight(b, "\x00") }

// fullName returns the name that a header gives its member.
func fullName(head []byte) string {
	name := string(field(head[:100]))
	if prefix := field(head[345:500]); len(prefix) > 0 {
		name = string(prefix) + "/" + name
	}
	return name
}
