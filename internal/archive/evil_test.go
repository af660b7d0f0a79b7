package archive

import (
	"archive/tar"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestEvilTar is the corpus of tars that a reader must refuse. Each is inside
// a sound frame, of the size that the manifest says where that is possible,
// and the manifest names the members of small.
func TestEvilTar(t *testing.T) {
	regular := tar.Header{Typeflag: tar.TypeReg, Name: small[0].name, Mode: 0o644, Format: tar.FormatUSTAR}
	with := func(change func(*tar.Header)) tar.Header { h := regular; change(&h); return h }
	// first makes a tar whose first member has the header h, and the others
	// are as they should be.
	first := func(h tar.Header) func(*testing.T, *tar.Writer) {
		return func(t *testing.T, w *tar.Writer) {
			body := small[0].body
			if h.Typeflag != tar.TypeReg {
				body = "" // only regular files may have one here
			}
			add(t, w, h, body)
			rest(t, w, small[1:])
		}
	}
	for _, tc := range []struct {
		name string
		tar  func(*testing.T, *tar.Writer)
		want string
	}{
		{"symlink", first(with(func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeSymlink, "/etc/passwd" })), `type flag in its tar header is "2"`},
		{"hard link", first(with(func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeLink, "data/tva.0001.ndjson" })), `type flag in its tar header is "1"`},
		{"character device", first(with(func(h *tar.Header) { h.Typeflag, h.Devmajor = tar.TypeChar, 1 })), `type flag in its tar header is "3"`},
		{"block device", first(with(func(h *tar.Header) { h.Typeflag = tar.TypeBlock })), `type flag in its tar header is "4"`},
		{"folder", first(with(func(h *tar.Header) { h.Typeflag = tar.TypeDir })), `type flag in its tar header is "5"`},
		{"fifo", first(with(func(h *tar.Header) { h.Typeflag = tar.TypeFifo })), `type flag in its tar header is "6"`},
		{"contiguous file", first(with(func(h *tar.Header) { h.Typeflag = tar.TypeCont })), `type flag in its tar header is "7"`},
		{"link name on a file", first(with(func(h *tar.Header) { h.Linkname = "/etc/passwd" })), "link name"},
		{"parent folder", first(with(func(h *tar.Header) { h.Name = "../" + h.Name })), "name in its tar header"},
		{"parent folder inside", first(with(func(h *tar.Header) { h.Name = "data/../../x" })), "name in its tar header"},
		{"absolute", first(with(func(h *tar.Header) { h.Name = "/" + h.Name })), "name in its tar header"},
		{"dot", first(with(func(h *tar.Header) { h.Name = "./" + h.Name })), "name in its tar header"},
		{"other case", first(with(func(h *tar.Header) { h.Name = strings.ToUpper(h.Name) })), "name in its tar header"},
		{"setuid", first(with(func(h *tar.Header) { h.Mode = 0o4755 })), "mode"},
		{"executable", first(with(func(h *tar.Header) { h.Mode = 0o755 })), "mode"},
		{"owner", first(with(func(h *tar.Header) { h.Uid = 1000 })), "uid"},
		{"group", first(with(func(h *tar.Header) { h.Gid = 1000 })), "gid"},
		{"owner's name", first(with(func(h *tar.Header) { h.Uname = "root" })), "user name"},
		{"group's name", first(with(func(h *tar.Header) { h.Gname = "root" })), "group name"},
		{"time", first(with(func(h *tar.Header) { h.ModTime = time.Unix(1, 0) })), "time"},
		{"PAX record", first(with(func(h *tar.Header) {
			h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"path": small[0].name, "CAISSE.x": "1"}
		})), `type flag in its tar header is "x"`},
		{"global PAX record", func(t *testing.T, w *tar.Writer) {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "g", PAXRecords: map[string]string{"path": "../x"}}); err != nil {
				t.Fatal(err)
			}
			rest(t, w, small)
		}, `type flag in its tar header is "g"`},
		{"GNU long name", first(with(func(h *tar.Header) { h.Format, h.Name = tar.FormatGNU, "data/"+strings.Repeat("x", 200) })), `type flag in its tar header is "L"`},
		{"GNU long link", first(with(func(h *tar.Header) {
			h.Format, h.Typeflag, h.Linkname = tar.FormatGNU, tar.TypeSymlink, strings.Repeat("x", 200)
		})), `type flag in its tar header is "K"`},
		{"GNU magic", first(with(func(h *tar.Header) { h.Format = tar.FormatGNU })), "magic"},
		{"prefix", first(with(func(h *tar.Header) { h.Name = strings.Repeat("x", 90) + "/" + h.Name })), "name in its tar header"},
		{"twice", func(t *testing.T, w *tar.Writer) { rest(t, w, append([]file{small[0]}, small...)) }, `member 2, "data/tva.0001.ndjson": the name`},
		{"case pair", func(t *testing.T, w *tar.Writer) {
			rest(t, w, append([]file{small[0], {strings.ToUpper(small[0].name), small[0].body}}, small[1:]...))
		}, `member 2, "data/tva.0001.ndjson": the name`},
		{"member more at the end", func(t *testing.T, w *tar.Writer) { rest(t, w, append(small[:4:4], file{"data/zz", "x"})) }, `does not name, "data/zz"`},
		{"member more in the middle", func(t *testing.T, w *tar.Writer) {
			rest(t, w, []file{small[0], {"data/zz", "x"}, small[1], small[2], small[3]})
		}, `name in its tar header is "data/zz"`},
		{"member missing at the end", func(t *testing.T, w *tar.Writer) { rest(t, w, small[:3]) }, "member 4, \"data/%c3%a9t%c3%a9.0001.ndjson\": it is missing"},
		{"member missing in the middle", func(t *testing.T, w *tar.Writer) { rest(t, w, []file{small[0], small[2], small[3]}) }, "name in its tar header"},
		{"no member", func(*testing.T, *tar.Writer) {}, "it is missing"},
		{"swapped", func(t *testing.T, w *tar.Writer) { rest(t, w, []file{small[1], small[0], small[2], small[3]}) }, "name in its tar header"},
		{"body longer", func(t *testing.T, w *tar.Writer) {
			rest(t, w, append([]file{{small[0].name, small[0].body + "[3]\n"}}, small[1:]...))
		}, "size in its tar header"},
		{"body of another batch", func(t *testing.T, w *tar.Writer) {
			rest(t, w, append([]file{{small[0].name, strings.ToUpper(small[0].body)}}, small[1:]...))
		}, "its SHA-256 is"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var buf bytes.Buffer
			w := tar.NewWriter(&buf)
			tc.tar(t, w)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			refuse(t, buf.Bytes(), tc.want)
		})
	}
}

