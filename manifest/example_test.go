package manifest_test

import (
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"caisseauto/keys"
	"caisseauto/manifest"
)

// A key for examples and nothing else.
const serverKey = `-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACBRdyNR3NCziZMkI3Kn5MegGHkwKEtdLbfP1trDOoaW7QAAAJix7nd7se53
ewAAAAtzc2gtZWQyNTUxOQAAACBRdyNR3NCziZMkI3Kn5MegGHkwKEtdLbfP1trDOoaW7Q
AAAEBS+xT986Vf2uaYBa9S3brruvP4j05K1uF9/qbj+OKxl1F3I1Hc0LOJkyQjcqfkx6AY
eTAoS10tt8/W2sM6hpbtAAAAEmNhaXNzZWF1dG8gZXhhbXBsZQECAw==
-----END OPENSSH PRIVATE KEY-----
`

const allowedSigners = `server@acme namespaces="manifest@caisseauto,head@caisseauto" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFF3I1Hc0LOJkyQjcqfkx6AYeTAoS10tt8/W2sM6hpbt caisseauto example
`

func Example() {
	signer, err := keys.ParsePrivate("keys/server", []byte(serverKey), nil)
	if err != nil {
		log.Fatal(err)
	}
	trust, err := keys.ParseAllowedSigners("allowed_signers", []byte(allowedSigners))
	if err != nil {
		log.Fatal(err)
	}

	// The server seals its first batch: one table of one row.
	columns := []manifest.Column{{Name: "code", Type: "TEXT"}, {Name: "price", Type: "INTEGER"}}
	key := []string{"code"}
	members := []manifest.Member{{
		Name: manifest.MemberName("article", 1), Table: "article", Rows: 1, Size: 80,
		SHA256: strings.Repeat("a", 64),
	}}
	doc, sig, err := manifest.Seal(&manifest.Manifest{
		Format:   manifest.Format,
		Stream:   manifest.StreamDown("ACME"),
		Epoch:    1,
		Sequence: 1,
		Previous: manifest.NoPrevious(),
		Kind:     manifest.Baseline,
		Created:  time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC),
		Signer:   "server@acme",
		Archive: manifest.Archive{
			Name: manifest.FileName(1, manifest.ArchiveExt), Size: 400,
			SHA256: strings.Repeat("b", 64), TarSize: manifest.TarSize(members),
		},
		Tables: []manifest.Table{{
			Name: "article", Scope: manifest.Whole, Columns: columns, Key: key,
			Schema: manifest.Fingerprint(columns, key),
		}},
		Members: members,
	}, signer)
	if err != nil {
		log.Fatal(err)
	}

	// A till that has nothing yet opens it.
	m, position, err := manifest.Open("0000000001.manifest.json", "ACME/down", doc, sig, trust)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Stream, m.Sequence, m.Kind, "by", m.Signer)
	fmt.Println("next for a new till:", m.Follows(manifest.Position{}) == nil)

	// It is served again later.
	err = m.Follows(position)
	fmt.Println(errors.Is(err, manifest.ErrRefused), err)

	// One byte changes on the way.
	doc[len(doc)/2] ^= 1
	_, _, err = manifest.Open("0000000001.manifest.json", "ACME/down", doc, sig, trust)
	fmt.Println(errors.Is(err, manifest.ErrRefused), errors.Is(err, keys.ErrBadSignature))
	// Output:
	// ACME/down 1 baseline by server@acme
	// next for a new till: true
	// true ACME/down batch 1 (epoch 1): refused (rule P2): applied already; nothing to do
	// true true
}
