//go:build unix

package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"testing"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/postgres"
	"caisseauto/internal/postgres/pgtest"
	"caisseauto/manifest"
)

// A printer is a change.Sink that prints what comes.
type printer struct{ w io.Writer }

func (p printer) Start(h change.Header) error {
	_, err := fmt.Fprintf(p.w, "%s", change.AppendHeader(nil, h))
	return err
}

func (p printer) Row(line []byte) error {
	_, err := p.w.Write(line)
	return err
}

// The way of changes out of a database, as the seal engine drives it.
func Example() { tutorial(os.Getenv("ERP_DSN"), os.Stdout) }

func tutorial(dsn string, w io.Writer) {
	ctx := context.Background()
	c := postgres.NewCapture(map[string]database.SourceConfig{
		"ACME/down": {Tables: []database.TableConfig{{Name: "article", DossierColumn: "dossier", Dossier: "ACME", Columns: true}}},
	})
	if err := c.Install(ctx, dsn, postgres.SourceOptions{}); err != nil {
		log.Fatal(err)
	}
	src := postgres.NewSource(dsn, c, postgres.SourceOptions{})
	defer src.Close()

	for sequence := int64(1); sequence <= 2; sequence++ {
		x, err := src.Read(ctx, "ACME/down", false, printer{w})
		if err != nil {
			log.Fatal(err)
		}
		// The number belongs to this content before anything is signed …
		p := manifest.Pending{Position: manifest.Position{Epoch: 1, Sequence: sequence, Digest: "of the manifest"}, Kind: x.Kind, Cursor: x.Cursor}
		if err := src.Reserve(ctx, "ACME/down", p); err != nil {
			log.Fatal(err)
		}
		// … and the cursor moves when it is published.
		if err := src.Publish(ctx, "ACME/down", p); err != nil {
			log.Fatal(err)
		}
		fmt.Fprintf(w, "batch %d: %s\n", sequence, x.Kind)
		if sequence == 1 {
			theERPWorks(dsn)
		}
	}
}

// theERPWorks is set to what the ERP does between the two batches.
var theERPWorks = func(string) {}

func TestExample(t *testing.T) {
	dsn := pgtest.Get(t).NewDatabase(t, `CREATE TABLE article(code text PRIMARY KEY, dossier text, label text, price numeric(10,2));
		INSERT INTO article VALUES ('A1', 'ACME', 'Pâte', 3.10), ('A2', 'ACME', 'Café', 5.00), ('B1', 'BETA', 'Thé', 4.00)`)
	theERPWorks = func(dsn string) {
		pgtest.Exec(t, dsn, "UPDATE article SET price = price + 0.5 WHERE code <> 'A2'; DELETE FROM article WHERE code = 'A2'")
	}
	var b bytes.Buffer
	tutorial(dsn, &b)
	const want = `{"table":"article","op":"upsert","columns":["code","dossier","label","price"]}
["A1","ACME","Pâte","3.10"]
["A2","ACME","Café","5.00"]
batch 1: baseline
{"table":"article","op":"patch","columns":["code","price"]}
["A1","3.60"]
{"table":"article","op":"delete","columns":["code"]}
["A2"]
batch 2: delta
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
