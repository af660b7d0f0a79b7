package release

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// A Product is one software product on a till, and the folder that holds its
// releases:
//
//	current                             leads to the release that runs
//	releases/3.2.0-r7-b12/…             the files of release 7, which batch 12 brought
//	releases/3.2.0-r7-b12.manifest.json what is signed of them, and its .sig
//	trial.json                          while a release has been switched to and is not proven yet
type Product struct {
	Name   string
	Folder string
	// Restart is called after each switch, before the probe; nil: nothing is
	// to be done. It is told the folder of the release.
	Restart Restarter
}

const (
	releasesDir = "releases"
	currentName = "current"
	newPrefix   = ".new-" // a release that is being unpacked
	oldPrefix   = ".old-" // one that is being removed
	// statementExt makes of a release's folder the name of what is signed of it.
	statementExt = ".manifest.json"
)

// A Place is a release on the disk of a till, as the name of its folder says.
type Place struct {
	Version  string
	Release  int64
	Sequence int64 // of the batch that brought it
}

// IsZero reports whether p is no place: nothing is installed.
func (p Place) IsZero() bool { return p == Place{} }

// Name is the name of the release's folder.
func (p Place) Name() string { return fmt.Sprintf("%s-r%d-b%d", p.Version, p.Release, p.Sequence) }

var placeForm = regexp.MustCompile(`^(.+)-r([1-9][0-9]{0,15})-b([1-9][0-9]{0,9})$`)

// parsePlace is the reverse of Name.
func parsePlace(name string) (Place, bool) {
	m := placeForm.FindStringSubmatch(name)
	if m == nil || !manifest.ValidVersion(m[1]) {
		return Place{}, false
	}
	release, err := strconv.ParseInt(m[2], 10, 64)
	sequence, err2 := strconv.ParseInt(m[3], 10, 64)
	return Place{m[1], release, sequence}, err == nil && err2 == nil
}

func placeOf(b *Batch) Place { return Place{b.Version, b.Release, b.Sequence} }

func (p *Product) releases() string         { return filepath.Join(p.Folder, releasesDir) }
func (p *Product) path(at Place) string     { return filepath.Join(p.releases(), at.Name()) }
func (p *Product) manifest(at Place) string { return p.path(at) + statementExt }

// Current returns the release that runs; the zero Place when none does. A
// pointer that leads anywhere else than to one of the releases is an error.
func (p *Product) Current() (Place, error) {
	target, err := pointsTo(filepath.Join(p.Folder, currentName))
	if errors.Is(err, fs.ErrNotExist) {
		return Place{}, nil
	}
	if err != nil {
		return Place{}, fmt.Errorf("%s: which release of it runs is not known: %w", p.Name, err)
	}
	dir, name := filepath.Split(filepath.Clean(filepath.FromSlash(strings.ReplaceAll(target, `\`, "/"))))
	at, ok := parsePlace(name)
	if filepath.Clean(dir) != releasesDir || !ok {
		return Place{}, fmt.Errorf("%s: %s leads to %q, which is none of its releases; put it right or remove it, then run update again", p.Name, filepath.Join(p.Folder, currentName), target)
	}
	if _, err := os.Stat(p.path(at)); err != nil {
		return Place{}, fmt.Errorf("%s: %s leads to a release that is not there: %w; remove it, or bring the folder back, then run update again", p.Name, filepath.Join(p.Folder, currentName), err)
	}
	return at, nil
}

// of returns a release as it counts in a stream: the zero Place when another one
// brought it, as on a till that has left a dossier. Numbers of two streams say
// nothing of each other. Only our own note is asked, not its signature: a release
// whose key was revoked since runs all the same.
func (p *Product) of(stream string, at Place) Place {
	doc, err := readCapped(p.manifest(at), manifest.MaxManifest, "D1")
	if err != nil || at.IsZero() {
		return at
	}
	var m struct{ Stream string }
	if json.Unmarshal(doc, &m) == nil && m.Stream != stream {
		return Place{}
	}
	return at
}

// Releases returns the whole releases on the disk, the oldest batch first.
func (p *Product) Releases() ([]Place, error) {
	entries, err := os.ReadDir(p.releases())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Place
	for _, e := range entries {
		if at, ok := parsePlace(e.Name()); ok && e.IsDir() {
			all = append(all, at)
		}
	}
	slices.SortFunc(all, func(a, b Place) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return all, nil
}

// valid reports whether p is a place that a release can have.
func (p Place) valid() bool {
	is, ok := parsePlace(p.Name())
	return ok && is == p
}

// point makes current lead to a release, in one step.
func (p *Product) point(at Place) error {
	return pointTo(filepath.Join(p.Folder, currentName), releasesDir+"/"+at.Name())
}

// unpoint takes current away: nothing runs, as before the first release.
func (p *Product) unpoint() error { return unpoint(filepath.Join(p.Folder, currentName)) }

// sweep removes what a crash has left: releases that were being unpacked or
// removed, their statements, and temporary files. The folder of the releases
// must be one: nothing is written, or removed, through a link.
func (p *Product) sweep() error {
	switch fi, err := os.Lstat(p.releases()); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !fi.IsDir():
		return fmt.Errorf("%s is no folder (%s); nothing was changed; put a folder there, or make %s itself the link", p.releases(), fi.Mode().Type(), p.Folder)
	}
	entries, err := os.ReadDir(p.releases())
	if err != nil {
		return err
	}
	whole := map[string]bool{}
	for _, e := range entries {
		whole[e.Name()] = e.IsDir()
	}
	for _, e := range entries {
		release, statement := strings.CutSuffix(strings.TrimSuffix(e.Name(), ".sig"), statementExt)
		_, ours := parsePlace(release)
		if strings.HasPrefix(e.Name(), newPrefix) || strings.HasPrefix(e.Name(), oldPrefix) || statement && ours && !whole[release] {
			if err := os.RemoveAll(filepath.Join(p.releases(), e.Name())); err != nil {
				return err
			}
		}
	}
	for _, dir := range []string{p.Folder, p.releases()} {
		if _, err := (durable.Tree{}).Sweep(dir); err != nil {
			return err
		}
	}
	return nil
}

// prune removes the oldest releases beyond keep, and never the one that runs.
func (p *Product) prune(keep int, cur Place) (removed []Place, err error) {
	all, err := p.Releases()
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(all) && len(all)-len(removed) > keep; i++ {
		if all[i] == cur {
			continue
		}
		if err := p.remove(all[i]); err != nil {
			return removed, fmt.Errorf("%s: removing release %s: %w", p.Name, all[i].Name(), err)
		}
		removed = append(removed, all[i])
	}
	return removed, nil
}

// remove takes a release away. Its folder loses its name first, so that a
// crash never leaves a part of a release that looks like one.
func (p *Product) remove(at Place) error {
	old := filepath.Join(p.releases(), oldPrefix+at.Name())
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := durable.RenameNew(p.path(at), old); err != nil {
		return err
	}
	return errors.Join(p.removeStatement(at), os.RemoveAll(old))
}
