package verify

import (
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
		p, err := inFolder(full, stream)
		if err != nil || p != nil {
			return []place{*p}, err
		}
	}
	if list, err := ofDossier(full); err != nil || len(list) > 0 {
		return list, err
	}
	entries, err := folders(full)
	if err != nil {
		return nil, err
	}
	var list []place
	for _, e := range entries {
		more, err := ofDossier(filepath.Join(full, e))
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		if err != nil {
			more = []place{{stream: manifest.StreamDown(e), folder: filepath.Join(full, e, "down")}}
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

// folders lists the folders in a folder, sorted. Links are none.
func folders(folder string) ([]string, error) {
	f, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	for {
		entries, err := f.ReadDir(1000)
		for _, e := range entries {
			if e.IsDir() && manifest.ValidDossier(e.Name()) && len(names) < maxFolders {
				names = append(names, e.Name())
			}
		}
		if err != nil {
			slices.Sort(names)
			return names, ignoreEnd(err)
		}
	}
}

// maxFolders: more tills than any company has.
const maxFolders = 100_000

// ofDossier lists the streams in a dossier's folder. None: it is no such
// folder.
func ofDossier(folder string) ([]place, error) {
	code := filepath.Base(folder)
	if !manifest.ValidDossier(code) {
		return nil, nil
	}
	sub, err := folders(folder)
	if err != nil {
		return nil, err
	}
	var list []place
	add := func(stream string, parts ...string) {
		list = append(list, place{stream: stream, dossier: folder, folder: filepath.Join(append([]string{folder}, parts...)...)})
	}
	if slices.Contains(sub, "down") {
		add(manifest.StreamDown(code), "down")
	}
	if slices.Contains(sub, "packages") {
		if empty, err := nothingIn(filepath.Join(folder, "packages")); err != nil || !empty {
			add(manifest.StreamPackages(code), "packages")
		}
	}
	tills, err := tillsOf(folder, sub)
	if err != nil {
		return nil, err
	}
	for _, till := range tills {
		add(manifest.StreamUp(code, till), "up", till)
	}
	return list, nil
}

// tillsOf lists the tills that have a folder or a receipt.
func tillsOf(folder string, sub []string) ([]string, error) {
	var tills []string
	if slices.Contains(sub, "up") {
		up, err := folders(filepath.Join(folder, "up"))
		if err != nil {
			return nil, err
		}
		tills = up
	}
	if slices.Contains(sub, "receipts") {
		root, err := os.OpenRoot(filepath.Join(folder, "receipts"))
		if err != nil {
			return nil, err
		}
		defer root.Close()
		err = each(root, func(e fs.DirEntry) {
			till, ok := strings.CutSuffix(e.Name(), ".json")
			if ok && manifest.ValidTill(till) && len(tills) < 2*maxFolders {
				tills = append(tills, till)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(tills)
	return slices.Compact(tills), nil
}

// nothingIn reports whether a folder has no batch and no head.
func nothingIn(folder string) (bool, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return false, err
	}
	defer root.Close()
	l, err := list(root)
	return len(l.batches) == 0 && !l.head, err
}
