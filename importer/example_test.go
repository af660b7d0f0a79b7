package importer_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"caisseauto/importer"
	"caisseauto/keys"
)

// A till that has nothing yet takes the newest baseline and what follows it.
// The notebook stands where a till has its database.
func Example() {
	trust, err := keys.LoadTrust(filepath.Join(vectors, "allowed_signers"))
	if err != nil {
		log.Fatal(err)
	}
	inbox, err := os.MkdirTemp("", "inbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(inbox)
	if err := os.CopyFS(filepath.Join(inbox, "down"), os.DirFS(filepath.Join(vectors, "good/ACME/down"))); err != nil {
		log.Fatal(err)
	}

	i := &importer.Importer{
		Applier: &notebook{}, Stream: importer.Stream("ACME"), Inbox: filepath.Join(inbox, "down"), Trust: trust,
		Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) },
	}
	r, err := i.Run(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, b := range r.Batches {
		fmt.Printf("batch %d, %s: %d rows\n", b.Position.Sequence, b.Kind, b.Rows)
	}
	// Output:
	// batch 1, baseline: 5 rows
	// batch 2, delta: 4 rows
	// batch 3, delta: 14 rows
	// batch 4, baseline: 3 rows
	// batch 5, delta: 0 rows
}
