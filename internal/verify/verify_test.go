package verify_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/verify"
	"caisseauto/keys"
	"caisseauto/manifest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newKey(t testing.TB, seed string) keys.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(append([]byte(seed), make([]byte, 32)...)[:32]))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := keys.NewSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// A stream is ACME/down in a folder, written batch by batch. Its archives are
// what the test wants them to be.
type stream struct {
	t      testing.TB
	drop   string
	signer keys.Signer
	trust  *keys.Trust
	last   manifest.Position
}

func newStream(t testing.TB) *stream {
	t.Helper()
	s := &stream{t: t, drop: t.TempDir(), signer: newKey(t, "server")}
	var err error
	s.trust, err = keys.ParseAllowedSigners("allowed_signers", []byte(keys.AllowedLine([]string{"server@acme"}, nil, s.signer.Public(), "")))
	s.check(err)
	s.check(os.MkdirAll(filepath.Join(s.drop, "ACME/down"), 0o755))
	return s
}

func (s *stream) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stream) write(base string, data []byte) {
	s.t.Helper()
	s.check(os.WriteFile(filepath.Join(s.drop, "ACME/down", base), data, 0o644))
}

// seal writes the next batch, with an archive of this size and digest.
func (s *stream) seal(size int64, digest string, edit func(*manifest.Manifest)) {
	s.t.Helper()
	columns := []manifest.Column{{Name: "code", Type: "TEXT"}}
	n := s.last.Sequence + 1
	m := &manifest.Manifest{
		Format: manifest.Format, Stream: "ACME/down", Epoch: 1, Sequence: n, Previous: s.last.Digest, Kind: manifest.Delta,
		Created: noon.Add(time.Duration(n) * time.Minute), Signer: "server@acme",
		Archive: manifest.Archive{Name: manifest.FileName(n, manifest.ArchiveExt), Size: size, SHA256: digest, TarSize: manifest.TarSize(nil)},
		Tables: []manifest.Table{{Name: "article", Scope: manifest.Changes, Columns: columns, Key: []string{"code"},
			Schema: manifest.Fingerprint(columns, []string{"code"})}},
	}
	if n == 1 {
		m.Previous, m.Kind, m.Tables[0].Scope = manifest.NoPrevious(), manifest.Baseline, manifest.Whole
	}
	if edit != nil {
		edit(m)
	}
	doc, sig, err := manifest.Seal(m, s.signer)
	s.check(err)
	s.write(manifest.FileName(n, manifest.ManifestExt), doc)
	s.write(manifest.FileName(n, manifest.SignatureExt), sig)
	s.last = manifest.Position{Epoch: m.Epoch, Sequence: m.Sequence, Digest: manifest.Digest(doc)}
}

func (s *stream) head() {
	s.t.Helper()
	doc, sig, err := manifest.SealHead(&manifest.Head{Format: manifest.HeadFormat, Stream: "ACME/down", Epoch: s.last.Epoch, Sequence: s.last.Sequence,
		Digest: s.last.Digest, Baseline: 1, Oldest: 1, Issue: 1, Issued: noon, Expires: noon.Add(24 * time.Hour)}, s.signer)
	s.check(err)
	s.write(manifest.HeadName, doc)
	s.write(manifest.HeadSignatureName, sig)
}

func (s *stream) verify(o verify.Options) *verify.Report {
	s.t.Helper()
	o.Trust, o.Now = func(string) *keys.Trust { return s.trust }, noon
	r, err := verify.Verify(s.t.Context(), []string{s.drop}, o)
	s.check(err)
	return r
}

