package arrows

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the path that our own import paths begin with.
const module = "caisseauto"

// A pkg is what "go list" says of one package.
type pkg struct {
	ImportPath string
	Dir        string
	Error      *struct{ Err string }

	GoFiles, CgoFiles, IgnoredGoFiles []string
	TestGoFiles, XTestGoFiles         []string
}

// A file is one source file, for whatever system it is meant.
type file struct {
	name string // slash-separated, below the module's root
	room string
	test bool
	tree *ast.File
}

// A source is the whole module.
type source struct {
	root     string
	fset     *token.FileSet
	packages []pkg
	files    []file
}

// load lists and parses the module. Files for other systems are among them:
// "go list" calls them ignored.
func load(t *testing.T) *source {
	t.Helper()
	mod := strings.TrimSpace(string(output(t, "", "go", "env", "GOMOD")))
	s := &source{root: filepath.Dir(mod), fset: token.NewFileSet()}
	s.watch(t)
	// The tool passes over testdata in "./...".
	list := output(t, s.root, "go", "list", "-e", "-json=ImportPath,Dir,Error,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles", "./...", "./testdata/schema")
	dec := json.NewDecoder(bytes.NewReader(list))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Error != nil {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
		}
		s.packages = append(s.packages, p)
		s.parse(t, p)
	}
	if len(s.files) < 20 {
		t.Fatalf("found only %d files in %s", len(s.files), s.root)
	}
	return s
}

// watch reads every folder, so that "go test" does not take an old result
// from its cache after a file was added: it knows what this process opens,
// and not what "go list" does.
func (s *source) watch(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(s.root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && p != s.root && (strings.HasPrefix(d.Name(), ".") || !slices.Contains(roots, top(s.root, p))) {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func top(root, p string) string {
	rel, err := filepath.Rel(root, p)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
	return first
}

func (s *source) parse(t *testing.T, p pkg) {
	t.Helper()
	for _, list := range [][]string{p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles} {
		for _, name := range list {
			full := filepath.Join(p.Dir, name)
			tree, err := parser.ParseFile(s.fset, full, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Error(err)
				continue
			}
			room := room(p.ImportPath)
			s.files = append(s.files, file{path.Join(room, name), room, strings.HasSuffix(name, "_test.go"), tree})
		}
	}
}

// lines returns how many lines a node takes.
func (s *source) lines(from, to token.Pos) int {
	return s.fset.Position(to).Line - s.fset.Position(from).Line + 1
}

// room is an import path without the module's own.
func room(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

func output(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return out
}

// matches reports whether a name is in a list of names and "…/..." patterns.
func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		dir, tree := strings.CutSuffix(p, "/...")
		if p == name || tree && (name == dir || strings.HasPrefix(name, dir+"/")) {
			return true
		}
	}
	return false
}
