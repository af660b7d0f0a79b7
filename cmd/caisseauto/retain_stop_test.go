package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caisseauto/manifest"
)

// An export that was stopped while it removed old archives is finished by the
// next one, which ships none of them again; and the head never goes back.
func TestShopRetentionStopped(t *testing.T) {
	const down, outbox = "drop/ACME/down", "server/outbox/ACME/down"
	s := newShop(t)
	s.write(s.path("server/server.toml"), []byte(replaceOnce(shopServer, `code = "ACME"`, "code = \"ACME\"\nretention = \"1s\"")))
	for range 2 {
		s.sql("server/erp.db", "UPDATE client SET nom=nom||'x' WHERE dossier='ACME'")
		s.must("server", "export")
	}
	s.must("server", "export", "--baseline")
	s.must("001", "import")
	s.must("001", "sync")
	archive := func(folder string, n int64) string {
		return filepath.Join(s.path(folder), manifest.FileName(n, manifest.ArchiveExt))
	}
	kept := map[int64][]byte{}
	for n := int64(1); n <= 3; n++ {
		kept[n] = s.read(archive(outbox, n))
	}
	time.Sleep(1100 * time.Millisecond)
	s.must("server", "export")
	for _, left := range []struct {
		name       string
		drop, here []int64 // archives that were not removed yet
	}{
		{"before the first", []int64{1, 2, 3}, []int64{1, 2, 3}},
		{"on the drop", []int64{2, 3}, []int64{1, 2, 3}},
		{"between drop and outbox", nil, []int64{1, 2, 3}},
		{"in the outbox", nil, []int64{3}},
		{"nowhere", nil, nil},
	} {
		t.Run(left.name, func(t *testing.T) {
			for folder, numbers := range map[string][]int64{down: left.drop, outbox: left.here} {
				for _, n := range numbers {
					s.write(archive(folder, n), kept[n])
				}
			}
			if out := s.must("server", "export"); !strings.Contains(out, "2 files") { // the head
				t.Errorf("shipped more than a head: %s", out)
			}
			for _, folder := range []string{down, outbox} {
				archives, manifests := s.has(folder)
				if strings.Join(archives, " ") != "4" || strings.Join(manifests, " ") != "1 2 3 4" {
					t.Errorf("%s: archives %v, manifests %v", folder, archives, manifests)
				}
			}
			if head := string(s.read(filepath.Join(s.path(down), manifest.HeadName))); !strings.Contains(head, `"oldest": 4`) && !strings.Contains(head, `"oldest":4`) {
				t.Errorf("head %s", head)
			}
		})
	}
	// The till that was away all the time stands where archives are gone, which
	// is nothing that is still to come.
	code, _, stderr := s.on("002", "fetch", "--verbose")
	if code != 0 || strings.Contains(stderr, "not complete") {
		t.Errorf("fetch: %d, %s", code, stderr)
	}
	s.must("002", "import")
	if got, want := s.values("till-002/till.db", "client", "1"), s.values("server/erp.db", "client", "dossier='ACME'"); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("till 002 holds %v, the server %v", got, want)
	}
}
