package collect_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"caisseauto/internal/change"
	"caisseauto/internal/collect"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// One batch of a till, of which the database does not take a ticket: that one
// waits, whole, and the other is in. PostgreSQL's driver does the same.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "collect")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "erp.db")
	erp(path, "CREATE TABLE ticket(dossier TEXT, caisse TEXT, numero INTEGER, total INTEGER CHECK (total < 1000), PRIMARY KEY(dossier, caisse, numero))")

	// What the dossier takes from its tills; the till's column, its numbers
	// without gaps and the key are found in the schema.
	capture := sqlite.NewCapture(map[string]database.SourceConfig{"ACME/down": {Uploads: []database.UploadConfig{
		{Name: "ticket", Mode: manifest.Append, DossierColumn: "dossier", Dossier: "ACME", Totals: []string{"total"}}}}})
	c, err := sqlite.OpenCollector(path, capture, sqlite.CollectOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Init(ctx); err != nil {
		log.Fatal(err)
	}

	m := &manifest.Manifest{Stream: "ACME/up/017", Epoch: 1, Sequence: 1, Previous: strings.Repeat("0", 64), Kind: manifest.Delta, Created: time.Now(),
		Tables: []manifest.Table{{Name: "ticket", Scope: manifest.Changes, Key: []string{"dossier", "caisse", "numero"},
			Columns: []manifest.Column{{Name: "dossier", Type: "TEXT"}, {Name: "caisse", Type: "TEXT"}, {Name: "numero", Type: "INTEGER"}, {Name: "total", Type: "INTEGER"}}}},
		Totals: []manifest.Total{{Table: "ticket", Rows: "2", Sums: []manifest.Sum{{Column: "total", Sum: "5350"}}, Numbers: []string{"1-2"}}}}
	member := `{"table":"ticket","op":"upsert","columns":["dossier","caisse","numero","total"]}
["ACME","017",1,350]
["ACME","017",2,5000]
`
	r, err := change.NewMemberReader(bytes.NewReader([]byte(member)))
	if err != nil {
		log.Fatal(err)
	}
	res, err := c.Apply(ctx, m, manifest.Position{Epoch: 1, Sequence: 1, Digest: strings.Repeat("a", 64)}, r)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("inserted", res.Inserted, "quarantined", res.Quarantined)

	units, err := c.Quarantine(ctx, collect.UnitFilter{})
	if err != nil {
		log.Fatal(err)
	}
	for _, u := range units {
		fmt.Println(u.Table, u.Key, u.Reason)
	}
	receipt, _, err := c.Receipt(ctx, "ACME/up/017")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("receipt: batch", receipt.Sequence, "rows waiting", receipt.Waiting)
	// Output:
	// inserted 1 quarantined 1
	// ticket ["ACME","017",2] table "ticket", row "dossier"='ACME' "caisse"='017' "numero"=2: CHECK constraint failed: total < 1000
	// receipt: batch 1 rows waiting 1
}

func erp(path, sql string) {
	c, err := sqlite3.Open(path, sqlite3.Create)
	if err == nil {
		defer c.Close()
		err = c.Exec(sql)
	}
	if err != nil {
		log.Fatal(err)
	}
}
