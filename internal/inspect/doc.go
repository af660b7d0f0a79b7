// Package inspect shows what is in sealed batches, and finds in which of them a
// row appears, without a database and without a private key.
//
// [Local] finds the streams under a path, [Inspector.List] the newest batches
// of one, [Inspector.Open] verifies a manifest, [Inspector.Tables] and
// [Inspector.Rows] read its archive:
//
//	in := &inspect.Inspector{Trust: trust, Contents: importer.ReadContents}
//	places, err := inspect.Local("drop/ACME/down/0000000042", "")
//	…
//	b, err := in.Open(ctx, places[0], places[0].Only)
//	…
//	err = in.Rows(ctx, b, "article", key, func(r inspect.Row) error {
//		fmt.Printf("%s %s\n", r.Op, r.AppendText(nil))
//		return nil
//	})
//
// The batches of the stream of packages have files in place of tables and rows:
// [Inspector.File] prints one.
//
// [Inspector.Find] looks through all batches of many streams: the history of
// one article, or of one ticket.
//
//	key, err := inspect.ParseKey("3017620422003")
//	…
//	found, err := in.Find(ctx, places, "article", key, func(h inspect.Hit) error {
//		fmt.Println(h.Stream, h.Sequence, h.Row.Op)
//		return nil
//	})
//
// Nothing is parsed before it is verified: the signature over the manifest,
// then size and SHA-256 of the archive, then every member's digest. Who has no
// list of trusted keys (Trust gives nil) can look all the same: everything but
// who signed is checked then, with the key that the signature itself brings
// along, and [Batch.Trusted] says so. There is no third way.
//
// Memory is bounded whatever the folders hold. What Find could not look into is
// never passed over silently: see [Found].
package inspect
