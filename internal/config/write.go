package config

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed *.tmpl
var templates embed.FS

// RenderServer writes s as a commented server.toml, as it would load from the
// file path. Paths in s stand as they are to be written, relative ones
// relative to that file. A configuration that would not load is an error, and
// never bytes.
func RenderServer(path string, s *Server) ([]byte, error) {
	data, abs, err := render(path, "server.toml.tmpl", s)
	if err != nil {
		return nil, err
	}
	_, err = parseServer(path, abs, data)
	return checked(data, err)
}

// RenderTill writes t as a commented till.toml; see [RenderServer].
func RenderTill(path string, t *Till) ([]byte, error) {
	data, abs, err := render(path, "till.toml.tmpl", t)
	if err != nil {
		return nil, err
	}
	_, err = parseTill(path, abs, data)
	return checked(data, err)
}

// RenderRelease writes r as a commented release.toml; see [RenderServer].
func RenderRelease(path string, r *Release) ([]byte, error) {
	data, abs, err := render(path, "release.toml.tmpl", r)
	if err != nil {
		return nil, err
	}
	_, err = parseRelease(path, abs, data)
	return checked(data, err)
}

// WriteServer makes the file path from s. A file that is there already stays
// as it is, and the error is fs.ErrExist.
func WriteServer(path string, s *Server) error {
	data, err := RenderServer(path, s)
	if err != nil {
		return err
	}
	return create(path, data)
}

// WriteTill makes the file path from t; see [WriteServer].
func WriteTill(path string, t *Till) error {
	data, err := RenderTill(path, t)
	if err != nil {
		return err
	}
	return create(path, data)
}

// WriteRelease makes the file path from r; see [WriteServer].
func WriteRelease(path string, r *Release) error {
	data, err := RenderRelease(path, r)
	if err != nil {
		return err
	}
	return create(path, data)
}

func render(path, name string, value any) (data []byte, abs string, err error) {
	if abs, err = filepath.Abs(path); err != nil {
		return nil, "", err
	}
	t, err := template.New(name).Funcs(template.FuncMap{"quote": quote, "quotes": quotes}).ParseFS(templates, "*.tmpl")
	if err != nil {
		return nil, "", fmt.Errorf("config: template %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, value); err != nil {
		return nil, "", fmt.Errorf("config: template %s: %w", name, err)
	}
	return b.Bytes(), abs, nil
}

// checked returns data unless it did not load. No line is named: the file
// does not exist yet.
func checked(data []byte, err error) ([]byte, error) {
	if err == nil {
		return data, nil
	}
	var e *Error
	if errors.As(err, &e) {
		e.Line = 0
	}
	return nil, err
}

// create makes the file, readable by its owner and group alone: it names
// hosts and accounts.
func create(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		e := &Error{File: path, Problem: "cannot be made: " + reason(err), Err: err}
		if errors.Is(err, fs.ErrExist) {
			e.Problem, e.Hint = "is there already, and was left as it is", "edit it, or name another file with --config FILE"
		}
		return e
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			// Half a configuration would stand in the way of the next try.
			err = errors.Join(err, os.Remove(path))
		}
	}()
	_, err = f.Write(data)
	return err
}

// quote writes a TOML string: a literal one for Windows paths, which are
// easier to read and edit so, else a basic one.
func quote(s string) string {
	if strings.Contains(s, `\`) && !strings.ContainsFunc(s, func(r rune) bool { return r == '\'' || isControl(r) }) {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case isControl(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// quotes writes a list of strings.
func quotes(list []string) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = quote(s)
	}
	return "[" + strings.Join(words, ", ") + "]"
}
