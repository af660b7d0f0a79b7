package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// The files that commands look for in the current folder.
const (
	ServerFile  = "server.toml"
	TillFile    = "till.toml"
	ReleaseFile = "release.toml"
)

// maxFile is far more than a deployment of a thousand dossiers needs; a
// larger file is no configuration.
const maxFile = 4 << 20

// A Role says whose configuration a file is.
type Role string

// The three roles.
const (
	RoleServer  Role = "server"
	RoleTill    Role = "till"
	RoleRelease Role = "release" // a release manager's
)

// LoadServer reads and checks a server.toml. Errors are of type *Error.
func LoadServer(path string) (*Server, error) {
	abs, data, err := read(path, "server")
	if err != nil {
		return nil, err
	}
	return parseServer(path, abs, data)
}

// LoadTill reads and checks a till.toml. Errors are of type *Error.
func LoadTill(path string) (*Till, error) {
	abs, data, err := read(path, "till")
	if err != nil {
		return nil, err
	}
	return parseTill(path, abs, data)
}

// LoadRelease reads and checks a release.toml. Errors are of type *Error.
func LoadRelease(path string) (*Release, error) {
	abs, data, err := read(path, "release")
	if err != nil {
		return nil, err
	}
	return parseRelease(path, abs, data)
}

// Find returns the path and role of the one configuration file in dir. None,
// or a server's and a till's, is an *Error that says to name one. A
// release.toml may lie beside another one, which is then returned: a release
// manager's commands ask for theirs by its name.
func Find(dir string) (string, Role, error) {
	var found []Role
	for _, role := range []Role{RoleServer, RoleTill, RoleRelease} {
		if _, err := os.Stat(filepath.Join(dir, fileOf(role))); err == nil {
			found = append(found, role)
		}
	}
	switch {
	case len(found) == 0:
		return "", "", &Error{File: dir, Problem: "none of server.toml, till.toml and release.toml is here", Err: fs.ErrNotExist,
			Hint: `name the file with --config FILE, or make one with "caisseauto init server", "init till" or "init release"`}
	case len(found) > 1 && found[1] == RoleTill:
		return "", "", &Error{File: dir, Problem: "both server.toml and till.toml are here", Hint: "say which with --config FILE"}
	}
	return filepath.Join(dir, fileOf(found[0])), found[0], nil
}

// fileOf is what the file of a role is called.
func fileOf(role Role) string { return string(role) + ".toml" }

// whose is how messages speak of a role.
func whose(role Role) string {
	if role == RoleRelease {
		return "a release manager's"
	}
	return "a " + string(role) + "'s"
}

// RoleOf tells by its content whose configuration a file is, and where that
// leaves it open by its name: a till's has a table [till], a release manager's
// signs as release@NAME. It checks nothing else.
func RoleOf(path string) (Role, error) {
	_, data, err := read(path, "server")
	if err != nil {
		return "", err
	}
	return roleOf(path, data), nil
}

func roleOf(path string, data []byte) Role {
	role, name := roleIn(data), filepath.Base(path)
	switch {
	case role == RoleTill || name == TillFile:
		return RoleTill
	case name == ServerFile:
		return RoleServer // one that signs as release@NAME is told so
	case role == RoleRelease || name == ReleaseFile:
		return RoleRelease
	}
	return RoleServer
}

// roleIn tells by the content alone; "" where it has nothing that tells.
func roleIn(data []byte) Role {
	var probe struct {
		Till    any            `toml:"till"`
		Dossier any            `toml:"dossier"`
		Signing map[string]any `toml:"signing"`
	}
	// Whatever is wrong with the rest is told when the file is loaded.
	_ = toml.Unmarshal(unmarked(data), &probe)
	principal, _ := probe.Signing["principal"].(string)
	switch {
	case probe.Till != nil:
		return RoleTill
	case strings.HasPrefix(principal, "release@"):
		return RoleRelease
	case probe.Dossier != nil:
		return RoleServer
	}
	return ""
}

// otherRole is the error for a file that is not what was asked for. err is
// what it cannot be read for as that; it may be nil.
func otherRole(file string, is, want Role, err error) error {
	e := &Error{File: file, Problem: "this is " + whose(is) + " configuration, and " + whose(want) + " is wanted",
		Hint: "name a " + fileOf(want) + " with --config FILE", Err: err}
	if is == RoleRelease {
		e.Hint += "; release@NAME signs software packages and nothing else"
	}
	return e
}

