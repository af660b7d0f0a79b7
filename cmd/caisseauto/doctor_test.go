package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// healthy returns a world in which doctor finds nothing wrong on either side.
func healthy(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.processes("server/server.toml", "export")
	w.processes("till/till.toml", "import", "sync")
	for _, args := range [][]string{{"init", "till", "--config", w.path("till/till.toml")}, {"export", "--config", w.path("server/server.toml")}} {
		if code, _, stderr := w.run(args...); code != 0 {
			t.Fatalf("%v: %s", args, stderr)
		}
	}
	for _, side := range []string{"server", "till"} {
		if code, findings := w.doctor(side); code != 0 || len(findings) == 0 {
			t.Fatalf("%s: exit code %d: %v", side, code, findings)
		}
	}
	return w
}

// processes adds processes to a configuration, each every second or so.
func (w *world) processes(file string, actions ...string) string {
	w.t.Helper()
	doc := string(w.read(w.path(file)))
	for _, a := range actions {
		doc += fmt.Sprintf("[[process]]\nname = \"the_%s\"\naction = %[1]q\nevery = \"1s\"\n", a)
	}
	w.write(w.path(file), []byte(doc))
	return w.path(file)
}

func (w *world) doctor(side string, args ...string) (code int, findings []finding) {
	w.t.Helper()
	code, stdout, stderr := w.run(append([]string{"doctor", "--json", "--config", w.path(side + "/" + side + ".toml")}, args...)...)
	if code != exitDone && code != exitOperator {
		w.t.Fatalf("exit code %d: %s", code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &findings); err != nil {
		w.t.Fatalf("%v: %s", err, stdout)
	}
	return code, findings
}

func (w *world) remove(name string) {
	w.t.Helper()
	if err := os.RemoveAll(w.path(name)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) edit(file, old, new string) {
	w.t.Helper()
	doc := string(w.read(w.path(file)))
	if !strings.Contains(doc, old) {
		w.t.Fatalf("%s does not hold %q", file, old)
	}
	w.write(w.path(file), []byte(replaceOnce(doc, old, new)))
}

// TestDoctor: each thing that goes wrong is found, alone, with what to do
// about it, and doctor itself changes nothing.
func TestDoctor(t *testing.T) {
	for _, tt := range []struct {
		name, side  string
		ill         func(w *world)
		state, what string
		remedy      string
	}{
		{"no key", "server", func(w *world) { w.remove("server/keys/server") }, findingWrong, "signing key", "caisseauto init server --config"},
		{"an open key", "server", func(w *world) { _ = os.Chmod(w.path("server/keys/server"), 0o644) }, findingWrong, "can be read by other accounts", "chmod 600"},
		{"no list of trusted keys", "server", func(w *world) { w.remove("server/allowed_signers") }, findingWrong, "allowed_signers", "caisseauto init server"},
		{"nor on the till", "till", func(w *world) { w.remove("till/allowed_signers") }, findingWrong, "allowed_signers", "init till --config"},
		{"a list that is none", "till", func(w *world) { w.write(w.path("till/allowed_signers"), []byte("what?\n")) }, findingWrong, "allowed_signers line 1", "by a way that you trust"},
		{"a list without the own key", "server", func(w *world) {
			pub, err := keys.Generate(w.path("other"), "other")
			if err != nil {
				w.t.Fatal(err)
			}
			w.write(w.path("server/allowed_signers"), []byte(keys.AllowedLine([]string{"server@acme"}, nil, pub, "")+"\n"))
		}, findingWrong, "does not accept what server@acme signs", `server@acme namespaces="manifest@caisseauto,`},
		{"a file for a folder", "server", func(w *world) { w.remove("server/outbox"); w.write(w.path("server/outbox"), nil) }, findingWrong, "outbox", "the right to write"},
		{"a folder that is not there yet", "till", func(w *world) { w.remove("till/inbox") }, findingOK, "folders can be written to", ""},
		{"a clock that was behind", "till", func(w *world) {
			w.sql("till/till.db", "UPDATE caisseauto_head SET issued='2999-01-01T00:00:00Z'")
		}, findingWrong, "before the newest head that was accepted here was signed", "set the clock"},
		{"no database", "server", func(w *world) { w.remove("server/erp.db") }, findingWrong, "erp.db", "correct database.dsn"},
		{"a folder for a database", "till", func(w *world) {
			w.edit("till/till.toml", `dsn = "till.db"`, `dsn = "outbox"`)
			mustDir(w.dir, "till/outbox")
		}, findingWrong, "not a file", "correct database.dsn"},
		{"no database at all", "till", func(w *world) {
			w.write(w.path("till/till.db"), []byte(strings.Repeat("garbage ", 1000)))
		}, findingWrong, "till.db", "restore it from a backup"},
		{"a rollback journal", "till", func(*world) {}, findingNote, "journal mode delete", "PRAGMA journal_mode=WAL"},
		{"WAL", "till", func(w *world) { w.sql("till/till.db", "PRAGMA journal_mode=WAL") }, findingOK, "journal mode WAL", ""},
		{"no trigger", "server", func(w *world) { w.sql("server/erp.db", drop1(w, "server/erp.db")) }, findingWrong, "journal and triggers are not as they should be", "caisseauto init server --config"},
		{"a table that is gone", "server", func(w *world) { w.sql("server/erp.db", "DROP TABLE article") }, findingWrong, "capture", "correct the tables in"},
		{"no ledger", "till", func(w *world) { w.sql("till/till.db", "DROP TABLE caisseauto_ledger") }, findingWrong, "no ledger yet", "caisseauto init till --config"},
		{"no outbox", "till", func(w *world) { w.sql("till/till.db", "DROP TABLE MICPTRACK") }, findingWrong, "outbox MICPTRACK or its triggers", "caisseauto init till --config"},
		{"no process", "server", func(w *world) { w.edit("server/server.toml", `action = "export"`, `action = "collect"`) }, findingWrong,
			"dossier ACME has no export process: nothing is sealed", `dossier = "ACME"`},
		{"no import", "till", func(w *world) { w.edit("till/till.toml", `action = "import"`, `action = "sync"`) }, findingWrong, "no process import", `action  = "import"`},
		{"an update", "till", func(w *world) {
			w.edit("till/till.toml", "[till]", "[update]\n[[update.product]]\nname = \"caisse\"\n[till]")
			w.processes("till/till.toml", "update")
		}, findingWrong, "knows no release manager: no package is accepted", "caisseauto init release"},
		{"an update without a schedule", "till", func(w *world) {
			w.edit("till/till.toml", "[till]", "[update]\n[[update.product]]\nname = \"caisse\"\n[till]")
			list := w.path("till/allowed_signers")
			pub, err := keys.Generate(w.path("other"), "other")
			if err != nil {
				w.t.Fatal(err)
			}
			w.write(list, append(w.read(list), keys.AllowedLine([]string{"release@acme"}, nil, pub, "")+"\n"...))
		}, findingNote, "packages are not installed by themselves", "import_updatecaisse"},
		{"an update that asks for nothing that is there", "till", func(w *world) {
			w.edit("till/till.toml", "[till]", "[update]\nbusy_query = \"SELECT a FROM nowhere\"\n[[update.product]]\nname = \"caisse\"\n[till]")
		}, findingWrong, "no such table: nowhere", "correct update.busy_query"},
		{"a trial", "till", func(w *world) {
			w.edit("till/till.toml", "[till]", "[update]\n[[update.product]]\nname = \"caisse\"\n[till]")
			mustDir(w.dir, "till/packages/caisse/releases/1.0-r1-b1")
			w.write(w.path("till/packages/caisse/trial.json"), []byte(`{"to":{"Version":"1.0","Release":1,"Sequence":1}}`))
			if err := os.Symlink("releases/1.0-r1-b1", w.path("till/packages/caisse/current")); err != nil {
				t.Fatal(err)
			}
		}, findingWrong, "caisse: release 1 runs and has not proven itself", "which finishes or undoes it"},
		{"a pointer that leads elsewhere", "till", func(w *world) {
			w.edit("till/till.toml", "[till]", "[update]\n[[update.product]]\nname = \"caisse\"\n[till]")
			mustDir(w.dir, "till/packages/caisse")
			if err := os.Symlink("/etc", w.path("till/packages/caisse/current")); err != nil {
				t.Fatal(err)
			}
		}, findingWrong, "which is none of its releases", ""},
		{"a process without a time", "server", func(w *world) { w.edit("server/server.toml", `every = "1s"`, "") }, findingNote, "the_export has no every", "run the_export --once"},
		{"another dossier", "till", func(w *world) { w.sql("till/till.db", "UPDATE caisseauto_ledger SET stream='BETA/down'") }, findingWrong, "its database holds dossier BETA", "nothing is imported"},
		{"no rules", "till", func(*world) {}, findingNote, "no user filter", "[users]"},
		{"no default user", "till", func(*world) {}, findingNote, "no default user", "default_user"},
		{"no registry", "till", func(*world) {}, findingNote, "till's number", "registry = {"},
		{"no drop", "server", func(w *world) { w.edit("server/server.toml", "[drop]\nurl = \"file:../drop\"\n", "") }, findingNote, "no drop is configured", "[drop]"},
		{"a drop that is not looked at", "server", func(w *world) { w.remove("drop") }, findingOK, "not tried; --drop does", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := healthy(t)
			tt.ill(w)
			before := w.whole()
			code, findings := w.doctor(tt.side)
			found := 0
			for _, f := range findings {
				if f.State == tt.state && strings.Contains(f.What, tt.what) && strings.Contains(f.Remedy, tt.remedy) {
					found++
				}
				if f.State != findingOK && f.Remedy == "" {
					t.Errorf("nothing to do about it: %s", f.What)
				}
			}
			if found != 1 {
				t.Errorf("found %d times %s %q with %q:\n%+v", found, tt.state, tt.what, tt.remedy, findings)
			}
			if want := map[bool]int{true: exitOperator}[tt.state == findingWrong]; code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			if diff := cmp.Diff(before, w.whole()); diff != "" {
				t.Errorf("doctor has changed something (-before +after):\n%s", diff)
			}
		})
	}
}

// drop1 drops one of our triggers.
func drop1(w *world, file string) string {
	name := w.text(file, "SELECT name FROM sqlite_schema WHERE type='trigger' AND name LIKE 'caisseauto%' LIMIT 1")
	if name == "" {
		w.t.Fatal("there is no trigger")
	}
	return "DROP TRIGGER " + name
}

// whole is every file of a world, but the lock files and what SQLite keeps
// beside a database that is open.
func (w *world) whole() map[string]string {
	w.t.Helper()
	files := map[string]string{}
	for _, side := range []string{"server", "till", "drop"} {
		w.walk(w.path(side), files)
	}
	return files
}

func (w *world) walk(dir string, files map[string]string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		path := dir + "/" + e.Name()
		switch {
		case e.IsDir():
			files[path] = "folder"
			w.walk(path, files)
		case e.Type()&fs.ModeSymlink != 0:
			files[path], _ = os.Readlink(path)
		case !strings.HasSuffix(path, "-wal") && !strings.HasSuffix(path, "-shm"):
			files[path] = string(w.read(path))
		}
	}
}

