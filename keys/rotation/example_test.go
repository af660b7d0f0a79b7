package rotation_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

// A ceremony: two roots are made, they sign whom they trust, and a till that
// knows version 1 finds version 2 on the drop.
func Example() {
	dir, err := os.MkdirTemp("", "roots")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	signer := map[string]keys.Signer{}
	line := func(name string) string {
		path := filepath.Join(dir, name)
		pub, err := keys.Generate(path, name)
		if err != nil {
			panic(err)
		}
		if signer[name], err = keys.Load(path, nil); err != nil {
			panic(err)
		}
		return keys.AuthorizedLine(pub, "")
	}
	d := &rotation.Document{
		Format: rotation.Format, Dossier: "ACME", Version: 1, Previous: rotation.NoPrevious(),
		Created: time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC), Threshold: 2,
		Roots: []rotation.Root{{Principal: "root-1@acme", Key: line("root-1")}, {Principal: "root-2@acme", Key: line("root-2")}},
		Keys:  []rotation.Grant{{Principal: "server@acme", Namespaces: rotation.May("server@acme"), Key: line("server")}},
	}
	sign := func(doc []byte, names ...string) (list []rotation.Signature) {
		for _, n := range names {
			sig, err := signer[n].Sign(doc, keys.NamespaceTrust)
			if err != nil {
				panic(err)
			}
			list = append(list, rotation.Signature{File: n, Data: sig})
		}
		return list
	}
	doc, err := d.Encode()
	if err != nil {
		panic(err)
	}
	empty, _ := keys.ParseAllowedSigners("allowed_signers", nil)
	trust, _, err := rotation.Begin(empty, doc, sign(doc, "root-1", "root-2"))
	if err != nil {
		panic(err)
	}
	fmt.Println("version", trust.Block("ACME").Version)

	// Another key follows the server's, which stays good up to batch 120.
	next := rotation.Draft(trust.Block("ACME"))
	next.Created = d.Created.Add(time.Hour)
	next.Keys = append(next.Keys, rotation.Grant{Principal: "server@acme", Namespaces: rotation.May("server@acme"), Key: line("server-2")})
	next.Retired = []keys.Limit{{Principal: "server@acme", Key: rotation.Fingerprint(d.Keys[0].Key), Stream: "ACME/down", Sequence: 120}}
	if doc, err = next.Encode(); err != nil {
		panic(err)
	}
	_, _, err = rotation.Advance(trust, "ACME", doc, sign(doc, "root-1"))
	fmt.Println(err)
	trust, _, err = rotation.Advance(trust, "ACME", doc, sign(doc, "root-1", "root-2"))
	fmt.Println("version", trust.Block("ACME").Version, err)
	old := rotation.Fingerprint(d.Keys[0].Key)
	fmt.Println(trust.Batch(old, "ACME/down", 120) == nil, trust.Batch(old, "ACME/down", 121) == nil)
	// Output:
	// version 1
	// 0000000002.json: refused (rule T8): 1 of version 1's roots have signed it, and 2 are needed (root-1@acme)
	// version 2 <nil>
	// true false
}
