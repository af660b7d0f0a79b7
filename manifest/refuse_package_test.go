package manifest_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"caisseauto/keys"
	"caisseauto/manifest"
)

// software returns a good manifest of a package.
func software() *manifest.Manifest {
	m := &manifest.Manifest{
		Format: manifest.Format, Stream: "ACME/packages", Epoch: 1, Sequence: 42, Previous: digest("d"),
		Kind: manifest.KindPackage, Created: noon, Signer: "release@acme",
		Archive: manifest.Archive{Name: "0000000042.tar.zst", Size: 600, SHA256: digest("a"), TarSize: 4096},
		Package: &manifest.Package{
			Product: "caisse", Version: "3.2.0", Release: 7, OS: "linux", Arch: "amd64", Notes: "Rayon <frais>:\nprix au kilo\n",
			Requires: []manifest.Requirement{{Product: "base", Release: 2}, {Product: "caisse", Release: 5}},
			Files: []manifest.File{
				{Name: "LICENSE", Mode: "0644", Size: 0, SHA256: digest("1")},
				{Name: "bin/caisse", Mode: "0755", Size: 1000, SHA256: digest("2")},
				{Name: "bin/lib/ecran.so", Mode: "0644", Size: 512, SHA256: digest("3")},
			},
			Probe: &manifest.Probe{Command: []string{"bin/caisse", "--check", "été"}, Seconds: 30},
		},
	}
	return m
}

// stepBack returns a good manifest of a package that leads back.
func stepBack() *manifest.Manifest {
	m := software()
	m.Package.Requires, m.Package.Probe = nil, nil
	m.Package.Rollback = &manifest.Rollback{From: 9, To: 7}
	return m
}

// What describes a package and may not be so.
var badPackages = []bad{
	{"kind of rows", "M1", `"kind": "package"`, `"kind": "delta"`},
	{"stream down", "S6", `"ACME/packages"`, `"ACME/down"`},
	{"signer that is the server", "S6", `"release@acme"`, `"server@acme"`},
	{"first with one before it", "M2", `"sequence": 42`, `"sequence": 1`},
	{"tar_size one less", "M4", `"tar_size": 4096`, `"tar_size": 4095`},
	{"file larger than the tar", "M4", `"size": 512`, `"size": 513`},
	{"a table", "K1", `"tables": []`, "\"tables\": [\n    {\n      \"name\": \"a\",\n      \"scope\": \"changes\",\n      \"columns\": [],\n      \"key\": [],\n      \"schema\": \"\"\n    }\n  ]"},
	{"a member", "K1", `"members": []`, "\"members\": [\n    {\n      \"name\": \"data/a.0001.ndjson\",\n      \"table\": \"a\",\n      \"rows\": 0,\n      \"size\": 5,\n      \"sha256\": \"\"\n    }\n  ]"},
	{"unchanged", "M16", `"members": [],`, `"members": [],` + "\n  \"unchanged\": true,"},
	{"integrated", "K1", `"members": [],`, `"members": [],` + "\n  \"integrated\": 1,"},
	{"incarnation", "K1", `"members": [],`, `"members": [],` + "\n  \"incarnation\": \"" + incarnation + "\","},
	{"product in capitals", "K2", `"product": "caisse",` + "\n  \"version\"", `"product": "Caisse",` + "\n  \"version\""},
	{"product that leads elsewhere", "K2", `"product": "caisse",` + "\n  \"version\"", `"product": "..",` + "\n  \"version\""},
	{"product empty", "K2", `"product": "caisse",` + "\n  \"version\"", `"product": "",` + "\n  \"version\""},
	{"product too long", "K2", `"product": "caisse",` + "\n  \"version\"", `"product": "` + strings.Repeat("a", 65) + `",` + "\n  \"version\""},
	{"version with a slash", "K2", `"3.2.0"`, `"3/2"`},
	{"version with a blank", "K2", `"3.2.0"`, `"3 2"`},
	{"version that is hidden", "K2", `"3.2.0"`, `".3"`},
	{"release zero", "K2", `"release": 7`, `"release": 0`},
	{"release beyond 2^53", "K2", `"release": 7`, `"release": 9007199254740992`},
	{"os in capitals", "K2", `"linux"`, `"Linux"`},
	{"arch empty", "K2", `"amd64"`, `""`},
	{"notes with an escape", "K2", "Rayon", `\u001b[2J`},
	{"notes with a bell", "K2", "Rayon", `\u0007`},
	{"notes too long", "K2", "Rayon", strings.Repeat("n", manifest.MaxNotes)},
	{"requirement without release", "K3", "\"base\",\n      \"release\": 2", "\"base\",\n      \"release\": 0"},
	{"requirement of nothing", "K3", `"base"`, `""`},
	{"requirement twice", "K3", `"base"`, `"caisse"`},
	{"requirements out of order", "K3", `"base"`, `"zebra"`},
	{"requires itself", "K3", "\"caisse\",\n      \"release\": 5", "\"caisse\",\n      \"release\": 7"},
	{"file that leads elsewhere", "K4", `"bin/caisse",` + "\n      \"mode\"", `"../caisse",` + "\n      \"mode\""},
	{"file that leads elsewhere inside", "K4", `"bin/caisse",` + "\n      \"mode\"", `"bin/../caisse",` + "\n      \"mode\""},
	{"file absolute", "K4", `"bin/caisse",` + "\n      \"mode\"", `"/caisse",` + "\n      \"mode\""},
	{"file with a backslash", "K4", `"bin/caisse",` + "\n      \"mode\"", `"bin\\caisse",` + "\n      \"mode\""},
	{"file that is a folder", "K4", `"bin/caisse",` + "\n      \"mode\"", `"bin/",` + "\n      \"mode\""},
	{"file not ASCII", "K4", `"LICENSE"`, `"LICENCÉ"`},
	{"file with a line feed", "K4", `"LICENSE"`, `"LICENSE\n"`},
	{"file like an option", "K4", `"LICENSE"`, `"-LICENSE"`},
	{"file of another drive", "K4", `"LICENSE"`, `"C:LICENSE"`},
	{"file that is a device", "K4", `"LICENSE"`, `"Con.txt"`},
	{"file with a blank at its end", "K4", `"LICENSE"`, `"LICENSE "`},
	{"files out of order", "K4", `"LICENSE"`, `"c"`},
	{"file twice", "K4", `"bin/lib/ecran.so"`, `"bin/caisse"`},
	{"files that differ in case alone", "K4", `"LICENSE"`, `"BIN/Caisse"`},
	{"folders that differ in case alone", "K4", `"LICENSE"`, `"BIN/x"`},
	{"file in the place of a folder", "K4", `"LICENSE"`, `"bin"`},
	{"file where another one needs a folder", "K4", `"bin/lib/ecran.so"`, `"bin/caisse/ecran.so"`},
	{"setuid", "K4", `"0755"`, `"4755"`},
	{"writable for all", "K4", `"0755"`, `"0777"`},
	{"mode not octal", "K4", `"0755"`, `"755"`},
	{"size negative", "K4", `"size": 512`, `"size": -512`},
	{"size beyond any disk", "K4", `"size": 512`, `"size": 8589934592`},
	{"file digest in capitals", "D7", digest("3"), digest("E")},
	{"probe of no program", "K5", `"bin/caisse",` + "\n      \"--check\"", `"LICENSE",` + "\n      \"--check\""},
	{"probe outside", "K5", `"bin/caisse",` + "\n      \"--check\"", `"/bin/sh",` + "\n      \"--check\""},
	{"probe without a limit", "K5", `"seconds": 30`, `"seconds": 0`},
	{"probe for an hour", "K5", `"seconds": 30`, `"seconds": 3600`},
	{"probe with a NUL", "K5", "--check", `\u0000`},
	{"unknown field", "D2", `"notes"`, `"note"`},
}