// The drop is reached for when that is asked.
func TestDoctorTriesTheDrop(t *testing.T) {
	w := healthy(t)
	if code, findings := w.doctor("till", "--drop"); code != 0 {
		t.Errorf("exit code %d: %+v", code, findings)
	}
	for _, x := range []struct {
		name, what string
		do         func(*manifest.Head)
	}{
		{"expired", "on the drop expired at", func(h *manifest.Head) {
			h.Issued, h.Expires = h.Issued.Add(-72*time.Hour), h.Expires.Add(-72*time.Hour)
		}},
		{"from tomorrow", "was signed 24h59m", func(h *manifest.Head) {
			h.Issued, h.Expires = h.Issued.Add(25*time.Hour), h.Expires.Add(25*time.Hour)
		}},
		{"of another stream", "BRAVO/down", func(h *manifest.Head) { h.Stream = "BRAVO/down" }},
	} {
		honest := map[string][]byte{manifest.HeadName: nil, manifest.HeadSignatureName: nil}
		for f := range honest {
			honest[f] = w.read(w.down(f))
		}
		w.rehead(x.do)
		for _, side := range []string{"server", "till"} {
			code, findings := w.doctor(side, "--drop")
			last := findings[len(findings)-1]
			if code != exitOperator || last.State != findingWrong || !strings.Contains(last.What, x.what) || last.Remedy == "" {
				t.Errorf("a head %s, on the %s: exit code %d: %+v", x.name, side, code, last)
			}
		}
		for f, b := range honest {
			w.write(w.down(f), b)
		}
	}
	w.remove("drop")
	for _, side := range []string{"server", "till"} {
		code, findings := w.doctor(side, "--drop")
		last := findings[len(findings)-1]
		if code != exitOperator || last.State != findingWrong || !strings.Contains(last.What, "drop") || last.Remedy == "" {
			t.Errorf("%s: exit code %d: %+v", side, code, last)
		}
	}
}

