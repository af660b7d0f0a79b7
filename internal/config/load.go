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
	ServerFile = "server.toml"
	TillFile   = "till.toml"
)

// maxFile is far more than a deployment of a thousand dossiers needs; a
// larger file is no configuration.
const maxFile = 4 << 20

// A Role says whose configuration a file is.
type Role string

// The two roles.
const (
	RoleServer Role = "server"
	RoleTill   Role = "till"
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

// Find returns the path and role of the one configuration file in dir. None
// or both of them is an *Error that says to name one.
func Find(dir string) (string, Role, error) {
	server, till := filepath.Join(dir, ServerFile), filepath.Join(dir, TillFile)
	_, serr := os.Stat(server)
	_, terr := os.Stat(till)
	switch {
	case serr == nil && terr == nil:
		return "", "", &Error{File: dir, Problem: "both server.toml and till.toml are here", Hint: "say which with --config FILE"}
	case serr == nil:
		return server, RoleServer, nil
	case terr == nil:
		return till, RoleTill, nil
	}
	return "", "", &Error{File: dir, Problem: "neither server.toml nor till.toml is here", Err: fs.ErrNotExist,
		Hint: `name the file with --config FILE, or make one with "caisseauto init server" or "caisseauto init till"`}
}

// RoleOf tells by its content whose configuration a file is: a till's has a
// table [till]. It checks nothing else.
func RoleOf(path string) (Role, error) {
	_, data, err := read(path, "server")
	if err != nil {
		return "", err
	}
	if isTill(path, data) {
		return RoleTill, nil
	}
	return RoleServer, nil
}

func isTill(path string, data []byte) bool {
	var probe struct {
		Till any `toml:"till"`
	}
	// Whatever is wrong with the rest is told when the file is loaded.
	_ = toml.Unmarshal(data, &probe)
	return probe.Till != nil || filepath.Base(path) == TillFile
}

func isServer(data []byte) bool {
	var probe struct {
		Dossier any `toml:"dossier"`
		Till    any `toml:"till"`
	}
	_ = toml.Unmarshal(data, &probe)
	return probe.Dossier != nil && probe.Till == nil
}

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
	// Windows' editors begin UTF-8 files with a byte order mark.
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
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
