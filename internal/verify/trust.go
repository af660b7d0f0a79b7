package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"caisseauto/keys"
	"caisseauto/keys/rotation"
	"caisseauto/manifest"
)

// trustFolder is the folder of a dossier that holds its trust documents.
const trustFolder = "trust"

// home returns the folder of the dossier that a place belongs to, "" where the
// path does not say it.
func (p place) home() string {
	if p.dossier != "" || streamOf(p.folder) != p.stream {
		return p.dossier
	}
	dir := p.folder
	for range strings.Count(p.stream, "/") {
		dir = filepath.Dir(dir)
	}
	return dir
}

// believe finds out whose signatures count in each dossier: what the list of
// keys says that was given, and what the trust documents say that follow it.
func (v *verifier) believe(all []place) {
	v.trust = map[string]*manifest.Trust{}
	for _, p := range all {
		dossier, _, _ := strings.Cut(p.stream, "/")
		home := p.home()
		if _, done := v.trust[home+"/"+dossier]; done {
			continue
		}
		trust := v.o.Trust(dossier)
		if trust != nil && home != "" {
			whole := slices.ContainsFunc(all, func(q place) bool { return q.dossier == home })
			trust = v.followTrust(home, dossier, trust, whole)
		}
		if trust != nil {
			trust = trust.For(dossier)
		}
		v.trust[home+"/"+dossier] = trust
	}
}

// trustOf is whom the streams at a place are held against.
func (v *verifier) trustOf(p place) *manifest.Trust {
	dossier, _, _ := strings.Cut(p.stream, "/")
	return v.trust[p.home()+"/"+dossier]
}

// A trustCheck follows the trust documents of one dossier.
type trustCheck struct {
	stream *Stream
	files  trustFiles
	names  []string
	faults []Fault
	trust  *keys.Trust
	block  *keys.Block // what was come to
}

// followTrust walks the trust documents in a dossier's folder. Where the whole
// dossier was asked for, they are a row of the report.
func (v *verifier) followTrust(home, dossier string, given *keys.Trust, whole bool) *keys.Trust {
	c := &trustCheck{trust: given, block: given.Block(dossier), files: trustFiles{folder: filepath.Join(home, trustFolder)},
		stream: &Stream{Stream: dossier + "/" + trustFolder, Folder: filepath.Join(home, trustFolder), Signers: []Signing{}, Notes: []string{}, Verdicts: map[Check]Verdict{}, seen: map[Check]bool{}}}
	var err error
	if c.names, err = c.files.Names(); err != nil {
		c.fault(Completeness, "", "", "cannot be read: %v", cause(err))
	}
	switch {
	case c.block == nil && len(c.names) == 0 && err == nil:
		return given
	case c.block == nil:
		c.stream.note("trust documents lie here, and the list of keys that was given knows none of them to begin with: they were not looked at")
	case err == nil:
		c.walk(dossier)
	}
	if whole {
		v.report.Streams = append(v.report.Streams, c.stream)
		for _, f := range c.faults {
			v.report.add(c.stream, f)
		}
		c.stream.conclude()
	}
	return c.trust
}