// One dossier may be asked about, and only one that is there.
func TestDoctorOfADossier(t *testing.T) {
	w := healthy(t)
	w.edit("server/server.toml", `action = "export"`, "action = \"export\"\ndossier = \"ACME\"")
	w.write(w.path("server/server.toml"), append(w.read(w.path("server/server.toml")), "[[dossier]]\ncode = \"BETA\"\n[[dossier.table]]\nname = \"article\"\ndossier_column = \"dossier\"\n"...))
	if code, _, stderr := w.run("init", "server", "--config", w.path("server/server.toml")); code != 0 {
		t.Fatal(stderr)
	}
	for args, want := range map[string]int{"": exitOperator, "ACME": exitDone, "BETA": exitOperator, "GAMMA": exitUsage} {
		code, _, stderr := w.run("doctor", "--config", w.path("server/server.toml"), "--dossier", args)
		if code != want {
			t.Errorf("--dossier %q: exit code %d, want %d: %s", args, code, want, stderr)
		}
	}
}

// A machine without a battery for its clock begins in 1970.
func TestDoctorIn1970(t *testing.T) {
	for year, want := range map[int]string{1970: findingWrong, 2025: findingWrong, 2026: findingOK, 2031: findingOK} {
		p := &patient{common: &config.Common{}, now: time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC)}
		lookClock(t.Context(), p)
		if len(p.findings) != 1 || p.findings[0].State != want {
			t.Errorf("%d: %+v, want %s", year, p.findings, want)
		}
	}
}

// lacking is a drop whose server offers less.
type lacking struct {
	drop.Drop
	what []string
}

func (l lacking) Lacks() []string { return l.what }

// What the drop's server does not offer is told, and is no fault.
func TestDoctorOfAServer(t *testing.T) {
	for _, what := range [][]string{nil, {"fsync@openssh.com: without it …"}} {
		p := &patient{}
		p.lookServer(lacking{what: what})
		want := map[bool]string{true: findingOK, false: findingNote}[what == nil]
		if len(p.findings) != 1 || p.findings[0].State != want || what != nil && p.findings[0].Remedy == "" {
			t.Errorf("%v: %+v", what, p.findings)
		}
	}
}
