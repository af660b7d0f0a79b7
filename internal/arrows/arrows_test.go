package arrows

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestSource(t *testing.T) {
	s := load(t)
	t.Run("arrows", func(t *testing.T) { report(t, s.arrows()) })
	t.Run("single homes", func(t *testing.T) { report(t, s.homes()) })
	t.Run("steady calls", func(t *testing.T) { report(t, s.steady()) })
	t.Run("lengths", func(t *testing.T) { report(t, s.lengths()) })
	t.Run("package comments", func(t *testing.T) { report(t, s.comments()) })
	t.Run("no init functions", func(t *testing.T) { report(t, s.inits()) })
	t.Run("folders", func(t *testing.T) { report(t, s.folders()) })
}

func report(t *testing.T, wrong []string) {
	t.Helper()
	for _, w := range wrong {
		t.Error(w)
	}
}

// arrows returns the imports of our own rooms that no rule allows.
func (s *source) arrows() (wrong []string) {
	for _, f := range s.files {
		allowed, listed := rule(arrows, f.room)
		if !listed {
			wrong = append(wrong, f.name+": the room "+f.room+" has no arrows; write down what it may import in rules_test.go")
			continue
		}
		if f.test {
			more, _ := rule(testArrows, f.room)
			allowed = append(slices.Clone(allowed), more...)
		}
		for _, p := range imports(f.tree) {
			if p != module && !strings.HasPrefix(p, module+"/") {
				continue
			}
			if to := room(p); to != f.room && !matches(allowed, to) {
				wrong = append(wrong, fmt.Sprintf("%s: %s may not import %s", f.name, f.room, to))
			}
		}
	}
	return wrong
}

// rule returns the list of a room, or of a package from outside, or that of
// the nearest folder above it which has one for all below.
func rule(rules map[string][]string, room string) ([]string, bool) {
	if list, ok := rules[room]; ok {
		return list, true
	}
	for dir := room; dir != "."; dir = path.Dir(dir) {
		if list, ok := rules[dir+"/..."]; ok {
			return list, true
		}
	}
	return nil, false
}

func imports(f *ast.File) (paths []string) {
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			p = spec.Path.Value // the parser has taken it; let no rule match
		}
		paths = append(paths, p)
	}
	return paths
}

// homes returns the imports from outside that are kept to one place, and
// stand in another.
func (s *source) homes() (wrong []string) {
	for _, f := range s.files {
		for _, p := range imports(f.tree) {
			if home, kept := rule(only, p); kept && !matches(home, f.name) && !(f.test && matches(home, f.room)) {
				wrong = append(wrong, fmt.Sprintf("%s: only %s may import %s", f.name, strings.Join(home, ", "), p))
			}
		}
	}
	return wrong
}

// steady returns the calls that belong to internal/durable. Tests may do as
// they like: they play the disk and the stranger.
func (s *source) steady() (wrong []string) {
	for _, f := range s.files {
		if f.test || path.Base(f.room) == "droptest" {
			continue
		}
		called := map[ast.Expr]bool{}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				called[call.Fun] = true
			}
			if sel, ok := n.(*ast.SelectorExpr); ok && (called[sel] || ofSystem(sel.X)) {
				if home, kept := steady[sel.Sel.Name]; kept && !matches(home, f.name) {
					wrong = append(wrong, fmt.Sprintf("%s: %s belongs to internal/durable", s.fset.Position(sel.Pos()), sel.Sel.Name))
				}
			}
			return true
		})
	}
	return wrong
}

// ofSystem reports whether x names a package that calls the system: of these
// a function counts also where it is not called but handed on. A field may
// have any name.
func ofSystem(x ast.Expr) bool {
	id, ok := x.(*ast.Ident)
	return ok && slices.Contains([]string{"os", "syscall", "unix", "windows"}, id.Name)
}

func (s *source) lengths() (wrong []string) {
	for _, f := range s.files {
		if f.test {
			continue
		}
		if n := s.lines(f.tree.FileStart, f.tree.FileEnd-1); n > maxFile {
			wrong = append(wrong, fmt.Sprintf("%s has %d lines, more than %d", f.name, n, maxFile))
		}
		for _, d := range f.tree.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				if n := s.lines(fn.Pos(), fn.End()); n > maxFunction {
					wrong = append(wrong, fmt.Sprintf("%s: %s has %d lines, more than %d", f.name, fn.Name.Name, n, maxFunction))
				}
			}
		}
	}
	return wrong
}

// comments returns the packages that do not say what they are.
func (s *source) comments() (wrong []string) {
	said := map[string]bool{}
	for _, f := range s.files {
		said[f.room] = said[f.room] || !f.test && f.tree.Doc.Text() != ""
	}
	for _, p := range s.packages {
		if r := room(p.ImportPath); !said[r] {
			wrong = append(wrong, r+" has no package comment")
		}
	}
	return wrong
}

// inits returns the functions that would run because a package is imported.
func (s *source) inits() (wrong []string) {
	for _, f := range s.files {
		for _, d := range f.tree.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				wrong = append(wrong, f.name+" has an init function")
			}
		}
	}
	return wrong
}

func (s *source) folders() (wrong []string) {
	for _, p := range s.packages {
		if top, _, _ := strings.Cut(room(p.ImportPath), "/"); !slices.Contains(roots, top) {
			wrong = append(wrong, fmt.Sprintf("%s: packages stand in %s", p.ImportPath, strings.Join(roots, ", ")))
		}
	}
	return wrong
}

// modernc.org/sqlite is generated for one version of modernc.org/libc, and
// breaks with any other (its issue 177).
func TestLibcVersion(t *testing.T) {
	var sqlite struct{ Version, GoMod string }
	decode(t, output(t, "", "go", "list", "-m", "-json", "modernc.org/sqlite"), &sqlite)
	var its struct {
		Require []struct{ Path, Version string }
	}
	decode(t, output(t, "", "go", "mod", "edit", "-json", sqlite.GoMod), &its)
	want := ""
	for _, r := range its.Require {
		if r.Path == "modernc.org/libc" {
			want = r.Version
		}
	}
	got := strings.TrimSpace(string(output(t, "", "go", "list", "-m", "-f", "{{.Version}}", "modernc.org/libc")))
	if want == "" || got != want {
		t.Errorf("go.mod takes modernc.org/libc %s, and modernc.org/sqlite %s needs exactly %q", got, sqlite.Version, want)
	}
}

func decode(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

// Every rule is for something: a room or file that is gone leaves no rule.
func TestRulesAreOfThisModule(t *testing.T) {
	s := load(t)
	future := []string{"internal/postgres", "internal/release"}
	for _, rules := range []map[string][]string{arrows, testArrows} {
		for name := range rules {
			dir, _ := strings.CutSuffix(name, "/...")
			if !slices.ContainsFunc(s.files, func(f file) bool { return matches([]string{name}, f.room) }) && !slices.Contains(future, dir) {
				t.Errorf("a rule for %s, which is not there in %s", name, filepath.Base(s.root))
			}
		}
	}
}
