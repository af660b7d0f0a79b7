package sftpd

import (
	"path"
	"strings"
	"testing"

	"caisseauto/internal/drop"
)

// Whatever path a client sends, what reaches the disk is a path of the format
// below the dossier.
func FuzzPlace(f *testing.F) {
	for _, p := range []string{
		"/", "/ACME", "/ACME/down", "/ACME/up/017", "/ACME/up", "/ACME/down/0000000001.tar.zst", "/ACME/up/017/HEAD.json.part",
		"/ACME/receipts/017.json.sig", "/ACME/packages/0000000001.tar.zst.part", "/ACME/trust/allowed_signers", "/../ACME", "/ACME/../OTHER", "/ACME//down", "/ACME/down/.part", "/ACME/down/0000000001.tar.zst.part.part",
		"/ACME/down/x\x00", `/ACME\down`, "/ACME/up/../down", "/.", "/ACME/up/.part/HEAD.json", "/C:/x",
	} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		pl, ok := parsePlace(p)
		if !ok {
			return
		}
		disk := pl.onDisk()
		if path.Clean(disk) != disk || path.IsAbs(disk) || strings.HasPrefix(disk, "..") || strings.ContainsAny(disk, "\\:\x00") {
			t.Fatalf("%q leads to %q", p, disk)
		}
		if pl.base != "" && !drop.ValidPath(pl.dossier+"/"+pl.final()) {
			t.Fatalf("%q is taken for the file %q", p, pl.final())
		}
		if disk := strings.TrimSuffix(path.Join("/", pl.dossier, disk), "/"); strings.Trim(p, "/") != strings.Trim(disk, "/") {
			t.Fatalf("%q became %q in %q", p, disk, pl.dossier)
		}
		till := User{Dossier: "ACME", Till: "017"}
		if till.writable(pl) && (pl.dossier != "ACME" || !strings.HasPrefix(disk, "up/017/")) {
			t.Fatalf("a till may write %q", p)
		}
		manager := User{Dossier: "ACME", Release: true}
		if manager.writable(pl) && (pl.dossier != "ACME" || !strings.HasPrefix(disk, "packages/")) {
			t.Fatalf("a release manager may write %q", p)
		}
		server := User{Dossier: "ACME", Writer: true}
		if server.writable(pl) && (till.writable(pl) || manager.writable(pl)) {
			t.Fatalf("%q has two writers", p)
		}
	})
}
