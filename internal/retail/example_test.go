package retail_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"caisseauto/internal/retail"
	"caisseauto/internal/sqlite/sqlite3"
)

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	conn, err := sqlite3.Open(filepath.Join(dir, "erp.db"), sqlite3.Create)
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	if err := retail.CreateSchema(conn); err != nil {
		panic(err)
	}
	rows, err := retail.Fill(context.Background(), conn, retail.Options{Articles: 100, Customers: 10})
	if err != nil {
		panic(err)
	}
	fmt.Println(rows, "rows")
	err = conn.Query("SELECT a.code, libelle, prix, ean FROM article a JOIN code_barre b ON b.article = a.code ORDER BY a.code, rang LIMIT 3", func(s *sqlite3.Stmt) error {
		fmt.Println(s.Text(0), s.Text(1), s.Int(2), s.Text(3))
		return nil
	})
	if err != nil {
		panic(err)
	}
	// Output:
	// 288 rows
	// 100001 Pâte à tartiner nature 100 g 899 3003874204892
	// 100001 Pâte à tartiner nature 100 g 899 3798874204897
	// 100002 Crème fraîche épaisse nature 100 g 1189 3017748409788
}
