package rotation

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"caisseauto/keys"
)

var (
	rootForm   = regexp.MustCompile(`^root-[a-z0-9]{1,16}@[a-z0-9._-]{1,64}$`)
	digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ValidRoot reports whether s is a root's principal, such as root-1@acme.
func ValidRoot(s string) bool { return rootForm.MatchString(s) }

func (d *Document) check() *Refusal {
	switch {
	case d.Format != Format:
		return refuse("T2", "format is %q, not %q: another kind of file, or a newer version of this program wrote it", d.Format, Format)
	case !keys.ValidDossier(d.Dossier):
		return refuse("T2", "%q is not the code of a dossier", d.Dossier)
	}
	if r := checkVersion(d.Version, d.Previous, d.Created); r != nil {
		return r
	}
	if r := d.checkRoots(); r != nil {
		return r
	}
	rule := func(principal string) (stream string, namespaces []string) {
		role, _, _ := strings.Cut(principal, "@")
		switch role {
		case "server":
			return d.Dossier + "/down", serverMay
		case "release":
			return d.Dossier + "/packages", releaseMay
		}
		return "", nil
	}
	if r := checkGrants(d.Keys, rule); r != nil {
		return r
	}
	for _, g := range d.Keys {
		if slices.ContainsFunc(d.Roots, func(r Root) bool { return r.Key == g.Key }) {
			return refuse("T4", "the key of %s is also one of a root: roots stay off line", g.Principal)
		}
	}
	return checkLimits(d.Keys, d.Retired, d.Revoked, rule)
}

func (l *TillList) check() *Refusal {
	role, _, _ := strings.Cut(l.Signer, "@")
	switch {
	case l.Format != TillsFormat:
		return refuse("T2", "format is %q, not %q: another kind of file, or a newer version of this program wrote it", l.Format, TillsFormat)
	case !keys.ValidDossier(l.Dossier):
		return refuse("T2", "%q is not the code of a dossier", l.Dossier)
	case !keys.ValidPrincipal(l.Signer) || role != "server":
		return refuse("T2", "%q may not sign a list of tills", l.Signer)
	}
	if r := checkVersion(l.Version, l.Previous, l.Created); r != nil {
		return r
	}
	rule := func(principal string) (stream string, namespaces []string) {
		role, of, _ := strings.Cut(principal, "@")
		till, ok := strings.CutPrefix(role, "till-")
		if !ok || of != strings.ToLower(l.Dossier) || !keys.ValidDossier(till) {
			return "", nil
		}
		return l.Dossier + "/up/" + till, tillMay
	}
	if r := checkGrants(l.Keys, rule); r != nil {
		return r
	}
	return checkLimits(l.Keys, l.Retired, l.Revoked, rule)
}

// What each role may be allowed to sign at the most.
var (
	serverMay  = []string{keys.NamespaceManifest, keys.NamespaceHead, keys.NamespaceReceipt, keys.NamespaceTills}
	releaseMay = []string{keys.NamespacePackage, keys.NamespaceHead}
	tillMay    = []string{keys.NamespaceTickets, keys.NamespaceHead}
)

// A ruling says in which stream a principal seals its batches, and what it may
// be allowed to sign; nothing for one that has no place in the document.
type ruling func(principal string) (stream string, namespaces []string)

func checkVersion(version int64, previous string, created time.Time) *Refusal {
	switch {
	case version < 1 || version > keys.MaxNumber:
		return refuse("T2", "version %d is out of range", version)
	case !digestForm.MatchString(previous) || (version == 1) != (previous == NoPrevious()):
		return refuse("T2", "previous is not the digest of the version before, or zeros in the first one")
	case created.Location() != time.UTC || created.Nanosecond() != 0 || created.Year() < 1970 || created.Year() > 9999:
		return refuse("T2", "created is not a UTC time of whole seconds")
	}
	return nil
}

func (d *Document) checkRoots() *Refusal {
	if n := int64(len(d.Roots)); n > MaxRoots || d.Threshold < 1 || d.Threshold > n {
		return refuse("T3", "%d of %d roots cannot be: from 1 to as many as there are, at most %d", d.Threshold, n, MaxRoots)
	}
	for i, r := range d.Roots {
		pub, err := keys.ParsePublic(r.Key)
		switch {
		case !rootForm.MatchString(r.Principal):
			return refuse("T3", "%q is not a root such as root-1@acme", r.Principal)
		case err != nil:
			return refuse("T3", "%s: %v", r.Principal, err)
		case keys.AuthorizedLine(pub, "") != r.Key:
			return refuse("T3", "%s: the key is not in its one form, type and base64", r.Principal)
		}
		for _, before := range d.Roots[:i] {
			if before.Principal == r.Principal || before.Key == r.Key || role(before.Principal) == role(r.Principal) {
				return refuse("T3", "%s and %s are not two roots: each has a name and a key of its own", before.Principal, r.Principal)
			}
		}
	}
	return nil
}

func role(principal string) string {
	role, _, _ := strings.Cut(principal, "@")
	return role
}

func checkGrants(list []Grant, rule ruling) *Refusal {
	if len(list) > MaxKeys {
		return refuse("T4", "%d keys, more than %d", len(list), MaxKeys)
	}
	seen := map[string]bool{}
	for _, g := range list {
		stream, may := rule(g.Principal)
		pub, err := keys.ParsePublic(g.Key)
		switch {
		case !keys.ValidPrincipal(g.Principal) || stream == "":
			return refuse("T4", "%q has no place here", g.Principal)
		case err != nil:
			return refuse("T4", "%s: %v", g.Principal, err)
		case keys.AuthorizedLine(pub, "") != g.Key:
			return refuse("T4", "%s: the key is not in its one form, type and base64", g.Principal)
		case seen[g.Key]:
			return refuse("T4", "the key of %s stands there twice", g.Principal)
		case len(g.Namespaces) == 0:
			return refuse("T4", "%s signs nothing", g.Principal)
		}
		seen[g.Key] = true
		for i, n := range g.Namespaces {
			if !slices.Contains(may, n) || slices.Contains(g.Namespaces[:i], n) {
				return refuse("T4", "%s cannot be allowed to sign %q, or not twice", g.Principal, n)
			}
		}
	}
	return nil
}

// checkLimits holds the limits against the keys that they are about. A key has
// one limit: it is retired or revoked, in the stream that it seals.
func checkLimits(list []Grant, retired, revoked []keys.Limit, rule ruling) *Refusal {
	whose := make(map[string]string, len(list)) // fingerprint: principal
	for _, g := range list {
		whose[Fingerprint(g.Key)] = g.Principal
	}
	seen := map[string]bool{}
	for i, l := range slices.Concat(retired, revoked) {
		stream, _ := rule(l.Principal)
		least := int64(0)
		if i >= len(retired) {
			least = 1
		}
		switch {
		case l.Principal == "" || whose[l.Key] != l.Principal:
			return refuse("T5", "%s of %q is retired or revoked, but not among the keys", l.Key, l.Principal)
		case !strings.EqualFold(l.Stream, stream) || !strings.HasPrefix(l.Stream, stream[:strings.LastIndexByte(stream, '/')]):
			return refuse("T5", "%s seals no batches in %q", l.Principal, l.Stream)
		case l.Sequence < least || l.Sequence > keys.MaxNumber:
			return refuse("T5", "number %d is out of range", l.Sequence)
		case seen[l.Key]:
			return refuse("T5", "%s is retired or revoked twice", l.Key)
		}
		seen[l.Key] = true
	}
	return nil
}
