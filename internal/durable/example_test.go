package durable_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"caisseauto/internal/durable"
)

// A writer publishes under a name once. The same again is fine, for the call
// before may have died after its work was done.
func Example() {
	dir, err := os.MkdirTemp("", "durable")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	unlock, err := durable.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		log.Fatal(err)
	}
	defer unlock()
	_, err = durable.Lock(filepath.Join(dir, "lock"))
	fmt.Println("locked:", errors.Is(err, durable.ErrLocked))

	batch := filepath.Join(dir, "0000000001.manifest.json")
	fmt.Println("first: ", durable.Create(batch, []byte("{}\n"), 0o640))
	fmt.Println("again: ", durable.Create(batch, []byte("{}\n"), 0o640))
	err = durable.Create(batch, []byte("[]\n"), 0o640)
	fmt.Println("other: ", errors.Is(err, durable.ErrDifferent))

	// A head is replaced, and never seen half.
	fmt.Println("head:  ", durable.WriteFile(filepath.Join(dir, "HEAD.json"), []byte("{}\n"), 0o640))
	// Output:
	// locked: true
	// first:  <nil>
	// again:  <nil>
	// other:  true
	// head:   <nil>
}
