package sftpd

import (
	"strings"

	"caisseauto/internal/drop"
)

// partSuffix marks a file on its way.
const partSuffix = ".part"

// A place is a path of the drop taken apart. Only paths that fit the format's
// grammar have one, so nothing else ever reaches the file system.
type place struct {
	dossier string // empty: the root, which lists the one dossier
	area    string // down, packages, trust, receipts or up; empty: the dossier's folder
	number  string // of the till, within up; empty: the folder up
	base    string // the file, without ".part"; empty: a folder
	part    bool
}

// parsePlace takes apart a path as pkg/sftp hands it over: absolute, cleaned.
func parsePlace(p string) (place, bool) {
	p = strings.Trim(p, "/")
	if p == "" {
		return place{}, true
	}
	words := strings.Split(p, "/")
	pl := place{dossier: words[0]}
	if !codePattern.MatchString(pl.dossier) {
		return place{}, false
	}
	if len(words) == 1 {
		return pl, true
	}
	pl.area, words = words[1], words[2:]
	switch pl.area {
	case "up":
		if len(words) == 0 {
			return pl, true
		}
		if !codePattern.MatchString(words[0]) {
			return place{}, false
		}
		pl.number, words = words[0], words[1:]
	case "down", "packages", "trust", "receipts":
	default:
		return place{}, false
	}
	if len(words) == 0 {
		return pl, true
	}
	whole, part := strings.CutSuffix(p, partSuffix)
	if len(words) > 1 || !drop.ValidPath(whole) {
		return place{}, false
	}
	pl.base, pl.part = strings.TrimSuffix(words[0], partSuffix), part
	return pl, true
}

// dir is the folder within the dossier's.
func (p place) dir() string {
	switch {
	case p.area == "":
		return "."
	case p.number != "":
		return p.area + "/" + p.number
	}
	return p.area
}

// final is the file within the dossier's folder, under its final name.
func (p place) final() string { return p.dir() + "/" + p.base }

// onDisk is what the path names within the dossier's folder.
func (p place) onDisk() string {
	switch {
	case p.base == "":
		return p.dir()
	case p.part:
		return p.final() + partSuffix
	}
	return p.final()
}

// visible: the user may know that the place exists, list it if it is a
// folder and read it if it is a file.
func (u User) visible(p place) bool {
	if p.dossier == "" {
		return true
	}
	if p.dossier != u.Dossier {
		return false
	}
	if p.part {
		return u.writable(p) // what others have under way is nobody's business
	}
	if u.Writer || p.area == "" {
		return true
	}
	if u.Release {
		return p.area == "packages" || p.area == "trust"
	}
	switch p.area {
	case "up":
		return p.number == "" || p.number == u.Till
	case "receipts":
		return p.base == "" || p.base == u.Till+".json" || p.base == u.Till+".json.sig"
	}
	return true // down, packages, trust
}

// writable: the user is the one writer of this file's stream.
func (u User) writable(p place) bool {
	return p.base != "" && u.writes(p)
}

// writes: the user is the one writer of the stream in this folder.
func (u User) writes(p place) bool {
	if p.dossier != u.Dossier {
		return false
	}
	switch {
	case u.Writer:
		return p.area == "down" || p.area == "trust" || p.area == "receipts"
	case u.Release:
		return p.area == "packages"
	}
	return p.area == "up" && p.number == u.Till
}

// removable: a file of a batch or a part, by its writer. The writer of a
// stream clears away what a receipt covers; heads, receipts and trust
// documents are replaced or kept for good.
func (u User) removable(p place) bool {
	_, batch := drop.Sequence(p.base)
	return u.writable(p) && (p.part || batch)
}

// replaceable: a head or a receipt.
func (p place) replaceable() bool { return drop.Replaceable(p.dossier + "/" + p.final()) }
