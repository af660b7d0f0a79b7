package sqlite

import (
	"encoding/binary"
	"errors"
	"math"

	"caisseauto/internal/change"
)

// The stage's own encoding of rows. It never leaves the process that wrote
// it, so it has no version and no length of its own.

// appendRow adds a row to buf.
func appendRow(buf []byte, row []change.Value) []byte {
	for i := range row {
		v := &row[i]
		buf = append(buf, byte(v.Kind))
		switch v.Kind {
		case change.Integer:
			buf = binary.AppendVarint(buf, v.Int)
		case change.Real:
			buf = binary.LittleEndian.AppendUint64(buf, math.Float64bits(v.Real))
		case change.Text, change.Blob:
			buf = binary.AppendUvarint(buf, uint64(len(v.Bytes)))
			buf = append(buf, v.Bytes...)
		}
	}
	return buf
}

var errStage = errors.New("the stage file is damaged; nothing was applied; run the import again")

// decodeRow reads a row of n values, which borrow buf, and returns the rest.
func decodeRow(row []change.Value, buf []byte, n int) ([]change.Value, []byte, error) {
	for range n {
		if len(buf) == 0 {
			return row, nil, errStage
		}
		v := change.Value{Kind: change.Kind(buf[0])}
		buf = buf[1:]
		used := 0
		switch v.Kind {
		case change.Null:
		case change.Integer:
			if v.Int, used = binary.Varint(buf); used <= 0 {
				return row, nil, errStage
			}
		case change.Real:
			if len(buf) < 8 {
				return row, nil, errStage
			}
			v.Real, used = math.Float64frombits(binary.LittleEndian.Uint64(buf)), 8
		case change.Text, change.Blob:
			size, k := binary.Uvarint(buf)
			if k <= 0 || size > uint64(len(buf)-k) {
				return row, nil, errStage
			}
			used = k + int(size)
			v.Bytes = buf[k:used:used]
		default:
			return row, nil, errStage
		}
		buf = buf[used:]
		row = append(row, v)
	}
	return row, buf, nil
}

// appendKey adds a key to buf so that no two keys give the same bytes, and
// that keys in order give bytes nearly in order: they go into a B-tree.
func appendKey(buf []byte, key []change.Value) []byte {
	for i := range key {
		v := &key[i]
		buf = append(buf, byte(v.Kind))
		switch v.Kind {
		case change.Integer:
			buf = binary.BigEndian.AppendUint64(buf, uint64(v.Int)^1<<63)
		case change.Real:
			buf = binary.BigEndian.AppendUint64(buf, math.Float64bits(v.Real))
		case change.Text, change.Blob:
			for _, c := range v.Bytes {
				if buf = append(buf, c); c == 0 {
					buf = append(buf, 0xff)
				}
			}
			buf = append(buf, 0, 0)
		}
	}
	return buf
}
