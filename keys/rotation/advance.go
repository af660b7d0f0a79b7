package rotation

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"caisseauto/keys"
)

// A Signature is the content of a file with one root's signature, and the
// file's name for errors.
type Signature struct {
	File string
	Data []byte
}

// Begin makes the first block of a dossier in trust out of a document of any
// version. Nothing before it says who the roots are: whoever calls this has
// the document from hands that he trusts, or has compared its digest. Its own
// roots must have signed it all the same, as many as it demands.
func Begin(trust *keys.Trust, doc []byte, signatures []Signature) (*keys.Trust, *Document, error) {
	d, r := parse(doc)
	if r != nil {
		return nil, nil, r.in("trust document")
	}
	name := Name(d.Version)
	if trust.Block(d.Dossier) != nil {
		return nil, nil, refuse("T6", "trust documents of %s are followed here already", d.Dossier).in(name)
	}
	if r := enough("T9", "its own", doc, signatures, rootLines(d), d.Threshold); r != nil {
		return nil, nil, r.in(name)
	}
	next, err := trust.WithBlock(blockOf(d, doc, nil))
	return next, d, err
}

// Advance goes from the version that trust stands at in a dossier to the next
// one. The signatures are counted before anything is read: of the roots of the
// version that is known, then of the document's own. Every version is walked;
// none is skipped.
//
// The error is a [*Refusal]; trust is as it was then, and stays in force.
func Advance(trust *keys.Trust, dossier string, doc []byte, signatures []Signature) (*keys.Trust, *Document, error) {
	b := trust.Block(dossier)
	if b == nil {
		return nil, nil, refuse("T6", "no version of %s is known to begin with", dossier).in("trust document")
	}
	name := Name(b.Version + 1)
	if len(doc) > MaxDocument {
		return nil, nil, refuse("T1", "%d bytes, more than the %d that a reader takes", len(doc), MaxDocument).in(name)
	}
	if r := enough("T8", fmt.Sprintf("version %d's", b.Version), doc, signatures, b.Roots, b.Threshold); r != nil {
		return nil, nil, r.in(name)
	}
	d, r := parse(doc)
	if r == nil {
		r = follows(d, b)
	}
	if r == nil {
		r = enough("T9", "its own", doc, signatures, rootLines(d), d.Threshold)
	}
	if r != nil {
		return nil, nil, r.in(name)
	}
	next, err := trust.WithBlock(blockOf(d, doc, b))
	return next, d, err
}

// follows holds a document against the version before it.
func follows(d *Document, b *keys.Block) *Refusal {
	switch {
	case d.Dossier != b.Dossier:
		return refuse("T6", "it is of dossier %s, not of %s", d.Dossier, b.Dossier)
	case d.Version != b.Version+1:
		return refuse("T6", "it is version %d, and %d comes next: none is skipped, none comes again", d.Version, b.Version+1)
	case d.Previous != b.Digest:
		return refuse("T7", "it follows the document %s, but version %d that is known here is %s: two were signed, or they were exchanged", d.Previous, b.Version, b.Digest)
	}
	for _, r := range d.Roots {
		for _, old := range b.Roots {
			if role(old.Principal) == role(r.Principal) && (old.Principal != r.Principal || keys.AuthorizedLine(old.Key, "") != r.Key) {
				return refuse("T10", "%s has another key now; a new root key gets a new name", r.Principal)
			}
		}
	}
	return d.keeps(b)
}

// keeps makes sure that no limit of the version before is lifted: of a key that
// is still listed it is there again, as low or lower, and a revoked one is not
// merely retired.
func (d *Document) keeps(b *keys.Block) *Refusal {
	listed := map[string]bool{}
	for _, g := range d.Keys {
		listed[Fingerprint(g.Key)] = true
	}
	within := func(list []keys.Limit, old keys.Limit, most int64) bool {
		return slices.ContainsFunc(list, func(l keys.Limit) bool { return l.Key == old.Key && l.Stream == old.Stream && l.Sequence <= most })
	}
	for _, old := range b.Revoked {
		if listed[old.Key] && !within(d.Revoked, old, old.Sequence) {
			return refuse("T11", "%s of %s was revoked from number %d on, and that cannot be lifted; take the key out, or revoke it again", old.Key, old.Principal, old.Sequence)
		}
	}
	for _, old := range b.Retired {
		if listed[old.Key] && !within(d.Retired, old, old.Sequence) && !within(d.Revoked, old, old.Sequence+1) {
			return refuse("T11", "%s of %s was retired after number %d, and that cannot be lifted", old.Key, old.Principal, old.Sequence)
		}
	}
	return nil
}

