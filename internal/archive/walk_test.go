package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestWalk has one case for each thing that a zstd file may be and ours may
// not. Decoders take most of them.
func TestWalk(t *testing.T) {
	frame := func(opts ...zstd.EOption) []byte {
		z, err := zstd.NewWriter(nil, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return z.EncodeAll(bytes.Repeat([]byte("caisse"), 1000), nil)
	}
	stream := func(n int, opts ...zstd.EOption) []byte {
		var out bytes.Buffer
		z, err := zstd.NewWriter(&out, opts...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(rows(n, 1)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	good := frame()
	skippable := []byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc")
	for _, tc := range []struct {
		name string
		in   []byte
		want string // empty: it is accepted
	}{
		{"small", good, ""},
		{"stream", stream(300 << 10), ""},
		{"incompressible", stream(0, zstd.WithEncoderLevel(zstd.SpeedFastest)), ""},
		{"window of 8 MiB", stream(300<<10, zstd.WithWindowSize(8<<20)), ""},
		{"window of 16 MiB", stream(300<<10, zstd.WithWindowSize(16<<20)), "window of 16777216 bytes"},
		{"no checksum", frame(zstd.WithEncoderCRC(false)), "without a checksum"},
		{"dictionary", frame(zstd.WithEncoderDictRaw(7, []byte("caissecaisse"))), "with a dictionary"},
		{"empty file", nil, "cut"},
		{"two frames", join(good, good), "after the end"},
		{"empty frame behind", join(good, frame()[:0], []byte("\x28\xb5\x2f\xfd")), "after the end"},
		{"skippable frame in front", join(skippable, good), "skippable"},
		{"skippable frame behind", join(good, skippable), "after the end"},
		{"skippable frame alone", skippable, "skippable"},
		{"padding frame", frame(zstd.WithEncoderPadding(4096)), "after the end"},
		{"one byte behind", join(good, []byte{0}), "after the end"},
		{"checksum cut", good[:len(good)-1], "cut"},
		{"gzip", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00"), "not a zstd frame"},
		{"old zstd", []byte("\x27\xb5\x2f\xfd\x00\x00\x00\x00"), "not a zstd frame"},
		{"reserved bit", []byte("\x28\xb5\x2f\xfd\x0c\x00"), "reserved"},
		{"unused bit", []byte("\x28\xb5\x2f\xfd\x14\x00"), "unused"},
		{"reserved block", []byte("\x28\xb5\x2f\xfd\x04\x60\x07\x00\x00"), "reserved type"},
		{"block too large", []byte("\x28\xb5\x2f\xfd\x04\x60\x09\x00\x10"), "larger than its window"},
		{"block larger than the window", []byte("\x28\xb5\x2f\xfd\x24\x10\xfc\x00\x00"), "larger than its window"},
		{"segment of 9 MiB", []byte("\x28\xb5\x2f\xfd\xa4\x00\x00\x90\x00"), "window of 9437184 bytes"},
		{"content of 2^63", []byte("\x28\xb5\x2f\xfd\xc4\x60\x00\x00\x00\x00\x00\x00\x00\x80"), "2^63"},
		{"largest window", []byte("\x28\xb5\x2f\xfd\x04\xff"), "window of"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := walk(tc.in, len(tc.in)); tc.want == "" && got != nil || tc.want != "" && (got == nil || !strings.Contains(got.Error(), tc.want)) {
				t.Errorf("error %v, want %q", got, tc.want)
			}
			for step := 1; step < min(len(tc.in), 20); step++ {
				if got, want := walk(tc.in, step), walk(tc.in, len(tc.in)); (got == nil) != (want == nil) {
					t.Errorf("in steps of %d: %v, want %v", step, got, want)
				}
			}
		})
	}
}

// walk feeds b in pieces of step bytes.
func walk(b []byte, step int) error {
	w := newWalker()
	for len(b) > 0 {
		n := min(step, len(b))
		_, _ = w.Write(b[:n])
		b = b[n:]
	}
	return w.finish()
}

// TestCheckOrder: what the manifest says comes first, what the file says of
// itself last.
func TestCheckOrder(t *testing.T) {
	archive, sum := write(t, small)
	of := func(b []byte, tarSize int64) Sum {
		d := sha256.Sum256(b)
		return Sum{int64(len(b)), hex.EncodeToString(d[:]), tarSize}
	}
	junk := []byte("junk")
	for _, tc := range []struct {
		name string
		in   []byte
		sum  Sum
		want string
	}{
		{"right", archive, sum, ""},
		{"junk", junk, sum, "has 4 bytes"},
		{"short", archive[:10], sum, "has 10 bytes"},
		{"long", append(bytes.Clone(archive), 0), sum, "longer"},
		{"digest", archive, Sum{sum.Size, strings.Repeat("0", 64), sum.TarSize}, "SHA-256"},
		{"upper case digest", archive, Sum{sum.Size, strings.ToUpper(sum.SHA256), sum.TarSize}, "SHA-256"},
		{"signed junk", junk, of(junk, 0), "not a zstd frame"},
		{"signed nothing", nil, of(nil, 0), "cut"},
		{"signed frames", bytes.Repeat(archive, 2), of(bytes.Repeat(archive, 2), sum.TarSize), "after the end"},
		{"claimed size", archive, of(archive, sum.TarSize+512), "claims"},
		{"negative size", archive, Sum{-1, sum.SHA256, 0}, "longer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := Check(bytes.NewReader(tc.in), tc.sum)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// TestWalkStockFrames: what the stock tool writes is accepted, when it is
// asked for what we want.
func TestWalkStockFrames(t *testing.T) {
	tool := stock(t, "zstd")
	in := rows(400<<10, 1)
	for _, level := range []string{"-1", "-3", "-9", "-19", "-3 --zstd=wlog=23"} {
		cmd := exec.Command(tool, append(strings.Fields(level), "--check", "-c")...)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if err := walk(out, len(out)); err != nil {
			t.Errorf("zstd %s: %v", level, err)
		}
	}
}
