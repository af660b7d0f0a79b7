package archive

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestSameBytes holds the library's tar against the standard library's, and
// both against the headers that a Reader demands.
func TestSameBytes(t *testing.T) {
	archive, _ := write(t, small)
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	raw, err := d.DecodeAll(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, plainTar(t, small)) {
		t.Error("the tar is not the standard library's")
	}
	at := int64(0)
	for _, m := range list(small) {
		want, err := header(m.Name, m.Size)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(raw[at:at+block], want) {
			t.Errorf("%s: %s", m.Name, difference(raw[at:at+block], want))
		}
		at += block + m.Size + padding(m.Size)
	}
}

const library = "github.com/mholt/archiver"

// TestOnlyOneAdaptor reads every Go file of the module: only mholt.go here may
// import the library, and there only the calls that stay out of the file
// system may be named.
func TestOnlyOneAdaptor(t *testing.T) {
	adaptor, err := filepath.Abs("mholt.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = filepath.WalkDir(module(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil // a file under work; the compiler will tell
		}
		if !imports(f, library) {
			return nil
		}
		seen++
		if path != adaptor {
			t.Errorf("%s imports %s; only %s may", path, library, adaptor)
			return nil
		}
		for _, bad := range forbidden(f) {
			t.Errorf("%s names %s", path, bad)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("no file imports the library: this test does not see the adaptor")
	}
}

// module returns the folder of go.mod.
func module(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above this package")
		}
		dir = up
	}
}

func imports(f *ast.File, path string) bool {
	return slices.ContainsFunc(f.Imports, func(s *ast.ImportSpec) bool {
		p, _ := strconv.Unquote(s.Path.Value)
		return strings.HasPrefix(p, path)
	})
}

// forbidden returns what f names of the library beside the few things that
// it may: of the package NewTar and two types, of a Tar five methods.
func forbidden(f *ast.File) (bad []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		allowed := []string(nil)
		switch x := s.X.(type) {
		case *ast.Ident:
			if x.Name == "archiver" {
				allowed = []string{"NewTar", "Tar", "File"}
			} else if x.Name == "t" {
				allowed = []string{"Create", "Open"}
			}
		case *ast.SelectorExpr:
			if x.Sel.Name == "t" {
				allowed = []string{"Write", "Read", "Close"}
			}
		}
		if allowed != nil && !slices.Contains(allowed, s.Sel.Name) {
			bad = append(bad, s.Sel.Name)
		}
		return true
	})
	return bad
}

// TestForbidden sees that the check above can fail.
func TestForbidden(t *testing.T) {
	const src = `package p
import "github.com/mholt/archiver/v3"
func f() { archiver.Unarchive("a", "b"); t := archiver.NewTar(); t.Extract("a", "b", "c"); var x struct{ t *archiver.Tar }; x.t.Walk("a", nil) }`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := forbidden(f), []string{"Unarchive", "Extract", "Walk"}; !imports(f, library) || !slices.Equal(got, want) {
		t.Errorf("forbidden %v, want %v", got, want)
	}
}