func (c *trustCheck) fault(check Check, name, rule, format string, args ...any) {
	file := c.stream.Stream
	if name != "" {
		file += "/" + name
	}
	c.faults = append(c.faults, Fault{File: file, Check: check, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func (c *trustCheck) walk(dossier string) {
	c.stream.saw(Completeness)
	c.backward(rotation.Name, c.block.Version, c.block.Digest, func(doc []byte) (string, error) {
		d, err := rotation.Parse("", doc)
		if err != nil {
			return "", err
		}
		return d.Previous, nil
	})
	c.forward(dossier)
	c.tills(dossier)
	if len(c.faults) > 0 {
		return // then nobody knows what the list of keys would have to say
	}
	c.stream.saw(Trust)
	switch text, err := c.files.Read("allowed_signers"); {
	case errors.Is(err, fs.ErrNotExist):
		c.fault(Completeness, "allowed_signers", "", "it is not there")
	case err != nil || string(text) != string(c.block.Text()):
		c.fault(Trust, "allowed_signers", "T14", "it does not say what the signed documents say: whoever follows it follows a stranger; they are version %d and list %d of tills", c.block.Version, c.block.TillsVersion)
	}
}

// backward goes from a version whose digest is known down to the first one:
// each names the one before it. It stops where that cannot be seen any more.
func (c *trustCheck) backward(name func(int64) string, version int64, digest string, previous func([]byte) (string, error)) {
	for ; version > 0; version-- {
		doc, err := c.files.Read(name(version))
		if errors.Is(err, fs.ErrNotExist) {
			c.fault(Completeness, name(version), "", "it is not there")
			return
		}
		c.stream.saw(Chain)
		if err != nil || keys.Digest(doc) != digest {
			c.fault(Chain, name(version), "T7", "it is not the document that is known, or that the one after it names: %s", digest)
			return
		}
		if rotation.Version(name(version)) > 0 {
			c.stream.span(version)
		}
		if digest, err = previous(doc); err != nil {
			c.fault(Chain, name(version), "T7", "%v", err) // cannot happen to what was signed
			return
		}
	}
}

// span notes the number of a document that is good.
func (s *Stream) span(version int64) {
	if s.First == 0 || version < s.First {
		s.First = version
	}
	s.Last = max(s.Last, version)
}

// forward walks the versions that the list of keys did not know yet.
func (c *trustCheck) forward(dossier string) {
	next, walk, err := rotation.Follow(c.trust, dossier, c.files, false)
	c.trust, c.block = next, next.Block(dossier)
	for _, d := range walk.Documents {
		c.stream.saw(Trust)
		c.stream.span(d.Version)
	}
	name := rotation.Name(c.block.Version + 1)
	if err != nil {
		c.refused(name, "T1", err)
	} else if newest := rotation.Newest(c.names, rotation.Version); newest > c.block.Version {
		c.fault(Completeness, name, "", "it is not there, and version %d is", newest)
	}
}

// refused files a document that was not taken over, under rule where it could
// not even be read.
func (c *trustCheck) refused(name, rule string, err error) {
	c.stream.saw(Trust)
	r := (*rotation.Refusal)(nil)
	if !errors.As(err, &r) {
		r = &rotation.Refusal{Rule: rule, Detail: fmt.Sprintf("cannot be read: %v", cause(err))}
	}
	c.fault(Trust, name, r.Rule, "%s; version %d and list %d of tills stay in force", r.Detail, c.block.Version, c.block.TillsVersion)
}

// tills takes over the newest list of tills, and follows the lists down from
// there.
func (c *trustCheck) tills(dossier string) {
	next, l, err := rotation.FollowTills(c.trust, dossier, c.files, c.names)
	if err != nil {
		c.refused(rotation.TillsName(rotation.Newest(c.names, rotation.TillsVersion)), "T13", err)
		return
	}
	if l != nil {
		c.stream.saw(Trust)
	}
	c.trust, c.block = next, next.Block(dossier)
	c.backward(rotation.TillsName, c.block.TillsVersion, c.block.TillsDigest, func(doc []byte) (string, error) {
		l, err := rotation.ParseTills("", doc)
		if err != nil {
			return "", err
		}
		return l.Previous, nil
	})
}

// trustFiles are the trust documents in a folder. Links are not followed.
type trustFiles struct{ folder string }

func (f trustFiles) Names() ([]string, error) {
	info, err := os.Lstat(f.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("it is no folder (%s)", info.Mode().Type())
	}
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(f.folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var names []string
	err = each(root, func(e fs.DirEntry) {
		if n := e.Name(); len(names) < maxTrustNames && (strings.HasPrefix(n, "tills-") || strings.Contains(n, ".json")) {
			names = append(names, n)
		}
	})
	slices.Sort(names)
	return names, err
}

// maxTrustNames bounds the memory for a folder: a version and a list a day for
// forty years.
const maxTrustNames = 100_000

func (f trustFiles) Read(name string) ([]byte, error) {
	root, err := os.OpenRoot(f.folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return readFile(root, name, rotation.MaxDocument)
}
