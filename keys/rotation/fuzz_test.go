package rotation

import (
	"bytes"
	"testing"

	"caisseauto/keys"
)

// FuzzDocuments: whatever is read encodes to the same bytes, and makes a block
// that is read again as it was written.
func FuzzDocuments(f *testing.F) {
	w := newWorld(f)
	one := w.begun()
	d := w.after(one.Block("ACME"))
	d.Keys = append(d.Keys, w.server("server-2"), Grant{"release@acme", releaseMay, w.text("release")})
	d.Retired = []keys.Limit{{Principal: "server@acme", Key: w.fingerprint("server"), Stream: "ACME/down", Sequence: 7}}
	d.Revoked = []keys.Limit{{Principal: "release@acme", Key: w.fingerprint("release"), Stream: "ACME/packages", Sequence: 1}}
	f.Add(w.encode(w.first()), false)
	f.Add(w.encode(d), false)
	f.Add(w.raw(w.tills(one.Block("ACME"), w.till("017", "till-017")).filled()), true)
	f.Add([]byte("{}"), true)
	empty := w.empty()
	f.Fuzz(func(t *testing.T, doc []byte, tills bool) {
		var b *keys.Block
		var again []byte
		if tills {
			l, r := parseTills(doc)
			if r != nil {
				return
			}
			again, _ = l.Encode()
			b = one.Block("ACME")
			b.Dossier, b.TillsVersion, b.TillsDigest = l.Dossier, l.Version, keys.Digest(doc)
			b.Tills, b.TillsRetired, b.TillsRevoked = grantLines(l.Keys), l.Retired, l.Revoked
			b.Retired, b.Revoked = nil, nil
		} else {
			d, err := Parse("x", doc)
			if err != nil {
				return
			}
			again, _ = d.Encode()
			b = blockOf(d, doc, nil)
		}
		if !bytes.Equal(again, doc) {
			t.Fatalf("read\n%s\nwritten\n%s", doc, again)
		}
		trust, err := empty.WithBlock(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := trust.Block(b.Dossier); !bytes.Equal(got.Text(), b.Text()) {
			t.Fatalf("written\n%s\nread\n%s", b.Text(), got.Text())
		}
	})
}
