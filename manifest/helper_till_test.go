package manifest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"caisseauto/keys"
	"caisseauto/manifest"
)

const incarnation = "00112233445566778899aabbccddeeff"

// uploads are those of a shop: tickets with lines, customers both ways.
func uploads() []manifest.Upload {
	list := []manifest.Upload{
		{Table: "ticket", Mode: manifest.Append, Key: []string{"dossier", "caisse", "numero"}, Dossier: "dossier", Till: "caisse", Number: "numero",
			Sums: []string{"total"}, Link: nil},
		{Table: "ligne", Mode: manifest.Append, Key: []string{"dossier", "caisse", "numero", "rang"}, Dossier: "dossier", Till: "caisse",
			Parent: "ticket", Link: []string{"dossier", "caisse", "numero"}},
		{Table: "client", Mode: manifest.Both, Key: []string{"dossier", "code"}, Dossier: "dossier"},
		{Table: "parametre", Mode: manifest.Replace, Key: []string{"nom"}, Till: "caisse"},
	}
	for i := range list {
		list[i].Columns = uploadColumns(&list[i])
	}
	return list
}

// uploadColumns returns what an upload names, each once, and one more column.
func uploadColumns(u *manifest.Upload) (columns []manifest.Column) {
	for _, name := range slices.Concat(u.Key, []string{u.Dossier, u.Till, u.Number}, u.Sums, u.Link, []string{"autre"}) {
		c := manifest.Column{Name: name, Type: "TEXT"}
		if name != "" && !slices.Contains(columns, c) {
			columns = append(columns, c)
		}
	}
	return columns
}

// columnText returns how a column stands in the encoding of uploads.
func columnText(name string) string {
	return fmt.Sprintf("        {\n          \"name\": %q,\n          \"type\": \"TEXT\"", name)
}

// terms returns a good delta that says nothing but what tills are to send.
func terms() *manifest.Manifest {
	m := delta()
	m.Tables, m.Members, m.Integrated, m.Uploads = nil, nil, 7, uploads()
	m.Archive.TarSize = manifest.TarSize(nil)
	return m
}

// tickets returns a good manifest of a till.
func tickets() *manifest.Manifest {
	m := delta()
	m.Stream, m.Signer, m.Incarnation = "ACME/up/017", "till-017@acme", incarnation
	m.Tables[1].Scope = manifest.Changes
	m.Totals = []manifest.Total{
		{Table: "article", Rows: "4", Sums: []manifest.Sum{{Column: "price", Sum: "1290"}, {Column: "weight", Sum: "-12.5"}}, Numbers: []string{"1-1000", "1003"}},
		{Table: "Prix <é>", Rows: "1"},
	}
	m.Applied = &manifest.StreamPosition{Stream: "ACME/down", Epoch: 1, Sequence: 9, Digest: digest("b")}
	return m
}

// tillHead returns the good head of a till.
func tillHead() *manifest.Head {
	h := head()
	h.Stream, h.Baseline = "ACME/up/017", 0
	h.Till = &manifest.TillState{
		Applied:     &manifest.StreamPosition{Stream: "ACME/down", Epoch: 1, Sequence: 9, Digest: digest("b")},
		Incarnation: incarnation, Host: "caisse-3", Version: "v1.2.3", Waiting: 12, OldestWaiting: noon.Add(-time.Hour),
		FreeBytes: 1 << 30, Alarms: []string{"the drop refuses the key"},
	}
	return h
}

// receipt returns a good one.
func receipt() *manifest.Receipt {
	return &manifest.Receipt{
		Format: manifest.ReceiptFormat, Stream: "ACME/up/017", Signer: "server@acme", Epoch: 1, Sequence: 42, Digest: digest("a"),
		Incarnation: incarnation, Issue: 77, Issued: noon, Integrated: 1234, Totals: tickets().Totals, Waiting: 3, Discarded: 1,
		Held: []manifest.Held{
			{Sequence: 41, Table: "article", Key: `["017",12]`, Rows: 2, Reason: "another row of this key is there"},
			{Sequence: 40, Rows: 1, Reason: "rows that are none", Closed: "typed in by hand"},
		},
	}
}

func (w *world) openReceipt(t testing.TB, s keys.Signer, doc []byte) (*manifest.Receipt, error) {
	t.Helper()
	return manifest.OpenReceipt("017.json", "ACME/up/017", doc, sign(t, s, doc, keys.NamespaceReceipt), w.trust)
}
