package sftp_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/sftpd"
)

// Who collects sees every till's folder through the embedded server, and
// nothing that is none; of another dossier, no till.
func TestTillsOfTheWriter(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	up := filepath.Join(e.root, "ACME", "up")
	var want []string
	for i := 1; i <= 1000; i++ {
		n := fmt.Sprintf("%04d", i)
		want = append(want, n)
		if err := os.MkdirAll(filepath.Join(up, n), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for name, make := range map[string]func(string) error{
		"file":   func(p string) error { return os.WriteFile(p, nil, 0o666) },
		"link":   func(p string) error { return os.Symlink("0001", p) },
		"no way": func(p string) error { return os.Mkdir(p, 0o777) },
		"000.1":  func(p string) error { return os.Mkdir(p, 0o777) },
	} {
		if err := make(filepath.Join(up, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(e.root, "OTHER", "up", "9"), 0o777); err != nil {
		t.Fatal(err)
	}
	c := dial(t, e.config("server"))
	start := time.Now()
	got, err := c.Tills(t.Context(), "ACME")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tills in %v", len(got), time.Since(start))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := c.Tills(t.Context(), "OTHER"); len(got) > 0 {
		t.Errorf("of another dossier: %q, %v", got, err)
	}
}

// Whoever looks at a whole drop sees the dossiers that the server shows to that
// login, and neither files nor links.
func TestDossiers(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	for _, dir := range []string{"ACME/down", "OTHER/down", "no way"} {
		if err := os.MkdirAll(filepath.Join(e.root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(e.root, "file"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("ACME", filepath.Join(e.root, "link")); err != nil {
		t.Fatal(err)
	}
	got, err := dial(t, e.config("server")).Dossiers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ACME"}, got); diff != "" {
		t.Error(diff)
	}
}
