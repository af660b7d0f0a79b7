package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// open is a form that allows whatever an archive may have at all.
var open = Form{MaxMember: 1 << 40}

// pack is a small package: upper case, spaces, a name that needs the prefix,
// an empty file.
var pack = []file{
	{"bin/" + strings.Repeat("long/", 20) + "Caisse.exe", "MZ" + strings.Repeat("\x00\xff", 300)},
	{"LISEZ MOI (fr).txt", "Bonjour\n"},
	{"lib/.keep", ""},
	{"x", strings.Repeat("x", 512)},
}

// tarOf makes the tar of this form with the standard library alone, the first
// header changed.
func tarOf(t *testing.T, files []file, change func(*tar.Header)) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i, f := range files {
		h := tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Format: tar.FormatUSTAR}
		if i == 0 {
			change(&h)
		}
		body := f.body
		if h.Typeflag != tar.TypeReg {
			body = "" // only regular files may have one here
		}
		add(t, w, h, body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestFormNames: the reader refuses a list and the writer a member for the
// same names, and the writer writes nothing of them.
func TestFormNames(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a", n) }
	_, none := write(t, nil)
	for _, tc := range []struct{ name, want string }{
		{"A", ""},
		{"Program Files (x86)/Caisse~1.EXE", ""},
		{".hidden", ""},
		{"...", ""},
		{"-rf", ""},
		{a(100), ""},
		{"d/" + a(98), ""},
		{a(155) + "/" + a(100), ""},
		{"", "empty"},
		{"/a", "empty"},
		{"a/", "empty"},
		{"a//b", "empty"},
		{".", `"."`},
		{"./a", `"."`},
		{"a/./b", `"."`},
		{"..", `".."`},
		{"../a", `".."`},
		{"a/..", `".."`},
		{`a\b`, "backslash"},
		{`..\a`, "backslash"},
		{"a\nb", "printable"},
		{"a\x00b", "printable"},
		{"a\x7f", "printable"},
		{"été", "printable"},
		{"a\xff", "printable"},
		{a(101), "does not fit"},
		{a(156) + "/" + a(10), "does not fit"},
		{a(10) + "/" + a(101), "does not fit"},
		{a(155) + "/" + a(101), "does not fit"},
		{strings.Repeat("a/", 128) + "a", "does not fit"},
	} {
		err := map[string]error{}
		_, err["reader"] = open.NewReader(iotest.ErrReader(io.EOF), []Member{{Name: tc.name}}, 3*block)
		w, e := open.NewWriter(io.Discard)
		if e != nil {
			t.Fatal(e)
		}
		_, err["Add"] = w.Add(tc.name, nil)
		if tc.want != "" { // else it is there now
			_, err["AddFile"] = w.AddFile(tc.name, 0, strings.NewReader(""))
		}
		if sum, e := w.Close(); e != nil || tc.want != "" && sum != none {
			t.Errorf("%q: an archive of %+v (%v), want an empty one", tc.name, sum, e)
		}
		for who, err := range err {
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s, %q: error %v, want %q in it", who, tc.name, err, tc.want)
			}
		}
	}
}

// TestFormLimits: the form's own rules hold for both sides, and no body is
// longer than a header can say.
func TestFormLimits(t *testing.T) {
	shout := Form{
		CheckName: func(name string) error {
			if name != strings.ToUpper(name) {
				return errors.New("not so low")
			}
			return nil
		},
		MaxMember: 10,
	}
	for _, tc := range []struct {
		form Form
		m    Member
		want string
	}{
		{shout, Member{Name: "A", Size: 10}, ""},
		{shout, Member{Name: "a", Size: 10}, "not so low"},
		{shout, Member{Name: "A", Size: 11}, "10"},
		{shout, Member{Name: "A", Size: -1}, "-1"},
		{open, Member{Name: "a", Size: maxSize}, ""},
		{open, Member{Name: "a", Size: maxSize + 1}, "8589934592"},
	} {
		ms := []Member{tc.m}
		_, reader := tc.form.NewReader(iotest.ErrReader(io.EOF), ms, TarSize(ms))
		w, err := tc.form.NewWriter(io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		_, writer := w.AddFile(tc.m.Name, tc.m.Size, iotest.ErrReader(errors.New("read it")))
		w.Abort()
		if tc.want == "" {
			if reader != nil || !strings.Contains(fmt.Sprint(writer), "read it") {
				t.Errorf("%+v: reader %v, writer %v", tc.m, reader, writer)
			}
			continue
		}
		for _, err := range []error{reader, writer} {
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "read it") {
				t.Errorf("%+v: reader %v, writer %v, want %q", tc.m, reader, writer, tc.want)
			}
		}
	}
	if err := open.checkMembers([]Member{{Name: "a"}, {Name: "A"}, {Name: "a"}}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a name twice: %v", err)
	}
}

