package arrows

import (
	"go/parser"
	"go/token"
	"path"
	"strings"
	"testing"
)

// Each rule refuses what it is for.
func TestGuards(t *testing.T) {
	long := "package x\nfunc f() {\n" + strings.Repeat("\tg()\n", maxFunction) + "}\n"
	for _, tt := range []struct {
		name, file, src string
		check           func(*source) []string
		says            string
	}{
		{"exporter to importer", "exporter/x.go", "package x\nimport _ \"caisseauto/importer\"\n", (*source).arrows, "may not import importer"},
		{"its test to importer", "exporter/x_test.go", "package x\nimport _ \"caisseauto/importer\"\n", (*source).arrows, "may not import importer"},
		{"engine to a database", "importer/x.go", "package x\nimport _ \"caisseauto/internal/sqlite\"\n", (*source).arrows, "may not import internal/sqlite"},
		{"keys to manifest", "keys/x.go", "package x\nimport _ \"caisseauto/manifest\"\n", (*source).arrows, "may not import manifest"},
		{"keys to cmd", "keys/x.go", "package x\nimport _ \"caisseauto/cmd/caisseauto\"\n", (*source).arrows, "may not import cmd/caisseauto"},
		{"a room without rules", "internal/new/x.go", "package x\n", (*source).arrows, "has no arrows"},
		{"cmd to all of internal", "cmd/caisseauto/x.go", "package x\nimport _ \"caisseauto/internal/drop/sftp\"\n", (*source).arrows, ""},
		{"a test to the real thing", "importer/x_test.go", "package x\nimport _ \"caisseauto/internal/sqlite\"\n", (*source).arrows, ""},
		{"archiver elsewhere", "internal/archive/y.go", "package x\nimport _ \"github.com/mholt/archiver/v3\"\n", (*source).homes, "mholt.go"},
		{"archiver at home", "internal/archive/mholt.go", "package x\nimport _ \"github.com/mholt/archiver/v3\"\n", (*source).homes, ""},
		{"toml elsewhere", "cmd/caisseauto/x.go", "package x\nimport t \"github.com/pelletier/go-toml/v2\"\n", (*source).homes, "internal/config"},
		{"pgx elsewhere", "exporter/x_test.go", "package x\nimport _ \"github.com/jackc/pgx/v5\"\n", (*source).homes, "internal/postgres"},
		{"a part of pgx elsewhere", "cmd/caisseauto/x.go", "package x\nimport _ \"github.com/jackc/pgx/v5/pgxpool\"\n", (*source).homes, "internal/postgres"},
		{"pgx at home", "internal/postgres/pgtest/x.go", "package x\nimport _ \"github.com/jackc/pgx/v5/pgconn\"\n", (*source).homes, ""},
		{"rename", "importer/x.go", "package x\nfunc f() { os.Rename(a, b) }\n", (*source).steady, "Rename belongs"},
		{"rename as a value", "importer/x.go", "package x\nvar f = os.Rename\n", (*source).steady, "Rename belongs"},
		{"link of a root", "internal/sftpd/x.go", "package x\nfunc f(r *os.Root) { r.Link(a, b) }\n", (*source).steady, "Link belongs"},
		{"symbolic link", "internal/sftpd/x.go", "package x\nfunc f() { os.Symlink(a, b) }\n", (*source).steady, "Symlink belongs"},
		{"a field of that name", "importer/x.go", "package x\nfunc f(u Upload) { g(u.Link, u.Sync.Every) }\n", (*source).steady, ""},
		{"sync", "exporter/x.go", "package x\nfunc f(g *os.File) { g.Sync() }\n", (*source).steady, "Sync belongs"},
		{"sync at home", "internal/durable/x.go", "package x\nfunc f(g *os.File) { g.Sync() }\n", (*source).steady, ""},
		{"long function", "keys/x.go", long, (*source).lengths, "f has 82 lines"},
		{"long function of a test", "keys/x_test.go", long, (*source).lengths, ""},
		{"long file", "keys/x.go", "package x\n" + strings.Repeat("\n", maxFile) + "var x int\n", (*source).lengths, "lines, more than 400"},
		{"longest file", "keys/x.go", "package x\n" + strings.Repeat("// x\n", maxFile-1), (*source).lengths, ""},
		{"no comment", "keys/x.go", "package x\n", (*source).comments, "keys has no package comment"},
		{"comment", "keys/x.go", "// Package x is.\npackage x\n", (*source).comments, ""},
		{"init", "keys/x.go", "package x\nfunc init() {}\n", (*source).inits, "init function"},
		{"method init", "keys/x.go", "package x\nfunc (t T) init() {}\n", (*source).inits, ""},
		{"top folder", "pkg/x.go", "package x\n", (*source).folders, "packages stand in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wrong := strings.Join(tt.check(one(t, tt.file, tt.src)), "\n")
			if tt.says == "" && wrong != "" || !strings.Contains(wrong, tt.says) {
				t.Errorf("says %q, want %q", wrong, tt.says)
			}
		})
	}
}

// one is a module of a single file.
func one(t *testing.T, name, src string) *source {
	t.Helper()
	s := &source{fset: token.NewFileSet()}
	tree, err := parser.ParseFile(s.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	dir := path.Dir(name)
	s.packages = []pkg{{ImportPath: module + "/" + dir}}
	s.files = []file{{name, dir, strings.HasSuffix(name, "_test.go"), tree}}
	return s
}
