package change_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"

	"caisseauto/internal/change"
)

func Example() {
	// A writer.
	member := change.AppendHeader(nil, change.Header{
		Table: "article", Op: change.Upsert, Columns: []string{"code", "label", "price", "weight", "photo"},
	})
	member = change.AppendRow(member, []change.Value{
		{Kind: change.Text, Bytes: []byte("3017620422003")},
		{Kind: change.Text, Bytes: []byte("Pâte à tartiner \"400 g\"")},
		{Kind: change.Integer, Int: 349},
		{Kind: change.Real, Real: 1},
		{},
	})
	fmt.Printf("%s", member)

	// A reader, which decodes in the background.
	m, err := change.NewMemberReader(bytes.NewReader(member))
	if err != nil {
		log.Fatal(err)
	}
	pipe := change.NewPipe(context.Background(), 3, m.Fill)
	defer pipe.Close()
	for {
		b, err := pipe.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		for i := range b.Rows() {
			row := b.Row(i)
			fmt.Printf("%s %s: %s costs %d\n", b.Header.Op, b.Header.Table, row[1].Bytes, row[2].Int)
		}
	}
	// Output:
	// {"table":"article","op":"upsert","columns":["code","label","price","weight","photo"]}
	// ["3017620422003","Pâte à tartiner \"400 g\"",349,1.0,null]
	// upsert article: Pâte à tartiner "400 g" costs 349
}