// TestHugeArchive: an archive of 1 GiB, and of 5 GiB with CAISSEAUTO_HUGE=1 (a
// hole, which takes no disk), is read to the end in little memory. It has the
// digest that was signed and is no zstd frame, so that hash is good and
// content is not.
func TestHugeArchive(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("reads 1 GiB")
	}
	s := newStream(t)
	size, digest := int64(1<<30), "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14"
	if os.Getenv("CAISSEAUTO_HUGE") != "" {
		size, digest = 5<<30, "7f06c62352aebd8125b2a1841e2b9e1ffcbed602f381c3dcb3200200e383d1d5"
	}
	s.seal(size, digest, nil)
	s.head()
	path := filepath.Join(s.drop, "ACME/down", manifest.FileName(1, manifest.ArchiveExt))
	s.write(filepath.Base(path), nil)
	if err := os.Truncate(path, size); err != nil {
		t.Skipf("no file of that size here: %v", err)
	}
	var count counter
	r := s.verify(verify.Options{Progress: func(total int64) io.Writer {
		if total != size {
			t.Errorf("%d bytes to read are announced", total)
		}
		return &count
	}})
	if v := r.Streams[0].Verdicts; v[verify.Hash] != verify.OK || v[verify.Content] != verify.Wrong || len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Text, "zstd") {
		t.Errorf("%v %v", v, r.Faults)
	}
	if int64(count) != size {
		t.Errorf("%d bytes were counted", count)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.Sys > 100<<20 {
		t.Errorf("%d MiB of memory", m.Sys>>20)
	}
}

type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// TestManyFaults: what a hostile folder can make the report hold is bounded.
func TestManyFaults(t *testing.T) {
	s := newStream(t)
	for n := range int64(5100) {
		s.write(manifest.FileName(n+1, manifest.ManifestExt), []byte("x"))
	}
	r := s.verify(verify.Options{})
	if len(r.Faults) != 5000 || r.Unnamed == 0 || r.Proven() {
		t.Errorf("%d faults are named, %d are not", len(r.Faults), r.Unnamed)
	}
}

// TestStopped: a context that ends stops the work.
func TestStopped(t *testing.T) {
	s := newStream(t)
	for range 50 {
		s.seal(1, strings.Repeat("ab", 32), nil)
	}
	s.head()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := verify.Verify(ctx, []string{s.drop}, verify.Options{Trust: func(string) *keys.Trust { return s.trust }, Now: noon}); err != context.Canceled {
		t.Errorf("error %v", err)
	}
}

// TestEpochs: numbers that a new epoch has passed over may be missing, others
// not.
func TestEpochs(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(s *stream)
		want  []string
	}{
		{"raised at the next number", func(s *stream) {
			s.seal(1, strings.Repeat("ab", 32), nil)
			s.seal(1, strings.Repeat("ab", 32), newEpoch)
		}, nil},
		{"raised, and numbers passed over", func(s *stream) {
			s.seal(1, strings.Repeat("ab", 32), nil)
			s.last.Sequence = 7
			s.seal(1, strings.Repeat("ab", 32), newEpoch)
		}, nil},
		{"raised, and a file of a number passed over is there", func(s *stream) {
			s.seal(1, strings.Repeat("ab", 32), nil)
			s.last.Sequence = 7
			s.seal(1, strings.Repeat("ab", 32), newEpoch)
			s.write(manifest.FileName(5, manifest.ArchiveExt), nil)
		}, []string{"completeness ACME/down/0000000002.manifest.json"}},
		{"zeros without a higher epoch", func(s *stream) {
			s.seal(1, strings.Repeat("ab", 32), nil)
			s.seal(1, strings.Repeat("ab", 32), func(m *manifest.Manifest) { newEpoch(m); m.Epoch = 1 })
		}, []string{"chain ACME/down/0000000002.manifest.json"}},
		{"a higher epoch in the middle", func(s *stream) {
			s.seal(1, strings.Repeat("ab", 32), nil)
			s.seal(1, strings.Repeat("ab", 32), func(m *manifest.Manifest) { m.Epoch = 2 })
		}, []string{"chain ACME/down/0000000002.manifest.json"}},
		{"the beginning is gone", func(s *stream) {
			s.last.Sequence = 3
			s.seal(1, strings.Repeat("ab", 32), newEpoch)
		}, []string{"completeness ACME/down/0000000001.manifest.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStream(t)
			c.build(s)
			s.head()
			var got []string
			for _, f := range s.verify(verify.Options{}).Faults {
				if !strings.HasSuffix(f.File, manifest.ArchiveExt) { // there are none
					got = append(got, fmt.Sprint(f.Check, " ", f.File))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("faults %q, want %q", got, c.want)
			}
		})
	}
}

func newEpoch(m *manifest.Manifest) {
	m.Epoch, m.Previous, m.Kind, m.Tables[0].Scope = 2, manifest.NoPrevious(), manifest.Baseline, manifest.Whole
}
