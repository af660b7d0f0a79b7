package sftpd_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"sort"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"caisseauto/internal/sftpd"
)

// A drop of two dossiers, served to one till, which sees its own part only.
func Example() {
	root, err := os.MkdirTemp("", "drop")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	for _, dir := range []string{"ACME/down", "ACME/up/018", "OTHER/down"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o750); err != nil {
			log.Fatal(err)
		}
	}

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

	conn, err := ssh.Dial("tcp", ln.Addr().String(), &ssh.ClientConfig{
		User: "till-017", Auth: []ssh.AuthMethod{ssh.PublicKeys(tillKey)}, HostKeyCallback: ssh.FixedHostKey(hostKey.PublicKey()),
	})
	if err != nil {
		log.Fatal(err)
	}
	client, err := sftp.NewClient(conn)
	if err != nil {
		log.Fatal(err)
	}
	for _, dir := range []string{"/", "/ACME", "/ACME/up", "/OTHER"} {
		entries, err := client.ReadDir(dir)
		fmt.Print(dir, ":")
		sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
		for _, e := range entries {
			fmt.Print(" ", e.Name())
		}
		if err != nil {
			fmt.Print(" ", err)
		}
		fmt.Println()
	}
	conn.Close()
	stop()
	fmt.Println("served:", <-served)
	// Output:
	// /: ACME
	// /ACME: down up
	// /ACME/up: 017
	// /OTHER: file does not exist
	// served: <nil>
}

// exampleKey makes a key that is the same every time: for examples only.
func exampleKey(seed byte) ssh.Signer {
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	if err != nil {
		log.Fatal(err)
	}
	return signer
}
