package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// What was read, written and read again is the same.
func TestWriteServer(t *testing.T) {
	first, err := LoadServer(put(t, "server.toml", serverDoc))
	if err != nil {
		t.Fatal(err)
	}
	first.Drop.URL = "file:" + first.Drop.Folder // the second file is in another folder
	first.Processes[0].Jitter = Duration{90 * time.Second}
	first.Dossiers[0].BaselineEvery, first.Dossiers[0].Retention = Duration{7 * 24 * time.Hour}, Duration{36 * time.Hour}
	first.Dossiers[0].Tables[1].Touches, first.Dossiers[0].Tables[1].TouchesColumns = "article", []string{"dossier", `l"article`}
	first.Dossiers[0].Tables = append(first.Dossiers[0].Tables,
		Table{Name: `l"été \ 'noël'`, Direction: "up", Append: true, Capture: "key", TillColumn: "caisse", NumberColumn: `"n°"`,
			Totals: []string{"ttc", `a\b`}},
		Table{Name: "ligne", Direction: "up", Append: true, Capture: "key", Parent: `l"été \ 'noël'`, ParentColumns: []string{"caisse", "n°"}},
		Table{Name: "carte", Direction: "both", Capture: "key", Conflict: "newest", VersionColumn: "modifié_le"})
	first.Serve.Users = append(first.Serve.Users, ServeUser{Name: "release", Release: true, Keys: PublicKeys{keyC}})
	path := filepath.Join(t.TempDir(), "server.toml")
	if err := WriteServer(path, first); err != nil {
		t.Fatal(err)
	}
	again, err := LoadServer(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again, parsed, cmpopts.IgnoreFields(Common{}, "File")); diff != "" {
		t.Error(diff)
	}
	unchanged(t, path, func() error { return WriteServer(path, first) })
}

func TestWriteTill(t *testing.T) {
	first, err := LoadTill(put(t, "till.toml", tillDoc))
	if err != nil {
		t.Fatal(err)
	}
	first.Drop = Drop{URL: "sftp://till-017@drop.example.com/", HostKey: PublicKeys{keyA, keyB}, Key: `C:\keys\till`}
	first.Signing.Principal = "till-017@acme"
	first.Sync.MaxBackoff.Duration = 90 * time.Second
	first.Identity.Registry.DeleteOthers, first.Users.DossierColumn = true, `do"ssier`
	first.Schema.MissingColumn = DriftIgnore
	first.Update = &Update{Folder: filepath.Join(t.TempDir(), "paquets"), Keep: 5, BusyQuery: "SELECT count(*)\nFROM \"ticket\"", WaitForTickets: true,
		BusyCommand: []string{"libre", `C:\x`, "-q"}, Products: []Product{{Name: "caisse", Folder: t.TempDir(), Restart: []string{"sh", "-c", "a\nb"}}, {Name: "tpe", Folder: t.TempDir()}}}
	first.JET = DefaultJET()
	first.JET.Table, first.JET.Data, first.JET.Codes.Purge, first.JET.Codes.Load = `journal "technique"`, `d\n`, "", "80"
	path := filepath.Join(t.TempDir(), "till.toml")
	if err := WriteTill(path, first); err != nil {
		t.Fatal(err)
	}
	again, err := LoadTill(path)
	if err != nil {
		t.Fatal(err)
	}
	if again.Drop.Host != "drop.example.com:22" || again.Drop.Path != "/" {
		t.Errorf("drop %+v", again.Drop)
	}
	if diff := cmp.Diff(first, again, cmpopts.IgnoreTypes(Drop{}), cmpopts.IgnoreFields(Common{}, "File")); diff != "" {
		t.Error(diff)
	}
	unchanged(t, path, func() error { return WriteTill(path, first) })
}

func TestWriteRelease(t *testing.T) {
	first, err := LoadRelease(put(t, "release.toml", releaseDoc))
	if err != nil {
		t.Fatal(err)
	}
	first.Drop = Drop{URL: "sftp://release@drop.example.com/", HostKey: PublicKeys{keyA, keyB}, Key: `C:\keys\login`}
	path := filepath.Join(t.TempDir(), "release.toml")
	if err := WriteRelease(path, first); err != nil {
		t.Fatal(err)
	}
	again, err := LoadRelease(path)
	if err != nil {
		t.Fatal(err)
	}
	if again.Drop.Host != "drop.example.com:22" || again.Drop.User != "release" {
		t.Errorf("drop %+v", again.Drop)
	}
	if diff := cmp.Diff(first, again, cmpopts.IgnoreTypes(Drop{}), cmpopts.IgnoreFields(Common{}, "File")); diff != "" {
		t.Error(diff)
	}
	unchanged(t, path, func() error { return WriteRelease(path, first) })
	first.Signing.Principal = "server@acme"
	none := filepath.Join(t.TempDir(), "none.toml")
	refused(t, WriteRelease(none, first), 0, "signing.principal", "release@NAME")
	if _, err := os.Stat(none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
}

// The fewest values that init can know give a file that loads.
func TestWriteLeast(t *testing.T) {
	dir := t.TempDir()
	server := filepath.Join(dir, "server.toml")
	s := &Server{Common: Common{Database: Database{DSN: "erp.db"}, Signing: Signing{Principal: "server@acme"}},
		Dossiers: []Dossier{{Code: "ACME"}}}
	if err := WriteServer(server, s); err != nil {
		t.Fatal(err)
	}
	got, err := LoadServer(server)
	if err != nil {
		t.Fatal(err)
	}
	if got.Database.DSN != filepath.Join(dir, "erp.db") || got.Drop.Folder != filepath.Join(dir, "drop") {
		t.Errorf("%+v", got.Common)
	}
	till := filepath.Join(dir, "till.toml")
	if err := WriteTill(till, &Till{Identity: Identity{Number: "017", Dossier: "ACME"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadTill(till); err != nil {
		t.Error(err)
	}
}

// A journal of which only the table is known gets the defaults.
func TestWriteLeastJET(t *testing.T) {
	for _, j := range []*JET{{}, {Table: "jet"}, {Till: "caisse"}, DefaultJET()} {
		path := filepath.Join(t.TempDir(), "till.toml")
		if err := WriteTill(path, &Till{Identity: Identity{Number: "017", Dossier: "ACME"}, JET: j}); err != nil {
			t.Fatal(err)
		}
		got, err := LoadTill(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(DefaultJET(), got.JET); diff != "" {
			t.Error(diff)
		}
	}
}

// What would not load is not written.
func TestWriteRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "till.toml")
	err := WriteTill(path, &Till{Identity: Identity{Number: "0/17", Dossier: "ACME"}})
	var e *Error
	if !errors.As(err, &e) || e.Key != "till.number" || e.Line != 0 {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
}

func unchanged(t *testing.T, path string, write func() error) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second write: %v, want fs.ErrExist", err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Error(diff)
	}
}
