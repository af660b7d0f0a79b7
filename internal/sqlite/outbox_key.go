package sqlite

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"caisseauto/internal/change"
)

// foldKey returns a key as a JSON array, so that two keys which are one to the
// table are the same text: 'A' and 'a' where the index compares so, and "12"
// and 12 where the column makes one of the other.
func foldKey(t *Table, key []IndexColumn, row []change.Value) string {
	list := make([]change.Value, len(row))
	for i, v := range row {
		list[i] = foldValue(v, affinityOf(t.Column(key[i].Name).Type), key[i].Collation)
	}
	return string(change.AppendRow(nil, list))
}

func foldValue(v change.Value, a affinityKind, collation string) change.Value {
	numeric := a == affinityInteger || a == affinityNumeric || a == affinityReal
	if v.Kind == change.Text && numeric {
		text := strings.TrimSpace(string(v.Bytes))
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			v = change.Value{Kind: change.Integer, Int: n}
		} else if f, err := strconv.ParseFloat(text, 64); err == nil {
			v = change.Value{Kind: change.Real, Real: f}
		}
	}
	const exact = 1 << 53
	if v.Kind == change.Real && v.Real == math.Trunc(v.Real) && math.Abs(v.Real) < exact {
		v = change.Value{Kind: change.Integer, Int: int64(v.Real)}
	}
	if v.Kind == change.Integer && a == affinityText {
		v = change.Value{Kind: change.Text, Bytes: strconv.AppendInt(nil, v.Int, 10)}
	}
	if v.Kind == change.Text {
		switch strings.ToUpper(collation) {
		case "NOCASE":
			v.Bytes = []byte(foldName(string(v.Bytes)))
		case "RTRIM":
			v.Bytes = bytes.TrimRight(v.Bytes, " ")
		}
	}
	return v
}
