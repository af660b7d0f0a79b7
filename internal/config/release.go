package config

import (
	"errors"
	"regexp"
	"strings"
	"time"
)

// A Release is release.toml: what a release manager needs to seal software
// packages. Of Common it has drop, signing, trust, paths.outbox and head.
type Release struct {
	Common
	Dossiers []ReleaseDossier
}

// A ReleaseDossier is a company whose tills get the packages.
type ReleaseDossier struct {
	Code string `toml:"code"`
}

// releaseFile is what a release.toml may hold: less than Common, so that
// whatever else stands there is refused.
type releaseFile struct {
	Drop    Drop    `toml:"drop"`
	Signing Signing `toml:"signing"`
	Trust   Trust   `toml:"trust"`
	Paths   struct {
		Outbox string `toml:"outbox"`
	} `toml:"paths"`
	Head     Head             `toml:"head"`
	Dossiers []ReleaseDossier `toml:"dossier"`
}

// releaseExpires is how long the head of packages is good by default: the key
// is not on line to renew it every day.
const releaseExpires = 30 * 24 * time.Hour

// releasePrincipal is the form of a release manager's name; see
// [serverPrincipal].
var releasePrincipal = regexp.MustCompile(`^release@[a-z0-9][a-z0-9._-]{0,63}$`)

// notInRelease says of keys that the other files have why release.toml has
// none.
var notInRelease = map[string]string{
	"database":      "a release manager reads no database, and the key that signs software stays away from it",
	"process":       "nothing runs by itself here: a person seals a package with the key at hand",
	"serve":         "the embedded SFTP server is the server's",
	"users":         "users are a till's",
	"schema":        "tables are a till's",
	"jet":           "the journal is a till's",
	"sync":          "tickets are a till's",
	"update":        "what is installed, each till's own till.toml says",
	"dossier.table": "packages hold no rows; of a dossier the code is enough",
	"paths.inbox":   "nothing is fetched here",
	"paths.stage":   "nothing is applied here",
}

// parseRelease reads a release.toml. file is its name in messages, abs its
// absolute path.
func parseRelease(file, abs string, data []byte) (*Release, error) {
	f := &releaseFile{}
	x, err := decode(file, data, f)
	if err != nil {
		if role := roleOf(file, data); role != RoleRelease {
			return nil, otherRole(file, role, RoleRelease, err)
		}
		return nil, misplaced(err)
	}
	r := &Release{Dossiers: f.Dossiers}
	r.Drop, r.Signing, r.Trust, r.Paths.Outbox, r.Head = f.Drop, f.Signing, f.Trust, f.Paths.Outbox, f.Head
	c := &checker{file: file, dir: folderOf(abs), idx: x}
	c.common(&r.Common, abs, RoleRelease)
	switch p := r.Signing.Principal; {
	case p == "" && !c.given("signing.principal"):
		c.fail("signing.principal", `write [signing] principal = "release@NAME" in lower case, with your company's short name`, "missing")
	case !releasePrincipal.MatchString(p):
		c.fail("signing.principal", `write "release@NAME" in lower case; a server or a till signs with a configuration and a key of its own`, "%q has the wrong form", p)
	}
	if len(r.Dossiers) == 0 {
		c.fail("dossier", `write a table [[dossier]] with code = "…" for each company whose tills get packages`, "there is none")
	}
	seen := map[string]string{}
	for i := range r.Dossiers {
		at := entry("dossier", i)
		c.code(at+".code", r.Dossiers[i].Code)
		c.unique(seen, at+".code", r.Dossiers[i].Code, "dossier")
	}
	if err := c.result(); err != nil {
		return nil, err
	}
	return r, nil
}

// misplaced says of a key of another file why it has no place in this one.
func misplaced(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	for key, why := range notInRelease {
		if e.Key == key || strings.HasPrefix(e.Key, key+".") {
			e.Problem, e.Hint = "this has no place in a release.toml: "+why, "take it out"
		}
	}
	return e
}
