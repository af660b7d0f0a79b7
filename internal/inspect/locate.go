package inspect

import (
	"path"
	"strings"

	"caisseauto/manifest"
)

// Locate takes the path of a stream, or of a batch in it, apart: the root of
// the drop, the stream, and the batch's number, 0 for none. stream is "" when
// the end of the path names none: it is a drop's, or a dossier's.
func Locate(name string) (root, stream string, only int64) {
	name = path.Clean("/" + name)
	if n, ok := batchOf(path.Base(name)); ok {
		if root, stream, _ := Locate(path.Dir(name)); stream != "" {
			return root, stream, n
		}
	}
	parts := strings.Split(name, "/")
	for _, n := range []int{2, 3} {
		if len(parts) < n {
			continue
		}
		at := len(parts) - n
		if s := strings.Join(parts[at:], "/"); manifest.ValidStream(s) {
			return path.Clean("/" + strings.Join(parts[:at], "/")), s, 0
		}
	}
	return name, "", 0
}

// batchOf returns the number that a batch's file, or its bare number, has.
func batchOf(base string) (int64, bool) {
	for _, ext := range []string{"", manifest.ManifestExt} {
		if n, _, ok := manifest.ParseFileName(base + ext); ok {
			return n, true
		}
	}
	return 0, false
}
