package rotation

import (
	"strings"

	"caisseauto/keys"
)

// Draft returns the document that would follow the block's and says the same:
// what is to change, and when it was made, is filled in by whoever asked.
func Draft(b *keys.Block) *Document {
	return &Document{Format: Format, Dossier: b.Dossier, Version: b.Version + 1, Previous: b.Digest, Threshold: b.Threshold,
		Roots: rootsOf(b), Keys: grantsOf(b.Keys), Retired: b.Retired, Revoked: b.Revoked}
}

// DraftTills returns the list of tills that would follow the block's.
func DraftTills(b *keys.Block, signer string) *TillList {
	l := &TillList{Format: TillsFormat, Dossier: b.Dossier, Version: b.TillsVersion + 1, Previous: b.TillsDigest, Signer: signer,
		Keys: grantsOf(b.Tills), Retired: b.TillsRetired, Revoked: b.TillsRevoked}
	if l.Previous == "" {
		l.Previous = NoPrevious()
	}
	return l
}

func rootsOf(b *keys.Block) []Root {
	var list []Root
	for _, r := range b.Roots {
		list = append(list, Root{r.Principal, keys.AuthorizedLine(r.Key, "")})
	}
	return list
}

func grantsOf(lines []keys.Line) []Grant {
	var list []Grant
	for _, l := range lines {
		list = append(list, Grant{l.Principal, l.Namespaces, keys.AuthorizedLine(l.Key, "")})
	}
	return list
}

// May returns what a principal's key is allowed to sign: what its role is made
// for. Nothing: the role has no place in trust documents.
func May(principal string) []string {
	role, _, _ := strings.Cut(principal, "@")
	switch {
	case role == "server":
		return serverMay
	case role == "release":
		return releaseMay
	case strings.HasPrefix(role, "till-"):
		return tillMay
	case strings.HasPrefix(role, "root-"):
		return []string{keys.NamespaceTrust}
	}
	return nil
}
