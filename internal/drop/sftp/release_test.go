package sftp_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/drop"
	"caisseauto/internal/sftpd"
)

// A release manager's packages go through the embedded server to a till, and
// neither his login nor the server's reaches what is the other's.
func TestPackages(t *testing.T) {
	e := startEmbedded(t, sftpd.Limits{})
	outbox, err := drop.OpenLocal("../../../testdata/vectors/good")
	if err != nil {
		t.Fatal(err)
	}
	defer outbox.Close()
	const stream = "ACME/packages"
	manager, till, server := dial(t, e.config("release")), dial(t, e.config("till017")), dial(t, e.config("server"))
	mirror := func(dst drop.Drop, want int) {
		t.Helper()
		r, err := drop.Mirror(t.Context(), dst, outbox, stream, drop.MirrorOptions{Log: testLog(t)})
		if err != nil || r.Files != want {
			t.Fatalf("%d files, %v; want %d", r.Files, err, want)
		}
	}
	mirror(manager, 11)
	mirror(manager, 0)
	want, err := os.ReadFile("../../../testdata/vectors/good/" + stream + "/0000000002.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	for who, d := range map[string]drop.Drop{"till": till, "server": server} {
		if got := get(t, d, stream+"/0000000002.tar.zst", 0); !bytes.Equal(got, want) {
			t.Errorf("the %s reads another package", who)
		}
		if err := d.Replace(t.Context(), stream+"/HEAD.json", []byte("evil")); !errors.Is(err, drop.ErrDenied) {
			t.Errorf("the %s replaces the packages' head: %v", who, err)
		}
		if err := d.Put(t.Context(), stream+"/0000000009.tar.zst", 3, feedOf([]byte("bad"))); !errors.Is(err, drop.ErrDenied) {
			t.Errorf("the %s publishes a package: %v", who, err)
		}
		if err := d.Remove(t.Context(), stream+"/0000000002.tar.zst"); err == nil {
			t.Errorf("the %s removes a package", who)
		}
	}
	if err := server.Put(t.Context(), "ACME/down/0000000001.tar.zst", 3, feedOf([]byte("row"))); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"ACME/down", "ACME/receipts", "ACME/up/017"} {
		if l, err := manager.List(t.Context(), dir); err != nil || len(l.Files) > 0 {
			t.Errorf("the release manager sees in %s: %v, %v", dir, l.Files, err)
		}
	}
	for _, name := range []string{"ACME/down/0000000002.tar.zst", "ACME/trust/0000000001.json", "ACME/up/017/0000000001.tar.zst"} {
		if err := manager.Put(t.Context(), name, 3, feedOf([]byte("bad"))); !errors.Is(err, drop.ErrDenied) {
			t.Errorf("the release manager writes %s: %v", name, err)
		}
	}
	l, err := till.List(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	here, err := outbox.List(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	names := func(l drop.Listing) (all []string) {
		for _, f := range l.Files {
			all = append(all, f.Name)
		}
		return all
	}
	if d := cmp.Diff(names(here), names(l)); d != "" {
		t.Errorf("packages (-outbox +drop):\n%s", d)
	}
}
