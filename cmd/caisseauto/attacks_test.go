package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/archive"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// An attack is something that a stranger, a thief of a key or a bad disk does
// to the drop. After it the till's next import must end with exit code 65, an
// error that holds every word of says, and a database that holds, by value,
// the rows of the batch that allowed names (1: nothing was applied).
type attack struct {
	name    string
	do      func(t *testing.T, w *world)
	says    []string
	allowed int64
}

func stranger(t *testing.T) keys.Signer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stranger")
	if _, err := keys.Generate(path, "stranger"); err != nil {
		t.Fatal(err)
	}
	s, err := keys.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func name(n int64, ext string) string { return manifest.FileName(n, ext) }

var attacks = []attack{
	// Arbitrary data.
	{"manifest changed", func(t *testing.T, w *world) {
		p := w.down(name(2, manifest.ManifestExt))
		w.write(p, bytes.Replace(w.read(p), []byte(`"rows": 1`), []byte(`"rows": 2`), 1))
	}, []string{"0000000002.manifest.json", "signature"}, 1},
	{"signature changed", func(t *testing.T, w *world) { flipFile(w, name(2, manifest.SignatureExt), 150) },
		[]string{"0000000002.manifest.json", "signature"}, 1},
	{"archive changed", func(t *testing.T, w *world) { flipFile(w, name(2, manifest.ArchiveExt), 60) },
		[]string{"0000000002.tar.zst"}, 1},
	{"archive cut", func(t *testing.T, w *world) {
		p := w.down(name(2, manifest.ArchiveExt))
		b := w.read(p)
		w.write(p, b[:len(b)-7])
	}, []string{"0000000002.tar.zst", "bytes"}, 1},
	{"archive grown", func(t *testing.T, w *world) {
		p := w.down(name(2, manifest.ArchiveExt))
		w.write(p, append(w.read(p), 0))
	}, []string{"0000000002.tar.zst"}, 1},
	{"unknown key", func(t *testing.T, w *world) {
		w.put(name(2, manifest.ManifestExt), w.read(w.down(name(2, manifest.ManifestExt))), stranger(t), manifest.Namespace)
	}, []string{"0000000002.manifest.json", "unknown key"}, 1},
	{"right key, wrong principal", func(t *testing.T, w *world) {
		w.resign(2, func(m *manifest.Manifest) { m.Signer = "server@other" })
	}, []string{"0000000002.manifest.json", "server@other"}, 1},
	{"right key, wrong namespace", func(t *testing.T, w *world) {
		w.put(name(2, manifest.ManifestExt), w.read(w.down(name(2, manifest.ManifestExt))), w.signer(), manifest.HeadNamespace)
	}, []string{"0000000002.manifest.json", "namespace"}, 1},

	// One kind of statement passed off as another.
	{"head served as a manifest", func(t *testing.T, w *world) {
		w.write(w.down(name(2, manifest.ManifestExt)), w.read(w.down(manifest.HeadName)))
		w.write(w.down(name(2, manifest.SignatureExt)), w.read(w.down(manifest.HeadSignatureName)))
	}, []string{"0000000002.manifest.json", "namespace"}, 1},
	{"manifest served as a head", func(t *testing.T, w *world) {
		w.write(w.down(manifest.HeadName), w.read(w.down(name(4, manifest.ManifestExt))))
		w.write(w.down(manifest.HeadSignatureName), w.read(w.down(name(4, manifest.SignatureExt))))
	}, []string{"HEAD.json", "namespace"}, 4},

	// Another stream's files.
	{"another stream", func(t *testing.T, w *world) {
		w.resign(2, func(m *manifest.Manifest) { m.Stream = "BRAVO/down" })
	}, []string{"0000000002.manifest.json", "BRAVO/down"}, 1},
	{"another stream's head", func(t *testing.T, w *world) {
		w.rehead(func(h *manifest.Head) { h.Stream = "BRAVO/down" })
	}, []string{"HEAD.json", "BRAVO/down"}, 4},
	{"an upload stream signed by the server", func(t *testing.T, w *world) {
		w.resign(2, func(m *manifest.Manifest) { m.Stream = "ACME/up/001" })
	}, []string{"0000000002.manifest.json"}, 1},

	// Rollback and replay.
	{"an older batch under the next number", func(t *testing.T, w *world) { copyBatch(w, 1, 2) },
		[]string{"0000000002.manifest.json"}, 1},
	{"a later batch under the next number", func(t *testing.T, w *world) { copyBatch(w, 3, 2) },
		[]string{"0000000002.manifest.json"}, 1},

	// Chain.
	{"previous is another batch", func(t *testing.T, w *world) {
		w.resign(2, func(m *manifest.Manifest) { m.Previous = strings.Repeat("ab", 32) })
	}, []string{"0000000002.manifest.json", "batch 2"}, 1},
	{"a signed batch of an older epoch", func(t *testing.T, w *world) {
		w.resign(2, func(m *manifest.Manifest) { m.Epoch = 7 })
	}, []string{"0000000002.manifest.json", "epoch"}, 1},

	// Tail cut, gap, reordering.
	{"tail cut", func(t *testing.T, w *world) { removeBatch(t, w, 4) }, []string{"ACME/down", "batch 4 is not all there"}, 3},
	{"the last manifest cut", func(t *testing.T, w *world) {
		if err := os.Remove(w.down(name(4, manifest.ManifestExt))); err != nil {
			t.Fatal(err)
		}
	}, []string{"ACME/down", "batch 4 is not all there"}, 3},
	{"gap", func(t *testing.T, w *world) { removeBatch(t, w, 3) }, []string{"ACME/down", "batch 3 is not all there"}, 2},
	{"two batches swapped", func(t *testing.T, w *world) {
		copyBatch(w, 2, 90)
		copyBatch(w, 3, 2)
		copyBatch(w, 90, 3)
		removeBatch(t, w, 90)
	}, []string{"0000000002.manifest.json"}, 1},

	// Freeze and fast-forward.
	{"freeze: the head expired", func(t *testing.T, w *world) {
		w.rehead(func(h *manifest.Head) {
			h.Issue++
			h.Issued, h.Expires = h.Issued.Add(-72*time.Hour), h.Issued.Add(-48*time.Hour)
			h.Issue += 10
		})
	}, []string{"HEAD.json", "expired"}, 4},
	{"fast-forward: a head far ahead", func(t *testing.T, w *world) {
		w.rehead(func(h *manifest.Head) { h.Sequence = 9_999_999_999; h.Issue = 1<<53 - 1 })
	}, []string{"ACME/down", "9999999999"}, 4},
	{"fork: the head names another batch of our number", func(t *testing.T, w *world) {
		w.rehead(func(h *manifest.Head) {
			h.Sequence, h.Baseline, h.Digest, h.Issue = 1, 1, strings.Repeat("cd", 32), h.Issue+1
		})
	}, []string{"HEAD.json", "fork"}, 1},
	{"head changed", func(t *testing.T, w *world) { flipFile(w, manifest.HeadName, 100) }, []string{"HEAD.json", "signature"}, 4},

	// Endless data.
	{"a head of 17 KiB", func(t *testing.T, w *world) { w.write(w.down(manifest.HeadName), make([]byte, 17<<10)) }, []string{"HEAD.json"}, 1},
	{"a signature of 17 KiB", func(t *testing.T, w *world) { w.write(w.down(name(2, manifest.SignatureExt)), make([]byte, 17<<10)) },
		[]string{"0000000002.manifest.json.sig"}, 1},
	{"a manifest of 5 MiB", func(t *testing.T, w *world) { w.write(w.down(name(2, manifest.ManifestExt)), make([]byte, 5<<20)) },
		[]string{"0000000002.manifest.json"}, 1},
	{"a zstd bomb under a valid signature", bomb, []string{"0000000002.tar.zst"}, 1},

	// Mix and match under a valid signature: a fault in the writer.
	{"a member of another batch", func(t *testing.T, w *world) {
		reseal(t, w, 2, func(m *manifest.Manifest) [][]byte {
			return [][]byte{[]byte(`{"table":"article","op":"patch","columns":["code","price"]}` + "\n" + `["A1",77]` + "\n")}
		})
	}, []string{"0000000002.tar.zst", "data/article.0001.ndjson"}, 1},
	{"a member of a table that is not signed for", func(t *testing.T, w *world) {
		resealWith(t, w, 2, `{"table":"sqlite_schema","op":"upsert","columns":["code"]}`, `["A1"]`)
	}, []string{"0000000002.tar.zst", "sqlite_schema"}, 1},
	{"rows that are no rows", func(t *testing.T, w *world) {
		resealWith(t, w, 2, `{"table":"article","op":"delete","columns":["code"]}`, `DELETE FROM article`)
	}, []string{"0000000002.tar.zst", "row 1"}, 1},
	{"an operation that does not exist", func(t *testing.T, w *world) {
		resealWith(t, w, 2, `{"table":"article","op":"exec","columns":["code"]}`, `["A1"]`)
	}, []string{"0000000002.tar.zst", "exec"}, 1},
	{"a patch of a row that is not there", func(t *testing.T, w *world) {
		resealWith(t, w, 2, `{"table":"article","op":"patch","columns":["code","price"]}`, `["NONE",1]`)
	}, []string{"0000000002.manifest.json", "article", "NONE", "--baseline"}, 1},
	{"a row that breaks a unique index", func(t *testing.T, w *world) {
		resealWith(t, w, 2, `{"table":"article","op":"patch","columns":["code","ean"]}`, `["A1","2"]`)
	}, []string{"0000000002.manifest.json", "article", "A1", "A2", "ean"}, 1},
	{"a table that the till does not have", func(t *testing.T, w *world) {
		w.resign(2, func(m *manifest.Manifest) {
			m.Tables[0].Name, m.Members[0].Table, m.Members[0].Name = "weapon", "weapon", "data/weapon.0001.ndjson"
		})
		reseal(t, w, 2, func(m *manifest.Manifest) [][]byte {
			return [][]byte{[]byte(`{"table":"weapon","op":"patch","columns":["code","price"]}` + "\n" + `["A1",77]` + "\n")}
		}, true)
	}, []string{"weapon"}, 1},
}

