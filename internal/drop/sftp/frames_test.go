package sftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"caisseauto/internal/drop"
)

// packet makes an SFTP packet.
func packet(kind byte, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(body)))
	return append(append(b, kind), body...)
}

// names makes the head of a NAME reply with n entries, and some filling.
func names(n uint32, filling int) []byte {
	body := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 1}, n)
	return packet(fxpName, append(body, make([]byte, filling)...)...)
}

func TestFrameReaderCounts(t *testing.T) {
	stream := bytes.Join([][]byte{
		packet(2), packet(103, make([]byte, 1000)...), names(3, 77), packet(101, 0, 0, 0, 1, 0, 0, 0, 0), packet(fxpName, 1, 2), names(4, 0), names(2, 500),
	}, nil)
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream)), "halves": iotest.HalfReader(bytes.NewReader(stream)),
	} {
		f := &frameReader{r: r, limit: 100, onExcess: func(err error) { t.Error(err) }}
		f.arm()
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, stream) {
			t.Errorf("%s: the stream was changed: %v", name, err)
		}
		if f.entries != 9 {
			t.Errorf("%s: %d entries, want 9", name, f.entries)
		}
	}
}

func TestFrameReaderLimit(t *testing.T) {
	stream := append(names(5, 10), names(6, 10)...)
	for _, limit := range []int{10, 11} {
		var excess error
		f := &frameReader{r: iotest.OneByteReader(bytes.NewReader(stream)), limit: limit, onExcess: func(err error) { excess = err }}
		f.arm()
		_, err := io.ReadAll(f)
		if want := limit < 11; errors.Is(err, drop.ErrTooMany) != want || errors.Is(excess, drop.ErrTooMany) != want {
			t.Errorf("limit %d: %v, %v", limit, err, excess)
		}
	}
	f := &frameReader{r: bytes.NewReader(stream), limit: 1, onExcess: func(err error) { t.Error(err) }}
	if _, err := io.ReadAll(f); err != nil {
		t.Errorf("not armed: %v", err)
	}
}

// Whatever a server sends, and however it is cut, passes unchanged and counts
// the same.
func FuzzFrameReader(f *testing.F) {
	f.Add(names(3, 20))
	f.Add(append(packet(103, 1, 2, 3), names(1<<31, 0)...))
	f.Add([]byte{0, 0, 0, 0, 104, 0, 0, 0, 1, 255, 255, 255, 255})
	f.Add([]byte{255, 255, 255, 255, 104, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		var entries [2]int64
		for i, r := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream))} {
			fr := &frameReader{r: r, limit: 1 << 62, onExcess: func(err error) { t.Fatal(err) }}
			fr.arm()
			got, err := io.ReadAll(fr)
			if err != nil || !bytes.Equal(got, stream) {
				t.Fatalf("changed: %v", err)
			}
			entries[i] = fr.entries
		}
		if entries[0] != entries[1] {
			t.Fatalf("%d entries at once, %d byte by byte", entries[0], entries[1])
		}
	})
}