// unmarked takes off the byte order mark that Windows' editors begin UTF-8
// files with.
func unmarked(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) }

func read(path, role string) (abs string, data []byte, err error) {
	fail := func(err error) (string, []byte, error) {
		e := &Error{File: path, Problem: "cannot be read: " + reason(err), Err: err}
		if errors.Is(err, fs.ErrNotExist) {
			e.Problem = "there is no such file"
			e.Hint = fmt.Sprintf(`name the file with --config FILE, or make it with "caisseauto init %s"`, role)
		}
		return "", nil, e
	}
	if abs, err = filepath.Abs(path); err != nil {
		return fail(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return fail(err)
	} else if !st.Mode().IsRegular() {
		return fail(errors.New("it is not a file"))
	}
	if data, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err != nil {
		return fail(err)
	}
	if len(data) > maxFile {
		return fail(fmt.Errorf("it is larger than %d MiB, which no configuration is", maxFile>>20))
	}
	return abs, data, nil
}

// reason leaves the path out of an error that is shown behind it.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// decode reads a document strictly into dst, a pointer to a struct, and
// returns where its keys stand.
func decode(file string, data []byte, dst any) (*index, error) {
	data = unmarked(data)
	root := reflect.TypeOf(dst).Elem()
	err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(dst)
	var strict *toml.StrictMissingError
	if err != nil && !errors.As(err, &strict) {
		return nil, decodeError(file, data, root, err)
	}
	x := indexOf(data, root)
	if x.unknown != nil {
		x.unknown.File = file
		return nil, x.unknown
	}
	if strict != nil {
		return nil, &Error{File: file, Problem: strict.Error()}
	}
	return x, nil
}

// decodeError puts an error of the TOML library into our words.
func decodeError(file string, data []byte, root reflect.Type, err error) error {
	var de *toml.DecodeError
	if !errors.As(err, &de) {
		// A number reaches Duration.UnmarshalText, whose error comes back
		// without its place.
		if bare := indexOf(data, root).bare; bare != nil {
			bare.File = file
			return bare
		}
		return &Error{File: file, Problem: strings.TrimPrefix(err.Error(), "toml: ")}
	}
	line, _ := de.Position()
	e := &Error{File: file, Line: line, Key: strings.Join(de.Key(), "."),
		Problem: strings.TrimPrefix(de.Error(), "toml: ")}
	if m := storeError.FindStringSubmatch(e.Problem); m != nil {
		e.Problem = "a value of the wrong type"
		if m[1] != "" {
			e.Problem = fmt.Sprintf("a TOML %s is a value of the wrong type here", m[1])
		}
		e.Hint = "write " + wanted(typeAt(root, de.Key()))
		return e
	}
	switch text := lineOf(data, line); {
	case strings.Contains(text, `\`) && strings.Contains(text, `"`):
		e.Hint = `a backslash in double quotes begins an escape; write a Windows path in single quotes, like 'C:\erp\erp.db'`
	case bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")):
		e.Hint = "the file is UTF-16; save it as UTF-8"
	}
	return e
}

// storeError matches what the library says of a value that does not fit.
var storeError = regexp.MustCompile(`^cannot (?:decode TOML ([a-z]+(?: [a-z]+)*) into |store )`)

// wanted says in a user's words what a field takes.
func wanted(t reflect.Type) string {
	if t == nil {
		return "what the manual shows for this key"
	}
	switch {
	case t == reflect.TypeFor[Duration]():
		return `a duration in quotes, like "5m"`
	case t == reflect.TypeFor[PublicKeys]():
		return `a key like "ssh-ed25519 AAAA…" or a list of such`
	case t.Kind() == reflect.String:
		return "text in quotes"
	case t.Kind() == reflect.Int:
		return "a whole number, without quotes"
	case t.Kind() == reflect.Bool:
		return "true or false, without quotes"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		return `a list of texts, like ["a", "b"]`
	case t.Kind() == reflect.Slice:
		return "a [[…]] table for each of them"
	}
	return "a table with keys of its own"
}

func lineOf(data []byte, n int) string {
	for i, l := range strings.Split(string(data), "\n") {
		if i+1 == n {
			return l
		}
	}
	return ""
}