func TestAttacks(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			pristine := t.TempDir()
			if err := os.CopyFS(pristine, os.DirFS(w.path("drop"))); err != nil {
				t.Fatal(err)
			}
			a.do(t, w)
			code, stdout, stderr := w.importNow()
			if code != exitRefused {
				t.Errorf("exit code %d, want 65\n%s%s", code, stdout, stderr)
			}
			for _, word := range a.says {
				if !strings.Contains(stderr, word) {
					t.Errorf("the error does not say %q:\n%s", word, stderr)
				}
			}
			if got, want := w.articles("till/till.db"), stateAt(t, a.allowed); got != want {
				t.Errorf("the till does not hold the rows of batch %d (-want +got):\n%s", a.allowed, cmp.Diff(want, got))
			}
			recovers(t, w, pristine)
		})
	}
}

// recovers puts the honest drop back and lets the server export once more:
// the till must catch up without anybody touching it.
func recovers(t *testing.T, w *world, pristine string) {
	t.Helper()
	if err := os.RemoveAll(w.path("drop")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(w.path("drop"), os.DirFS(pristine)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // heads have whole seconds
	if code, _, stderr := w.exportNow(); code != 0 {
		t.Fatalf("export after the attack: %d: %s", code, stderr)
	}
	if code, _, stderr := w.importNow(); code != 0 {
		t.Errorf("import after the attack: %d: %s", code, stderr)
	}
	if got, want := w.articles("till/till.db"), w.articles("server/erp.db"); got != want {
		t.Errorf("the till did not recover (-want +got):\n%s", cmp.Diff(want, got))
	}
}

// stateAt returns the rows of a till that has applied the honest batches up to n.
func stateAt(t *testing.T, n int64) string {
	t.Helper()
	w := newWorld(t)
	for i := n + 1; i <= 4; i++ {
		removeBatch(t, w, i)
	}
	w.importNow() // 65 where the head announces more: the rows are what counts
	return w.articles("till/till.db")
}

func flipFile(w *world, base string, at int) {
	b := w.read(w.down(base))
	b[at] ^= 1
	w.write(w.down(base), b)
}

func copyBatch(w *world, from, to int64) {
	for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
		w.write(w.down(name(to, ext)), w.read(w.down(name(from, ext))))
	}
}

func removeBatch(t *testing.T, w *world, n int64) {
	t.Helper()
	for _, ext := range []string{manifest.ArchiveExt, manifest.SignatureExt, manifest.ManifestExt} {
		if err := os.Remove(w.down(name(n, ext))); err != nil {
			t.Fatal(err)
		}
	}
}

// reseal replaces the members of batch n by bodies and the archive by theirs,
// in the name of the server. Unless all is to fit, the members' own digests
// stay those of before.
func reseal(t *testing.T, w *world, n int64, bodies func(*manifest.Manifest) [][]byte, fits ...bool) {
	t.Helper()
	w.resign(n, func(m *manifest.Manifest) {
		var buf bytes.Buffer
		a, err := archive.NewWriter(&buf)
		if err != nil {
			t.Fatal(err)
		}
		for i, body := range bodies(m) {
			sum, err := a.Add(m.Members[i].Name, bytes.Clone(body))
			if err != nil {
				t.Fatal(err)
			}
			if len(fits) > 0 {
				m.Members[i].SHA256, m.Members[i].Size = sum, int64(len(body))
			}
		}
		s, err := a.Close()
		if err != nil {
			t.Fatal(err)
		}
		m.Archive.Size, m.Archive.SHA256, m.Archive.TarSize = s.Size, s.SHA256, s.TarSize
		w.write(w.down(m.Archive.Name), buf.Bytes())
	})
}

// resealWith makes batch n one member of one row, in the name of the server.
func resealWith(t *testing.T, w *world, n int64, header, row string) {
	t.Helper()
	reseal(t, w, n, func(m *manifest.Manifest) [][]byte { return [][]byte{[]byte(header + "\n" + row + "\n")} }, true)
}

// bomb is a batch whose archive, hash and signature are all good, and which
// decompresses to much more than was signed.
func bomb(t *testing.T, w *world) {
	t.Helper()
	w.resign(2, func(m *manifest.Manifest) {
		var buf bytes.Buffer
		a, err := archive.NewWriter(&buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Add(m.Members[0].Name, make([]byte, 8<<20)); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Close(); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(buf.Bytes())
		m.Archive.Size, m.Archive.SHA256 = int64(buf.Len()), hex.EncodeToString(sum[:])
		w.write(w.down(m.Archive.Name), buf.Bytes())
	})
}

// TestStrangers: files that nobody asked for change nothing, and are left.
func TestStrangers(t *testing.T) {
	w := newWorld(t)
	for _, base := range []string{"x", ".hidden", "0000000002.tar.zst.part", "0000000005.tar.zst.filepart", "0000000000.manifest.json", "notes.txt", "00000000002.manifest.json"} {
		w.write(w.down(base), []byte("strange"))
	}
	if err := os.Symlink("/etc/passwd", w.down("0000000007.manifest.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(w.down("0000000008.manifest.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := w.importNow(); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if got, want := w.articles("till/till.db"), w.articles("server/erp.db"); got != want {
		t.Errorf("the till holds\n%s\nwant\n%s", got, want)
	}
	if _, err := os.Lstat(w.down("notes.txt")); err != nil {
		t.Error(err)
	}
}

// TestEveryByte flips bytes of a batch's three files, one after the other.
func TestEveryByte(t *testing.T) {
	w := newWorld(t)
	want := stateAt(t, 1)
	for _, ext := range []string{manifest.ManifestExt, manifest.SignatureExt, manifest.ArchiveExt} {
		base := name(2, ext)
		good := w.read(w.down(base))
		step := 5 // package manifest flips every single one
		if testing.Short() || raceEnabled {
			step = 37
		}
		for at := 0; at < len(good); at += step {
			bad := bytes.Clone(good)
			bad[at] ^= 1
			w.write(w.down(base), bad)
			code, _, stderr := w.importNow()
			if code == exitDone && ext == manifest.SignatureExt {
				// The reserved field of the blob is not signed (PROTOCOL.sshsig):
				// such a signature still holds, and nothing else was changed.
				w = newWorld(t)
				continue
			}
			if code != exitRefused || !strings.Contains(stderr, "0000000002") {
				t.Fatalf("%s byte %d: exit code %d: %s", base, at, code, stderr)
			}
			if got := w.articles("till/till.db"); got != want {
				t.Fatalf("%s byte %d: the till holds\n%s", base, at, got)
			}
		}
		w.write(w.down(base), good)
	}
}
