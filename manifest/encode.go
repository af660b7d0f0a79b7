package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"caisseauto/keys"
)

// What stands in the field "format".
const (
	Format        = "caisseauto/manifest/1"
	HeadFormat    = "caisseauto/head/1"
	ReceiptFormat = "caisseauto/receipt/1"
)

// Digest returns the SHA-256 of doc in lower-case hex, as it stands in
// previous, manifest_sha256 and [Position].
func Digest(doc []byte) string { return keys.Digest(doc) }

// Time returns t as the format writes times: UTC, whole seconds.
func Time(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// Encode returns the one encoding of m, which [Seal] signs. It refuses a
// manifest that [Open] would refuse.
func Encode(m *Manifest) ([]byte, error) {
	if r := checkManifest(m); r != nil {
		return nil, r.in("manifest")
	}
	doc, err := canonical(filled(m))
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	if len(doc) > MaxManifest {
		return nil, refuse("D1", "%d bytes, more than %d: seal fewer rows at a time", len(doc), MaxManifest).in("manifest")
	}
	return doc, nil
}

// EncodeHead returns the one encoding of h, which [SealHead] signs.
func EncodeHead(h *Head) ([]byte, error) {
	if r := checkHead(h); r != nil {
		return nil, r.in("head")
	}
	doc, err := canonical(headOf(h))
	if err != nil {
		return nil, fmt.Errorf("encode head: %w", err)
	}
	return doc, nil
}

// EncodeReceipt returns the one encoding of r, which [SealReceipt] signs.
func EncodeReceipt(r *Receipt) ([]byte, error) {
	if bad := checkReceipt(r); bad != nil {
		return nil, bad.in("receipt")
	}
	doc, err := canonical(filledReceipt(r))
	if err != nil {
		return nil, fmt.Errorf("encode receipt: %w", err)
	}
	if len(doc) > MaxReceipt {
		return nil, refuse("D1", "%d bytes, more than %d", len(doc), MaxReceipt).in("receipt")
	}
	return doc, nil
}

// canonical writes v in the one encoding of statements.
func canonical(v any) ([]byte, error) { return keys.EncodeStatement(v) }

// filled returns m with empty lists for missing ones, so that the encoding
// never has a null, and a null that was read does not encode to itself.
func filled(m *Manifest) *Manifest {
	c := *m
	c.Tables = append([]Table{}, m.Tables...)
	c.Members = append([]Member{}, m.Members...)
	for i := range c.Tables {
		t := &c.Tables[i]
		t.Columns = append([]Column{}, t.Columns...)
		t.Key = append([]string{}, t.Key...)
	}
	c.Uploads = slices.Clone(m.Uploads)
	for i := range c.Uploads {
		u := &c.Uploads[i]
		u.Key, u.Sums, u.Link = append([]string{}, u.Key...), append([]string{}, u.Sums...), append([]string{}, u.Link...)
		u.Exclude = append([]string{}, u.Exclude...)
		u.Columns = append([]Column{}, u.Columns...)
	}
	c.Totals = filledTotals(m.Totals)
	c.Package = filledPackage(m.Package)
	return &c
}

func filledTotals(totals []Total) []Total {
	c := slices.Clone(totals)
	for i := range c {
		t := &c[i]
		t.Sums, t.Numbers = append([]Sum{}, t.Sums...), append([]string{}, t.Numbers...)
	}
	return c
}

func filledReceipt(r *Receipt) *Receipt {
	c := *r
	c.Totals = append([]Total{}, filledTotals(r.Totals)...)
	c.Held = append([]Held{}, r.Held...)
	return &c
}

// Fingerprint returns the SHA-256 of a table's columns and key, in lower-case
// hex, of the compact JSON {"columns":[{"name":…,"type":…},…],"key":[…]}.
// Two databases whose fingerprints are equal have the same columns in the
// same order, of the same declared types.
func Fingerprint(columns []Column, key []string) string {
	v := struct {
		Columns []Column `json:"columns"`
		Key     []string `json:"key"`
	}{append([]Column{}, columns...), append([]string{}, key...)}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("manifest: strings that do not encode: " + err.Error()) // cannot happen: strings always do
	}
	return Digest(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// decode reads doc into v, and refuses every other encoding than the one of
// the format; see [keys.DecodeStatement].
func decode(doc []byte, v any, encode func() ([]byte, error)) *Refusal {
	err := keys.DecodeStatement(doc, v, encode)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, keys.ErrNotJSON):
		return refuse("D2", "%v", err)
	}
	return refuse("D3", "%v", err)
}
