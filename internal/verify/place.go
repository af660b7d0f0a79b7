package verify

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"caisseauto/manifest"
)

// A place is a stream to be checked, and where it lies.
type place struct {
	stream  string
	folder  string // of the stream, on this machine
	only    int64  // one batch alone; 0: all
	dossier string // the dossier's folder, when that was asked for, or ""
	trouble error  // why the folder is not looked into
	found   string // how the stream's name was found, where the path does not say it
}

// places finds the streams under a path: a batch's file, or its number
// without an ending, the folder of a stream, of a dossier, of a drop.
func places(name, stream string) ([]place, error) {
	full, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	if seq, ok := batchOf(filepath.Base(full)); ok {
		if p, err := inFolder(filepath.Dir(full), stream); err == nil && p != nil {
			p.only = seq
			return []place{*p}, nil
		}
	}
	info, err := os.Stat(full)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no file of a batch: name a file like %s, or a folder: %w", name, manifest.FileName(42, manifest.ManifestExt), fs.ErrInvalid)
	}
	if s := streamOf(full); stream != "" || s != "" {
		return []place{{stream: cmp.Or(stream, s), folder: full}}, nil
	}
	if list, err := ofDossier(full); err != nil || len(list) > 0 {
		return list, err
	}
	entries, err := folders(full + string(filepath.Separator)) // the path itself may be a link
	if err != nil {
		return nil, err
	}
	var list []place
	for _, e := range entries {
		more, err := ofDossier(filepath.Join(full, e))
		if errors.Is(err, fs.ErrPermission) {
			// It may be a dossier's: that it cannot be read is its verdict.
			more, err = []place{{stream: e, folder: filepath.Join(full, e)}}, nil
		}
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	if len(list) > 0 {
		return list, nil
	}
	p, err := inFolder(full, stream)
	if err != nil || p == nil {
		return nil, err
	}
	return []place{*p}, nil
}

// batchOf returns the number that a batch's file, or its bare number, has.
func batchOf(base string) (int64, bool) {
	if seq, _, ok := manifest.ParseFileName(base); ok {
		return seq, true
	}
	seq, _, ok := manifest.ParseFileName(base + manifest.ManifestExt)
	return seq, ok
}