// What leads back and may not.
var badRollbacks = []bad{
	{"to another release", "K6", `"to": 7`, `"to": 6`},
	{"from an older one", "K6", `"from": 9`, `"from": 6`},
	{"from itself", "K6", `"from": 9`, `"from": 7`},
	{"from beyond 2^53", "K6", `"from": 9`, `"from": 9007199254740992`},
	{"without from", "D3", "    \"from\": 9,\n", ""},
}

func (w *world) openPackage(t testing.TB, s keys.Signer, doc []byte) (*manifest.Manifest, error) {
	t.Helper()
	m, _, err := manifest.Open("x.manifest.json", "ACME/packages", doc, sign(t, s, doc, keys.NamespacePackage), w.trust)
	return m, err
}

func TestOpenRefusesPackages(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		good []byte
		bad  []bad
	}{{encode(t, software()), badPackages}, {encode(t, stepBack()), badRollbacks}} {
		m, err := w.openPackage(t, w.release, c.good)
		if err != nil {
			t.Fatal(err)
		}
		if again := encode(t, m); !bytes.Equal(again, c.good) {
			t.Errorf("%s\nencodes again to\n%s", c.good, again)
		}
		for _, b := range c.bad {
			t.Run(b.name, func(t *testing.T) {
				_, err := w.openPackage(t, w.release, replace(t, c.good, b.from, b.to))
				wantRule(t, err, b.rule, "x.manifest.json")
			})
		}
	}
	// A package is signed by the release manager in its own namespace.
	doc := encode(t, software())
	for _, s := range []keys.Signer{w.server, w.till17} {
		_, err := w.openPackage(t, s, doc)
		wantRule(t, err, "S6", "x.manifest.json")
	}
	_, _, err := manifest.Open("x", "ACME/packages", doc, sign(t, w.release, doc, keys.NamespaceManifest), w.trust)
	wantRule(t, err, "S3", "x")
	// Nothing of a package stands in a batch of rows.
	m := delta()
	m.Package = software().Package
	_, err = manifest.Encode(m)
	wantRule(t, err, "K1", "manifest")
	m = software()
	m.Package = nil
	_, err = manifest.Encode(m)
	wantRule(t, err, "K1", "manifest")
	m = software()
	m.Package.Files = nil
	m.Archive.TarSize = 1024
	_, err = manifest.Encode(m)
	wantRule(t, err, "K4", "manifest")
	m = software()
	m.Package.Probe, m.Archive.TarSize = nil, 1024
	for n := range 9 {
		m.Package.Files = append(m.Package.Files, manifest.File{Name: fmt.Sprint("z", n), Mode: manifest.ModeData, Size: manifest.MaxFileSize, SHA256: digest("1")})
	}
	_, err = manifest.Encode(m)
	wantRule(t, err, "K4", "manifest")
}

