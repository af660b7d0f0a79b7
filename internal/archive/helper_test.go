package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// file is a member to be made.
type file struct{ name, body string }

// small is what most tests put into an archive: sizes around a block, an
// empty body.
var small = []file{
	{"data/article.0001.ndjson", "{\"table\":\"article\"}\n[1,\"Pâte\"]\n[2,\"Thé\"]\n"},
	{"data/tva.0001.ndjson", string(bytes.Repeat([]byte("0123456789abcdef"), 32))},
	{"data/vide.0001.ndjson", ""},
	{"data/%c3%a9t%c3%a9.0001.ndjson", string(bytes.Repeat([]byte("ligne\n"), 300))},
}

// list returns the members that a manifest would name.
func list(files []file) []Member {
	var ms []Member
	for _, f := range files {
		d := sha256.Sum256([]byte(f.body))
		ms = append(ms, Member{f.name, int64(len(f.body)), hex.EncodeToString(d[:])})
	}
	return ms
}

// write makes an archive as the seal engine does.
func write(t testing.TB, files []file) ([]byte, Sum) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i, m := range list(files) {
		digest, err := w.Add(m.Name, append(w.Buffer(), files[i].body...))
		if err != nil {
			t.Fatal(err)
		}
		if digest != m.SHA256 {
			t.Fatalf("%s: digest %s, want %s", m.Name, digest, m.SHA256)
		}
	}
	sum, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), sum
}

// plainTar makes the same tar with the standard library alone.
func plainTar(t testing.TB, files []file) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		add(t, w, tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Format: tar.FormatUSTAR}, f.body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func add(t testing.TB, w *tar.Writer, h tar.Header, body string) {
	t.Helper()
	h.Size = int64(len(body))
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
}

// compress puts any bytes into a frame that is all right.
func compress(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := encoder()
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(b, nil)
}

// encoder is made once: it costs more than what it compresses here.
var encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithWindowSize(1<<20))
})

// readAll reads an archive whole. It never looks at the digest of the file, as
// if that and the manifest were the attacker's.
func readAll(archive io.Reader, members []Member, tarSize int64) ([]file, error) {
	return readForm(Rows, archive, members, tarSize)
}

func readForm(form Form, archive io.Reader, members []Member, tarSize int64) (files []file, err error) {
	r, err := form.NewReader(archive, members, tarSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		i, body, err := r.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return files, err
		}
		if i != len(files) {
			return files, fmt.Errorf("index %d, want %d", i, len(files))
		}
		b, err := io.ReadAll(body)
		if err != nil {
			return files, err
		}
		files = append(files, file{members[i].Name, string(b)})
	}
}
