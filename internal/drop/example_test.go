package drop_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"caisseauto/internal/drop"
)

// A till fetches what the server has published. The second run finds nothing
// new.
func Example() {
	dir, err := os.MkdirTemp("", "drop")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	published := filepath.Join(dir, "drop", "ACME", "down")
	if err := os.MkdirAll(published, 0o750); err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{
		"0000000001.tar.zst", "0000000001.manifest.json.sig", "0000000001.manifest.json",
		"0000000002.tar.zst", // the server is just writing batch 2
		"HEAD.json.sig", "HEAD.json", "notes.txt",
	} {
		if err := os.WriteFile(filepath.Join(published, name), []byte(name), 0o640); err != nil {
			log.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "inbox"), 0o750); err != nil {
		log.Fatal(err)
	}

	server, err := drop.OpenLocal(filepath.Join(dir, "drop"))
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	inbox, err := drop.OpenLocal(filepath.Join(dir, "inbox"))
	if err != nil {
		log.Fatal(err)
	}
	defer inbox.Close()

	for range 2 {
		r, err := drop.Mirror(context.Background(), inbox, server, "ACME/down", drop.MirrorOptions{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d copied, %d there already, %d ignored, %d batch waiting\n", r.Files, r.Skipped, r.Ignored, r.Waiting)
	}
	// Output:
	// 5 copied, 0 there already, 1 ignored, 1 batch waiting
	// 0 copied, 3 there already, 1 ignored, 1 batch waiting
}
