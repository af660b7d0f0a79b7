package sqlite_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"caisseauto/internal/change"
	"caisseauto/internal/database"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/manifest"
)

// printer shows what it is given; the seal engine packs it instead.
type printer struct{}

func (printer) Start(h change.Header) error {
	fmt.Print(string(change.AppendHeader(nil, h)))
	return nil
}

func (printer) Row(line []byte) error {
	fmt.Print(string(line))
	return nil
}

func Example() {
	if err := example(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// baseline
	// {"table":"article","op":"upsert","columns":["code","label","price"]}
	// ["3017620422003","Pâte à tartiner 400 g",349]
	// ["3068320055008","Eau minérale 1 l",65]
	// delta
	// {"table":"article","op":"patch","columns":["code","price"]}
	// ["3017620422003",379]
	// {"table":"article","op":"delete","columns":["code"]}
	// ["3068320055008"]
}

func example() error {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "erp.db")
	erp, err := sqlite3.Open(path, sqlite3.Create)
	if err != nil {
		return err
	}
	defer erp.Close()
	err = erp.Exec(`CREATE TABLE article(code TEXT PRIMARY KEY NOT NULL, label TEXT, price INTEGER);
		INSERT INTO article VALUES('3017620422003', 'Pâte à tartiner 400 g', 349), ('3068320055008', 'Eau minérale 1 l', 65)`)
	if err != nil {
		return err
	}

	c := sqlite.NewCapture(map[string]database.SourceConfig{
		"ACME/down": {Tables: []database.TableConfig{{Name: "article", Columns: true}}},
	})
	if err := c.Install(ctx, path, sqlite.SourceOptions{}); err != nil {
		return err
	}
	source := sqlite.NewSource(path, c, sqlite.SourceOptions{})
	if err := batch(ctx, source, 1); err != nil {
		return err
	}
	if err := erp.Exec("UPDATE article SET price = 379 WHERE price = 349; DELETE FROM article WHERE price = 65"); err != nil {
		return err
	}
	return batch(ctx, source, 2)
}

// batch does what the seal engine does, without archive and signature.
func batch(ctx context.Context, source *sqlite.Source, number int64) error {
	stand, err := source.Stand(ctx, "ACME/down")
	if err != nil {
		return err
	}
	first := stand.Last.IsZero()
	if first {
		fmt.Println("baseline")
	} else {
		fmt.Println("delta")
	}
	x, err := source.Read(ctx, "ACME/down", first, printer{})
	if err != nil {
		return err
	}
	p := manifest.Pending{
		Position: manifest.Position{Epoch: 1, Sequence: number, Digest: "the manifest's SHA-256"},
		Kind:     x.Kind, Cursor: x.Cursor,
	}
	if err := source.Reserve(ctx, "ACME/down", p); err != nil {
		return err
	}
	return source.Publish(ctx, "ACME/down", p)
}
