package exporter_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"caisseauto/exporter"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// A server seals its first batch, and then a change of price.
func Example() {
	dir, err := os.MkdirTemp("", "server")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	db := filepath.Join(dir, "erp.db")
	change(db, "CREATE TABLE article(code TEXT PRIMARY KEY NOT NULL, label TEXT, price INTEGER)")
	change(db, "INSERT INTO article VALUES('A1', 'Café', 275), ('A2', 'Thé', 199)")
	capture := sqlite.NewCapture(map[string]database.SourceConfig{
		"ACME/down": {Tables: []database.TableConfig{{Name: "article", Columns: true}}},
	})
	if err := capture.Install(ctx, db, sqlite.SourceOptions{}); err != nil {
		log.Fatal(err)
	}

	public, err := keys.Generate(filepath.Join(dir, "key"), "server@acme")
	if err != nil {
		log.Fatal(err)
	}
	signer, err := keys.Load(filepath.Join(dir, "key"), nil)
	if err != nil {
		log.Fatal(err)
	}
	trust, err := keys.ParseAllowedSigners("allowed_signers", []byte(keys.AllowedLine([]string{"server@acme"}, nil, public, "")))
	if err != nil {
		log.Fatal(err)
	}

	e := &exporter.Exporter{
		Source: sqlite.NewSource(db, capture, sqlite.SourceOptions{}), Stream: manifest.StreamDown("ACME"),
		Outbox: filepath.Join(dir, "outbox"), Signer: signer, Principal: "server@acme", Trust: trust,
	}
	for range 3 {
		r, err := e.Run(ctx, exporter.Options{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("batch %d, sealed now: %t, %d rows\n", r.Position.Sequence, r.Sealed, r.Rows)
		if r.Kind == manifest.Baseline {
			change(db, "UPDATE article SET price = 285 WHERE code = 'A1'")
		}
	}
	// Output:
	// batch 1, sealed now: true, 2 rows
	// batch 2, sealed now: true, 1 rows
	// batch 2, sealed now: false, 0 rows
}

func change(path, sql string) {
	c, err := sqlite3.Open(path, sqlite3.Create)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec(sql); err != nil {
		log.Fatal(err)
	}
}