func rest(t *testing.T, w *tar.Writer, files []file) {
	t.Helper()
	for _, f := range files {
		add(t, w, tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Format: tar.FormatUSTAR}, f.body)
	}
}

// refuse wants an error with want in it, and no body that is not the signed
// one, when raw stands in a sound frame.
func refuse(t *testing.T, raw []byte, want string) {
	t.Helper()
	refuseForm(t, Rows, small, raw, want)
}

func refuseForm(t *testing.T, form Form, good []file, raw []byte, want string) {
	t.Helper()
	files, err := readForm(form, bytes.NewReader(compress(t, raw)), list(good), TarSize(list(good)))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
	if !slices.Equal(files, good[:len(files)]) {
		t.Errorf("other bytes came out before the error: %q", files)
	}
}

// TestEvilBytes are tars that no tar library writes.
func TestEvilBytes(t *testing.T) {
	good := plainTar(t, small)
	patch := func(at int, s string) []byte { b := bytes.Clone(good); copy(b[at:], s); return b }
	end := len(good)
	for _, tc := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"second tar behind the first", append(bytes.Clone(good), good...), "goes on after its end"},
		{"zeros behind the end", append(bytes.Clone(good), make([]byte, 512)...), "goes on after its end"},
		{"one byte behind the end", append(bytes.Clone(good), 0), "goes on after its end"},
		{"no end", good[:end-1024], "cut: it ends in the blocks of zeros"},
		{"half an end", good[:end-512], "cut: it ends in the blocks of zeros"},
		{"padding not zero", patch(512+len(small[0].body), "x"), "not zero in the padding of member 1"},
		{"last byte not zero", patch(end-1, "x"), "not zero in the blocks of zeros"},
		{"byte in the first block of zeros", patch(end-1000, "x"), "does not name"},
		{"old regular type flag", patch(156, "\x00"), "type flag"},
		{"sparse file", patch(156, "S"), "type flag"},
		{"size in binary", patch(124, "\x80"), "size"},
		{"negative size", patch(124, "\xff"), "size"},
		{"spaces in the size", patch(124, "       "), "size"},
		{"old magic", patch(257, "ustar  \x00"), "magic"},
		{"junk behind the name's NUL", patch(60, "x"), "name"},
		{"junk in the unused end of a header", patch(505, "x"), "end in its tar header"},
		{"checksum", patch(148, "0000000"), "checksum"},
		{"no bytes", nil, "cut"},
		{"zeros only", make([]byte, end), "it is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) { refuse(t, tc.raw, tc.want) })
	}
}

// TestCutTar cuts the tar at every byte, and so at each member boundary, where
// archive/tar sees a clean end.
func TestCutTar(t *testing.T) {
	good := plainTar(t, small)
	for n := range good {
		files, err := readAll(bytes.NewReader(compress(t, good[:n])), list(small), TarSize(list(small)))
		if err == nil {
			t.Fatalf("cut at byte %d of %d: no error, %d members", n, len(good), len(files))
		}
		if err == io.ErrUnexpectedEOF || !strings.Contains(err.Error(), "cut: it ends") {
			t.Fatalf("cut at byte %d of %d: unclear error %v", n, len(good), err)
		}
	}
}
