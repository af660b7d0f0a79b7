package inspect_test

import (
	"context"
	"fmt"
	"log"

	"caisseauto/importer"
	"caisseauto/internal/inspect"
	"caisseauto/keys"
)

func Example() {
	ctx := context.Background()
	trust, err := keys.LoadTrust("../../testdata/vectors/allowed_signers")
	if err != nil {
		log.Fatal(err)
	}
	in := &inspect.Inspector{Trust: func(string) *keys.Trust { return trust }, Contents: importer.ReadContents}

	// One batch, by its number.
	places, err := inspect.Local("../../testdata/vectors/good/ACME/down/0000000002", "")
	if err != nil {
		log.Fatal(err)
	}
	b, err := in.Open(ctx, places[0], places[0].Only)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Manifest.Stream, b.Manifest.Sequence, b.Manifest.Kind, b.Manifest.Signer, b.Trusted)
	err = in.Rows(ctx, b, "article", inspect.Key{}, func(r inspect.Row) error {
		fmt.Printf("%s %s\n", r.Op, r.AppendText(nil))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	// The history of one article, over everything that is there.
	places, err = inspect.Local("../../testdata/vectors/good", "")
	if err != nil {
		log.Fatal(err)
	}
	key, err := inspect.ParseKey("3017620422003")
	if err != nil {
		log.Fatal(err)
	}
	found, err := in.Find(ctx, places, "article", key, func(h inspect.Hit) error {
		fmt.Printf("%s", h.AppendJSON(nil))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(found.Hits, found.Unsearched)
	// Output:
	// ACME/down 2 delta server@acme true
	// upsert code="3560070462520" label="Thé vert" price=425 vat="R"
	// patch code="3017620422003" price=359
	// patch code="3270190207924" price=590
	// delete code="3124480183927"
	// {"stream":"ACME/down","epoch":1,"sequence":1,"kind":"baseline","created":"2026-03-01T06:05:00Z","signer":"server@acme","trusted":true,"table":"article","op":"upsert","row":{"code":"3017620422003","label":"Pâte à tartiner 400 g","price":349,"vat":"N"}}
	// {"stream":"ACME/down","epoch":1,"sequence":2,"kind":"delta","created":"2026-03-01T06:10:00Z","signer":"server@acme","trusted":true,"table":"article","op":"patch","row":{"code":"3017620422003","price":359}}
	// 2 []
}