// enough counts the roots that have signed doc: distinct keys of the list. What
// else lies there is no harm: anybody can put a file beside a document.
func enough(rule, whose string, doc []byte, signatures []Signature, roots []keys.Line, threshold int64) *Refusal {
	var text []string
	for _, r := range roots {
		text = append(text, keys.AllowedLine([]string{r.Principal}, []string{keys.NamespaceTrust}, r.Key, ""))
	}
	trust, err := keys.ParseAllowedSigners("the roots", []byte(strings.Join(text, "\n")))
	if err != nil {
		return refuse(rule, "%v", err)
	}
	var signed, trouble []string
	for _, s := range signatures {
		principals, err := trust.Verify(doc, s.Data, keys.NamespaceTrust)
		switch {
		case err == nil && !slices.Contains(signed, principals[0]):
			signed = append(signed, principals[0])
		case err != nil && !errors.Is(err, keys.ErrUnknownKey):
			trouble = append(trouble, s.File+": "+err.Error())
		}
	}
	if int64(len(signed)) >= threshold {
		return nil
	}
	slices.Sort(signed)
	text = append([]string{fmt.Sprintf("%d of %s roots have signed it, and %d are needed", len(signed), whose, threshold)}, trouble...)
	if len(signed) > 0 {
		text[0] += " (" + strings.Join(signed, ", ") + ")"
	}
	return refuse(rule, "%s", strings.Join(text, "; "))
}

func rootLines(d *Document) []keys.Line {
	var list []keys.Line
	for _, r := range d.Roots {
		l, _ := line(r.Principal, []string{keys.NamespaceTrust}, r.Key) // check has read it
		list = append(list, l)
	}
	return list
}

func grantLines(grants []Grant) []keys.Line {
	var list []keys.Line
	for _, g := range grants {
		l, _ := line(g.Principal, g.Namespaces, g.Key) // check has read it
		list = append(list, l)
	}
	return list
}

// blockOf is what a verified document makes of the block before it. The list
// of tills stays: the server signs it, and it has versions of its own.
func blockOf(d *Document, doc []byte, before *keys.Block) *keys.Block {
	b := &keys.Block{}
	if before != nil {
		*b = *before
	}
	b.Dossier, b.Version, b.Threshold, b.Digest = d.Dossier, d.Version, d.Threshold, keys.Digest(doc)
	b.Roots, b.Keys, b.Retired, b.Revoked = rootLines(d), grantLines(d.Keys), d.Retired, d.Revoked
	return b
}

// Enrol takes over a list of tills that a server has signed whom the roots
// trust for it, and who is neither retired nor revoked. A list of an older
// version than the known one is refused, and so is another one of the same;
// the same one changes nothing.
//
// The error is a [*Refusal]; trust is as it was then, and stays in force.
func Enrol(trust *keys.Trust, dossier string, version int64, doc, sig []byte) (*keys.Trust, *TillList, error) {
	name := TillsName(version)
	b := trust.Block(dossier)
	if b == nil {
		return nil, nil, refuse("T6", "no trust document of %s is known", dossier).in(name)
	}
	l, r := openTills(trust.For(dossier), b, doc, sig)
	if r == nil {
		r = l.newer(b, version, doc)
	}
	if r != nil {
		return nil, nil, r.in(name)
	}
	n := *b
	n.TillsVersion, n.TillsDigest = l.Version, keys.Digest(doc)
	n.Tills, n.TillsRetired, n.TillsRevoked = grantLines(l.Keys), l.Retired, l.Revoked
	next, err := trust.WithBlock(&n)
	return next, l, err
}

// openTills verifies and reads a list of tills.
func openTills(trust *keys.Trust, b *keys.Block, doc, sig []byte) (*TillList, *Refusal) {
	if len(doc) > MaxDocument {
		return nil, refuse("T1", "%d bytes, more than the %d that a reader takes", len(doc), MaxDocument)
	}
	who, err := trust.Identify(doc, sig, keys.NamespaceTills)
	if err == nil {
		err = trust.Current(who.Fingerprint, b.Dossier)
	}
	if err != nil {
		return nil, refuse("T13", "%v", err)
	}
	l, r := parseTills(doc)
	if r == nil && !slices.Contains(who.Principals, l.Signer) {
		r = refuse("T13", "it says that %s signed it, but the key that did belongs to %s", l.Signer, strings.Join(who.Principals, ", "))
	}
	return l, r
}

// newer holds a list against the one that is known.
func (l *TillList) newer(b *keys.Block, version int64, doc []byte) *Refusal {
	switch {
	case l.Dossier != b.Dossier:
		return refuse("T12", "it is of dossier %s, not of %s", l.Dossier, b.Dossier)
	case l.Version != version:
		return refuse("T12", "it is list %d, found under the name of list %d", l.Version, version)
	case l.Version < b.TillsVersion:
		return refuse("T12", "it is older than list %d, which is known here: an old file is served again", b.TillsVersion)
	case l.Version == b.TillsVersion && keys.Digest(doc) != b.TillsDigest:
		return refuse("T12", "it is another list %d than the one that is known here: two were signed", l.Version)
	case l.Version == b.TillsVersion+1 && b.TillsVersion > 0 && l.Previous != b.TillsDigest:
		return refuse("T12", "it does not follow list %d that is known here", b.TillsVersion)
	}
	return nil
}

// SameTills reports whether a list says of tills what the block says already.
func SameTills(b *keys.Block, l *TillList) bool {
	n := keys.Block{Dossier: b.Dossier, TillsVersion: 1, Tills: grantLines(l.Keys), TillsRetired: l.Retired, TillsRevoked: l.Revoked}
	o := keys.Block{Dossier: b.Dossier, TillsVersion: 1, Tills: b.Tills, TillsRetired: b.TillsRetired, TillsRevoked: b.TillsRevoked}
	return bytes.Equal(n.Text(), o.Text())
}