// inFolder returns the place of the stream whose files lie in the folder, nil
// when it has none. The name of the stream is the one that was given, or the
// end of the path; where neither says it, a copy of the folder alone, it is
// what the first manifest there claims, and its signature then has to be that
// stream's.
func inFolder(folder, stream string) (*place, error) {
	p := &place{stream: stream, folder: folder}
	if p.stream == "" {
		p.stream = streamOf(folder)
	}
	if p.stream != "" {
		return p, nil
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	l, err := list(root)
	if err != nil || len(l.batches) == 0 {
		return nil, err
	}
	for _, b := range l.batches {
		doc, err := readFile(root, manifest.FileName(b.sequence, manifest.ManifestExt), manifest.MaxManifest)
		if err != nil {
			continue
		}
		if p.stream = claimed(doc); p.stream != "" {
			p.found = "the folder's name does not say which stream this is: taken from its first manifest"
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s: nothing says which stream this is; name it with --stream: %w", folder, fs.ErrInvalid)
}

// claimed returns the stream that a manifest names, or "". Nothing has been
// verified yet: it only says what the signature is to be held against.
func claimed(doc []byte) string {
	for line := range strings.Lines(string(doc)) {
		if s, ok := strings.CutPrefix(line, `  "stream": "`); ok {
			s = strings.TrimSuffix(s, "\",\n")
			if manifest.ValidStream(s) {
				return s
			}
		}
	}
	return ""
}

// streamOf returns the stream that the end of a folder's path names, or "".
func streamOf(folder string) string {
	parts := strings.Split(filepath.ToSlash(folder), "/")
	for _, n := range []int{2, 3} {
		if len(parts) < n {
			continue
		}
		if s := path.Join(parts[len(parts)-n:]...); manifest.ValidStream(s) {
			return s
		}
	}
	return ""
}

// isThere reports whether there is a folder that can be looked into. A link, or
// what is no folder, is an error.
func isThere(folder string) (bool, error) {
	info, err := os.Lstat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.IsDir():
		return false, fmt.Errorf("%s is not a folder (%s)", folder, info.Mode().Type())
	}
	return true, enter(folder)
}

// folders lists the folders in a folder that may be a dossier's, sorted. Links
// are none.
func folders(folder string) ([]string, error) {
	return named(folder, func(e fs.DirEntry) bool { return e.IsDir() && manifest.ValidDossier(e.Name()) })
}

// tillFolders lists the tills that have a folder. A link is listed too: it is
// refused where it is looked at, for it shows one till under another's name.
func tillFolders(folder string) ([]string, error) {
	return named(folder, func(e fs.DirEntry) bool {
		return (e.IsDir() || e.Type()&fs.ModeSymlink != 0) && manifest.ValidTill(e.Name())
	})
}

// named lists the names in a folder that are wanted, sorted. No folder: none.
func named(folder string, wanted func(fs.DirEntry) bool) ([]string, error) {
	if there, err := isThere(folder); err != nil || !there {
		return nil, err
	}
	f, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	for {
		entries, err := f.ReadDir(1000)
		for _, e := range entries {
			if !wanted(e) {
				continue
			}
			if len(names) == maxFolders {
				return nil, errTooMany
			}
			names = append(names, e.Name())
		}
		if err != nil {
			slices.Sort(names)
			return names, ignoreEnd(err)
		}
	}
}

// maxFolders: more tills than any company has. Each takes some kilobytes in the
// report, whatever is in it.
const maxFolders = 10_000

var errTooMany = fmt.Errorf("more than %d names of tills or dossiers: move away what does not belong there", maxFolders)

// ofDossier lists the streams in a dossier's folder. None: it is no such
// folder.
func ofDossier(folder string) ([]place, error) {
	code := filepath.Base(folder)
	if !manifest.ValidDossier(code) {
		return nil, nil
	}
	if err := enter(folder); err != nil {
		return nil, err
	}
	var list []place
	add := func(stream string, parts ...string) {
		list = append(list, place{stream: stream, dossier: folder, folder: filepath.Join(append([]string{folder}, parts...)...)})
	}
	// What has one of these names and is no folder that can be read is a
	// place too: whoever has put a link or a locked folder there hides what
	// belongs there, and to pass over it would call the rest proven.
	if _, err := os.Lstat(filepath.Join(folder, "down")); err == nil {
		add(manifest.StreamDown(code), "down")
	}
	if empty, err := nothingIn(filepath.Join(folder, "packages")); err != nil || !empty {
		add(manifest.StreamPackages(code), "packages")
	}
	var tills []string
	for _, x := range []struct {
		name string
		read func(string) ([]string, error)
	}{{"receipts", receipted}, {"up", tillFolders}} {
		more, err := x.read(filepath.Join(folder, x.name))
		if err == nil {
			tills = append(tills, more...)
			continue
		}
		add(code+"/"+x.name, x.name)
		list[len(list)-1].trouble = err
		if x.name == "up" {
			return list, nil // what the tills have sent is hidden with it
		}
	}
	slices.Sort(tills)
	for _, till := range slices.Compact(tills) {
		add(manifest.StreamUp(code, till), "up", till)
	}
	return list, nil
}

// enter reports why a folder cannot be listed, or what is in it not looked at.
func enter(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = os.Lstat(folder + string(filepath.Separator) + ".")
	return err
}

// receipted lists the tills that have a receipt in a folder.
func receipted(folder string) ([]string, error) {
	if there, err := isThere(folder); !there {
		return nil, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var tills []string
	err = each(root, func(e fs.DirEntry) {
		till, ok := strings.CutSuffix(e.Name(), ".json")
		if ok && manifest.ValidTill(till) && len(tills) <= maxFolders {
			tills = append(tills, till)
		}
	})
	if err == nil && len(tills) > maxFolders {
		return nil, errTooMany
	}
	return tills, err
}

// nothingIn reports whether a folder is not there, or has no batch and no
// head.
func nothingIn(folder string) (bool, error) {
	if there, err := isThere(folder); !there {
		return true, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return false, err
	}
	defer root.Close()
	l, err := list(root)
	return len(l.batches) == 0 && !l.head, err
}
