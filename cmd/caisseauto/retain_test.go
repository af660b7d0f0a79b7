package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/manifest"
)

// has lists the numbers of the archives, and of the manifests, in a folder.
func (w *world) has(folder string) (archives, manifests []string) {
	w.t.Helper()
	entries, err := os.ReadDir(w.path(folder))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		n, ext, ok := strings.Cut(e.Name(), ".")
		switch {
		case ok && "."+ext == manifest.ArchiveExt:
			archives = append(archives, strings.TrimLeft(n, "0"))
		case ok && "."+ext == manifest.ManifestExt:
			manifests = append(manifests, strings.TrimLeft(n, "0"))
		}
	}
	return archives, manifests
}

// Old archives go once a till has confirmed the baseline; a till that was away
// meanwhile comes back by the baseline, and one that has nothing but copies of
// the folder with holes in it too.
func TestShopRetention(t *testing.T) {
	s := newShop(t)
	s.write(s.path("server/server.toml"), []byte(replaceOnce(shopServer, `code = "ACME"`, "code = \"ACME\"\nretention = \"1s\"")))
	change := func(name string) { s.sql("server/erp.db", "UPDATE client SET nom='"+name+"' WHERE dossier='ACME'") }
	change("deux")
	s.must("server", "export")
	change("trois")
	s.must("server", "export", "--baseline")
	time.Sleep(1100 * time.Millisecond)
	want := func(archives string) {
		t.Helper()
		for _, folder := range []string{"drop/ACME/down", "server/outbox/ACME/down"} {
			got, manifests := s.has(folder)
			if strings.Join(got, " ") != archives {
				t.Errorf("%s: archives %v, want %s", folder, got, archives)
			}
			if len(manifests) < 3 || manifests[0] != "1" {
				t.Errorf("%s: manifests %v", folder, manifests)
			}
		}
	}
	s.must("server", "export")
	want("1 2 3") // nobody has confirmed batch 3
	s.must("001", "import")
	s.must("001", "sync")
	change("quatre")
	if out := s.must("server", "export"); !strings.Contains(out, "2 old archives removed") {
		t.Errorf("export does not tell what it removed: %s", out)
	}
	want("3 4")
	var h manifest.Head
	if err := json.Unmarshal(s.read(s.path("drop/ACME/down/HEAD.json")), &h); err != nil || h.Oldest != 3 {
		t.Errorf("%+v, %v", h, err)
	}
	s.must("server", "ship") // brings nothing back
	want("3 4")

	out := s.must("002", "import")
	if !strings.Contains(out, "3  baseline") || strings.Contains(out, "2  delta") {
		t.Errorf("the till that was away: %s", out)
	}
	same := func(till string) {
		t.Helper()
		if d := cmp.Diff(s.values("server/erp.db", "client", "dossier='ACME'"), s.values("till-"+till+"/till.db", "client", "1")); d != "" {
			t.Errorf("till %s: %s", till, d)
		}
	}
	same("002")
	// Somebody carries the folder by hand, holes and all.
	change("cinq")
	s.must("server", "export")
	if err := os.CopyFS(s.path("till-001/inbox/ACME/down"), os.DirFS(s.path("drop/ACME/down"))); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	s.must("001", "import", "--no-fetch")
	same("001")
	if left, _ := filepath.Glob(s.path("till-001/inbox/ACME/down/*.tar.zst")); len(left) > 0 {
		t.Errorf("left in the inbox: %v", left)
	}
}

// A baseline that comes by its age costs tills that are up to date nothing.
func TestShopBaselineEvery(t *testing.T) {
	s := newShop(t)
	s.write(s.path("server/server.toml"), []byte(replaceOnce(shopServer, `code = "ACME"`, "code = \"ACME\"\nbaseline_every = \"1h\"")))
	// The template's baseline is younger than an hour.
	s.must("server", "export")
	if _, m := s.has("drop/ACME/down"); strings.Join(m, " ") != "1" {
		t.Errorf("batches %v", m)
	}
}
