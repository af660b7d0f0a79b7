package release_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/release"
	"caisseauto/keys"
)

// A release manager publishes a folder; a till installs it.
func Example() {
	dir, err := os.MkdirTemp("", "release")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	software := filepath.Join(dir, "caisse-3.2")
	if err := os.Mkdir(software, 0o755); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(software, "menu.txt"), []byte("café\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))) // keys.Load, elsewhere
	if err != nil {
		log.Fatal(err)
	}
	signer, err := keys.NewSigner(key)
	if err != nil {
		log.Fatal(err)
	}
	trust, err := keys.ParseAllowedSigners("allowed_signers",
		[]byte(keys.AllowedLine([]string{"release@acme"}, []string{keys.NamespacePackage, keys.NamespaceHead}, signer.Public(), "")+"\n"))
	if err != nil {
		log.Fatal(err)
	}

	drop := filepath.Join(dir, "packages") // ship and fetch move files between the two sides' folders
	publisher := &release.Publisher{Stream: "ACME/packages", Outbox: drop, Signer: signer, Principal: "release@acme", Trust: trust, HeadLife: 24 * time.Hour}
	p, err := publisher.Publish(context.Background(), release.Request{Folder: software, Product: "caisse", Version: "3.2", OS: "any", Arch: "any"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Batch)

	till := &release.Till{
		Stream: "ACME/packages", Inbox: drop, Folder: filepath.Join(dir, "till"), Trust: trust, Keep: 3,
		Products: []release.Product{{Name: "caisse", Folder: filepath.Join(dir, "till", "caisse")}},
		Confirm: func(context.Context, *release.Batch, release.Place) (string, bool, error) {
			return "nobody was asked", true, nil
		},
	}
	r, err := till.Run(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, u := range r.Updates {
		fmt.Println(u.Product, u.Version, u.Outcome)
	}
	menu, err := os.ReadFile(filepath.Join(dir, "till", "caisse", "current", "menu.txt"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", menu)
	// Output:
	// caisse 3.2 (release 1)
	// caisse 3.2 installed
	// café
}