// TestPrefix holds the two ways to a header against each other and against
// fits, for names around the lengths of both fields, parted in one place and
// in many.
func TestPrefix(t *testing.T) {
	fit, not := 0, 0
	try := func(name string) {
		want, err := header(name, 3)
		if (err == nil) != (fits(name) == nil) {
			t.Fatalf("%q: header says %v, fits says %v", name, err, fits(name))
		}
		if err != nil {
			not++
			return
		}
		fit++
		if got := fullName(want); got != name {
			t.Fatalf("%q: the header names %q", name, got)
		}
		var out bytes.Buffer
		w, err := newTarWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.add(name, 3, strings.NewReader("abc")); err != nil {
			t.Fatal(err)
		}
		if got := out.Bytes()[:block]; !bytes.Equal(got, want) {
			t.Fatalf("%q: %s", name, difference(got, want))
		}
		if h, err := tar.NewReader(&out).Next(); err != nil || h.Name != name {
			t.Fatalf("%q: read as %v, %v", name, h, err)
		}
	}
	for n := 99; n <= 258; n++ {
		try(strings.Repeat("a", n))
		for _, at := range []int{1, 2, 50, 98, 99, 100, 101, 153, 154, 155, 156, n - 102, n - 101, n - 100, n - 99, n - 2} {
			if at > 0 && at < n-1 {
				try(strings.Repeat("a", at) + "/" + strings.Repeat("b", n-at-1))
			}
		}
		for _, step := range []int{2, 7, 52} {
			b := bytes.Repeat([]byte("c"), n)
			for i := step; i < n-1; i += step {
				b[i] = '/'
			}
			try(string(b))
		}
	}
	if fit < 500 || not < 500 {
		t.Errorf("%d names fit, %d do not", fit, not)
	}
}

// TestFormEvil is the corpus of tars in place of pack's.
func TestFormEvil(t *testing.T) {
	same := func(*tar.Header) {}
	good := tarOf(t, pack, same)
	if got, err := readForm(open, bytes.NewReader(compress(t, good)), list(pack), int64(len(good))); err != nil || len(got) != len(pack) {
		t.Fatalf("the good one: %d members, %v", len(got), err)
	}
	patch := func(at int, s string) []byte { b := bytes.Clone(good); copy(b[at:], s); return b }
	kind := func(flag byte) []byte {
		return tarOf(t, pack, func(h *tar.Header) { h.Typeflag, h.Linkname = flag, map[byte]string{'1': "x", '2': "/etc"}[flag] })
	}
	with := func(change func(*tar.Header)) []byte { return tarOf(t, pack, change) }
	files := func(fs ...file) []byte { return tarOf(t, fs, same) }
	prefix := pack[0].name[:strings.LastIndex(pack[0].name, "/")]
	longer := file{pack[0].name, pack[0].body + "x"}
	for _, tc := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"hard link", kind(tar.TypeLink), `type flag in its tar header is "1"`},
		{"symlink", kind(tar.TypeSymlink), `type flag in its tar header is "2"`},
		{"character device", kind(tar.TypeChar), `type flag in its tar header is "3"`},
		{"block device", kind(tar.TypeBlock), `type flag in its tar header is "4"`},
		{"folder", kind(tar.TypeDir), `type flag in its tar header is "5"`},
		{"fifo", kind(tar.TypeFifo), `type flag in its tar header is "6"`},
		{"executable", with(func(h *tar.Header) { h.Mode = 0o755 }), "mode"},
		{"setuid", with(func(h *tar.Header) { h.Mode = 0o4755 }), "mode"},
		{"PAX record for the prefix", with(func(h *tar.Header) {
			h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"CAISSE.x": "1"}
		}), `type flag in its tar header is "x"`},
		{"GNU long name for the prefix", with(func(h *tar.Header) { h.Format = tar.FormatGNU }), `type flag in its tar header is "L"`},
		{"no prefix", patch(345, strings.Repeat("\x00", 155)), "prefix"},
		{"prefix leads out", patch(345, "../"), "prefix"},
		{"prefix absolute", patch(345, "/"), "prefix"},
		{"name split elsewhere", bytes.Replace(patch(345+len(prefix)-5, "\x00\x00\x00\x00\x00"), []byte("Caisse.exe\x00\x00\x00\x00\x00"), []byte("long/Caisse.exe"), 1), `the name in its tar header is "long/Caisse.exe"`},
		{"another prefix", with(func(h *tar.Header) { h.Name = "B" + h.Name[1:] }), "prefix"},
		{"other case", with(func(h *tar.Header) { h.Name = strings.ToLower(h.Name) }), "name in its tar header"},
		{"body longer", files(longer, pack[1], pack[2], pack[3]), "size in its tar header"},
		{"other bytes", patch(block, "ZM"), "SHA-256"},
		{"byte in the padding", patch(block+len(pack[0].body), "x"), "padding of member 1"},
		{"member more", files(append(pack[:4:4], file{strings.Repeat("p", 99) + "/more", ""})...), `does not name, "` + strings.Repeat("p", 99) + `/more"`},
		{"member missing", files(pack[:3]...), `member 4, "x": it is missing`},
		{"second tar", append(bytes.Clone(good), good...), "goes on after its end"},
		{"byte more", append(bytes.Clone(good), 0), "goes on after its end"},
	} {
		t.Run(tc.name, func(t *testing.T) { refuseForm(t, open, pack, tc.raw, tc.want) })
	}
	for n := 0; n < len(good); n += 61 {
		refuseForm(t, open, pack, good[:n], "cut: it ends")
	}
}

// TestFormStockTools: the names are whole for the tar of the system as well.
func TestFormStockTools(t *testing.T) {
	stock(t, "zstd")
	path := filepath.Join(t.TempDir(), "p.tar.zst")
	archive, _ := writeForm(t, pack)
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	var want string
	for _, f := range pack {
		want += f.name + "\n"
		if out := runTool(t, stock(t, "tar"), "--zstd", "-xOf", path, f.name); out != f.body {
			t.Errorf("tar -xO %s: %q", f.name, out)
		}
	}
	if got := runTool(t, stock(t, "tar"), "--zstd", "-tf", path); got != want {
		t.Errorf("tar -t lists\n%swant\n%s", got, want)
	}
}