// TestFileNames: what is accepted fits a tar header of the standard library
// that knows no extension, and leads nowhere.
func TestFileNames(t *testing.T) {
	part := strings.Repeat("n", 98)
	for name, want := range map[string]bool{
		"a": true, "a/b": true, ".config/x": true, "A b/c d.txt": true, "x-y_z+1~2@3=4,5(6)[7]{8}!#$%&'`;^": true, "...a": true,
		"com10": true, "com": true, "console.txt": true, "null": true,
		"": false, ".": false, "..": false, "a/": false, "a//b": false, "/a": false, "a/./b": false, "a/..": false,
		"-a": false, "b/-a": true, "a ": false, " a": false, "a.": false, "a/b. /c": false, "a:b": false, `a\b`: false, "a*": false,
		"a\x00": false, "a\x7f": false, "é": false, "con": false, "x/NUL.tar.gz": false, "lpt1": false, "com0.x": false, "aux ": false, "prn .x": false,
		part + "/" + part: true, strings.Repeat("n", 100): true, strings.Repeat("n", 101): false,
		strings.Repeat("a/", 31) + "b": true, strings.Repeat("a/", 32) + "b": false,
	} {
		if err := manifest.CheckFileName(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
	for length := 90; length < 270; length++ {
		for slash := 1; slash < length-1; slash += 3 {
			name := strings.Repeat("d", slash) + "/" + strings.Repeat("f", length-slash-1)
			err := tar.NewWriter(&bytes.Buffer{}).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Format: tar.FormatUSTAR})
			if mine := manifest.CheckFileName(name); (mine == nil) != (err == nil) {
				t.Errorf("%d bytes, slash at %d: %v, and the standard library says %v", length, slash, mine, err)
			}
		}
	}
}

func TestProductsAndVersions(t *testing.T) {
	for s, want := range map[string][2]bool{
		"caisse": {true, true}, "Caisse": {false, true}, "3.2.0-rc1+b~5": {false, true}, "a.b_c-d": {true, true}, "2": {true, true},
		"": {}, ".a": {}, "-a": {}, "_a": {}, "a/b": {}, "a b": {}, "é": {}, "a\n": {}, "\u212a": {},
		strings.Repeat("a", 64): {true, true}, strings.Repeat("a", 65): {},
	} {
		if got := [2]bool{manifest.ValidProduct(s), manifest.ValidVersion(s)}; got != want {
			t.Errorf("%q: product, version %v, want %v", s, got, want)
		}
	}
}

// TestManyFiles: a package of 20,000 files has a manifest, and one of too many
// says so.
func TestManyFiles(t *testing.T) {
	m := software()
	m.Package.Files, m.Package.Probe = nil, nil
	add := func(n int) {
		for range n {
			m.Package.Files = append(m.Package.Files, manifest.File{Name: fmt.Sprintf("f/%06d", len(m.Package.Files)), Mode: manifest.ModeData, SHA256: digest("f")})
		}
		m.Archive.TarSize = int64(len(m.Package.Files))*512 + 1024
	}
	add(20_000)
	encode(t, m)
	add(20_000)
	_, err := manifest.Encode(m)
	wantRule(t, err, "D1", "manifest")
}

func TestPackageFits(t *testing.T) {
	p := software().Package
	for _, c := range []struct {
		os, arch string
		want     bool
	}{{"linux", "amd64", true}, {manifest.Any, "amd64", true}, {manifest.Any, manifest.Any, true}, {"windows", "amd64", false}, {"linux", "arm64", false}, {"windows", manifest.Any, false}} {
		p.OS, p.Arch = c.os, c.arch
		if p.Fits("linux", "amd64") != c.want {
			t.Errorf("%s/%s on linux/amd64: %v", c.os, c.arch, !c.want)
		}
	}
}
