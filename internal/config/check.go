package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A checker judges a decoded file and fills in defaults. It keeps the first
// thing that is wrong, in the order of the checks.
type checker struct {
	file string // as the user named it
	dir  string // absolute; what relative paths begin at
	idx  *index
	err  *Error
}

// fail notes that the value at path is wrong.
func (c *checker) fail(path, hint, problem string, args ...any) {
	if c.err != nil {
		return
	}
	c.err = &Error{File: c.file, Line: c.line(path), Key: plain(path), Problem: fmt.Sprintf(problem, args...), Hint: hint}
}

// line returns the line of path, or of the table that it is missing from.
func (c *checker) line(path string) int {
	for path != "" {
		if n, ok := c.idx.lines[path]; ok {
			return n
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return 0
}

// result returns the first problem as an error, and not as a nil *Error in an
// interface that is not nil.
func (c *checker) result() error {
	if c.err == nil {
		return nil
	}
	return c.err
}

// given reports whether the file itself holds a value at path.
func (c *checker) given(path string) bool { _, ok := c.idx.lines[path]; return ok }

// oneOf checks a word of choice; an empty one that was not written becomes
// def.
func (c *checker) oneOf(path string, word *string, def string, choice ...string) {
	if *word == "" && !c.given(path) {
		*word = def
		return
	}
	if slices.Contains(choice, *word) {
		return
	}
	hint := "write " + list(choice)
	if near := nearest(*word, choice); near != "" {
		hint = fmt.Sprintf("did you mean %q? %s", near, hint)
	}
	c.fail(path, hint, "%q is not known here", *word)
}

func list(words []string) string {
	switch len(words) {
	case 0:
		return "none"
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// name checks a table's, column's or account's name: any text that a
// database can hold. An empty one is wrong when need is set or when it was
// written down.
func (c *checker) name(path, value string, need bool) {
	switch {
	case value == "" && need && !c.given(path):
		c.fail(path, "write its name", "missing")
	case value == "" && c.given(path):
		c.fail(path, "write a name, or leave the key out", "empty")
	case strings.ContainsFunc(value, isControl):
		c.fail(path, "write the name as the database shows it", "control characters in a name")
	}
}

// codeForm is the grammar of dossier codes and till numbers. They are names
// of folders on every system, and parts of principals.
var codeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

func (c *checker) code(path, value string) {
	switch {
	case value == "" && !c.given(path):
		c.fail(path, `write 1 to 32 letters A-Z a-z, digits, "_" or "-"`, "missing")
	case !codeForm.MatchString(value):
		c.fail(path, `write 1 to 32 letters A-Z a-z, digits, "_" or "-"`, "%q has the wrong form", value)
	}
}

// unique checks that value was not seen before, whatever its case.
func (c *checker) unique(seen map[string]string, path, value, what string) {
	key := strings.ToLower(value)
	if other, there := seen[key]; there && value != "" {
		c.fail(path, "each may stand once, and upper and lower case are the same", "%s %q is there already (as %q)", what, value, other)
	}
	seen[key] = value
}

// The forms of principals. The part behind the "@" is a deployment's name,
// for which dots are allowed beside what a code may hold.
var (
	serverPrincipal = regexp.MustCompile(`^server@[a-z0-9][a-z0-9._-]{0,63}$`)
	tillPrincipal   = regexp.MustCompile(`^till-([a-z0-9_-]{1,32})@[a-z0-9_-]{1,32}$`)
)

// resolve makes p absolute; a relative one begins at dir. The empty path
// stays empty. Slashes are taken on every system.
func resolve(dir, p string) string {
	if p == "" {
		return ""
	}
	p = filepath.FromSlash(p)
	if !filepath.IsAbs(p) {
		p = filepath.Join(dir, p)
	}
	return filepath.Clean(p)
}

// path resolves *p in place, with def for an empty one.
func (c *checker) path(key string, p *string, def string) {
	if *p == "" {
		if c.given(key) {
			c.fail(key, "write a path, or leave the key out", "empty")
		}
		*p = def
	}
	if strings.ContainsFunc(*p, isControl) {
		c.fail(key, "write the path of a file or folder", "control characters in a path")
	}
	*p = resolve(c.dir, *p)
}
