package sftp_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/drop/sftp"
	"caisseauto/internal/sftpd"
)

// A till ships a batch to a server and looks at what is there.
func Example() {
	// The other side: the embedded server over a folder.
	root, err := os.MkdirTemp("", "drop")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	hostKey, tillKey := exampleKey('h'), exampleKey('t')
	server, err := sftpd.New(sftpd.Config{
		Root: root, HostKey: hostKey,
		Users: sftpd.StaticUsers(sftpd.User{Name: "till-017", Key: tillKey.PublicKey(), Dossier: "ACME", Till: "017"}),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- server.Serve(ctx, ln) }()
	defer func() { stop(); <-served }()

	// Our side.
	client, err := sftp.Dial(ctx, sftp.Config{
		Addr: ln.Addr().String(), User: "till-017",
		HostKeys: []ssh.PublicKey{hostKey.PublicKey()}, // from the till's configuration
		Signers:  []ssh.Signer{tillKey},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	rows := []byte("the rows of a batch")
	err = client.Put(ctx, "ACME/up/017/0000000001.tar.zst", int64(len(rows)), func(_ context.Context, offset int64, w io.Writer) error {
		_, err := w.Write(rows[offset:])
		return err
	})
	fmt.Println("put:", err)

	list, err := client.List(ctx, "ACME/up/017")
	fmt.Println("list:", list.Files, err)

	var got bytes.Buffer
	err = client.Get(ctx, "ACME/up/017/0000000001.tar.zst", 4, &got)
	fmt.Printf("get: %q %v\n", got.String(), err)
	// Output:
	// put: <nil>
	// list: [{0000000001.tar.zst 19}] <nil>
	// get: "rows of a batch" <nil>
}

// exampleKey makes a key that is the same every time: for examples only.
func exampleKey(seed byte) ssh.Signer {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		log.Fatal(err)
	}
	return signer
}
