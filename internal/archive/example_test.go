package archive_test

import (
	"bytes"
	"fmt"
	"io"
	"log"

	"caisseauto/internal/archive"
)

func Example() {
	// The writer's side. What it returns goes into the manifest.
	var file bytes.Buffer
	w, err := archive.NewWriter(&file)
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort() // does nothing after Close
	body := append(w.Buffer(), `{"table":"tva","op":"upsert","columns":["code","taux"]}`+"\n"...)
	body = append(body, `["N",2000]`+"\n"...)
	m := archive.Member{Name: "data/tva.0001.ndjson", Size: int64(len(body))}
	if m.SHA256, err = w.Add(m.Name, body); err != nil {
		log.Fatal(err)
	}
	sum, err := w.Close()
	if err != nil {
		log.Fatal(err)
	}

	// The reader's side, with the manifest verified.
	if err := archive.Check(bytes.NewReader(file.Bytes()), sum); err != nil {
		log.Fatal(err)
	}
	r, err := archive.NewReader(bytes.NewReader(file.Bytes()), []archive.Member{m}, sum.TarSize)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	for {
		i, body, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		rows, err := io.ReadAll(body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("member %d of a tar of %d bytes:\n%s", i+1, sum.TarSize, rows)
	}
	// Output:
	// member 1 of a tar of 2048 bytes:
	// {"table":"tva","op":"upsert","columns":["code","taux"]}
	// ["N",2000]
}
