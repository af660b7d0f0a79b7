package keys_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"caisseauto/keys"
)

func Example() {
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "server")

	// The server's operator makes a key and hands out its public half.
	pub, err := keys.Generate(path, "server of ACME")
	if err != nil {
		log.Fatal(err)
	}
	line := keys.AllowedLine([]string{"server@acme"}, []string{keys.NamespaceHead}, pub, "since 2026")

	// The server signs.
	signer, err := keys.Load(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	message := []byte("all is well\n")
	sig, err := signer.Sign(message, keys.NamespaceHead)
	if err != nil {
		log.Fatal(err)
	}

	// A till verifies.
	trust, err := keys.ParseAllowedSigners("allowed_signers", []byte(line))
	if err != nil {
		log.Fatal(err)
	}
	principals, err := trust.Verify(message, sig, keys.NamespaceHead)
	fmt.Println(principals, err)

	// The same signature is good for nothing else.
	_, err = trust.Verify(message, sig, keys.NamespaceManifest)
	fmt.Println(errors.Is(err, keys.ErrWrongNamespace), err)
	_, err = trust.Verify([]byte("all is lost\n"), sig, keys.NamespaceHead)
	fmt.Println(errors.Is(err, keys.ErrBadSignature))
	// Output:
	// [server@acme] <nil>
	// true wrong namespace: the signature is for "head@caisseauto", not for "manifest@caisseauto": it belongs to another kind of file
	// true
}
