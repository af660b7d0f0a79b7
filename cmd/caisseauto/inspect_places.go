package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/inspect"
	"caisseauto/internal/term"
	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

// placeFlags say where to look and whom to believe.
type placeFlags struct{ signers, stream, hostKey, identity string }

func (a *app) placeFlags(c *cobra.Command, f *placeFlags) {
	c.Flags().StringVar(&f.signers, "signers", "", "allowed_signers `FILE`; else the one of the configuration, or of the current folder; none: do not check who signed")
	c.Flags().StringVar(&f.stream, "stream", "", "`NAME` of the stream, such as ACME/down, where the folder's path does not say it")
	c.Flags().StringVar(&f.hostKey, "host-key", "", "sftp: the server's public `KEY` (\"ssh-ed25519 AAAA…\" or its .pub file); else the configuration's")
	c.Flags().StringVar(&f.identity, "identity", "", "sftp: private key `FILE` to log in with; else the configuration's, or the SSH agent's")
}

// looking is an inspector and the places that a command looks at.
type looking struct {
	inspect.Inspector
	app    *app
	list   *keys.Trust // nil: there is none
	source string      // file of the list
	places []inspect.Place
	lines  []*connection
	warned bool
	walked map[string]bool // places whose trust documents were followed
}

// noSigners is what --signers says in place of a file.
const noSigners = "none"

// look finds the places under the paths, or the drop of the configuration, and
// whom to believe. The caller closes what it gets.
func (a *app) look(ctx context.Context, paths []string, f placeFlags) (l *looking, err error) {
	l = &looking{app: a}
	if err := l.believe(paths, f.signers); err != nil {
		return nil, err
	}
	l.Trust = l.trustOf
	l.Contents = importer.ReadContents
	l.Progress = func(label string, total int64, bytes bool) *term.Progress { return a.newProgress(label, total, bytes) }
	defer func() {
		if err != nil {
			l.close()
			l = nil
		}
	}()
	if len(paths) == 0 {
		return l, l.configured(ctx, f)
	}
	for _, p := range paths {
		if strings.HasPrefix(p, "sftp:") {
			err = l.far(ctx, p, f)
		} else {
			err = l.near(ctx, p, f.stream)
		}
		if err != nil {
			return l, err
		}
	}
	return l, nil
}

// believe finds the list of trusted keys as verify does. There may be none, but
// one that was named, or that is there and cannot be read, is an error.
func (l *looking) believe(paths []string, signers string) error {
	if signers == noSigners {
		return nil
	}
	if signers == "" && l.app.config == "" && !configHere() {
		const here = "allowed_signers"
		if _, err := os.Stat(here); err != nil || inside(here, paths) {
			return nil // what lies in the folder itself proves nothing about it
		}
	}
	trust, source, err := l.app.auditTrust(signers, paths)
	l.list, l.source = trust, source.File
	return err
}

// trustOf returns what counts in a dossier, nil where there is no list.
func (l *looking) trustOf(dossier string) *keys.Trust {
	if l.list == nil {
		return nil
	}
	return l.list.For(dossier)
}

// remark warns, once, on standard error, when nobody knows who signed.
func (l *looking) remark(trusted bool) {
	if trusted || l.warned {
		return
	}
	l.warned = true
	fmt.Fprintln(l.app.stderr, "caisseauto: signature not checked: no list of trusted keys. The bytes are those that the key named has signed, but anybody can have made that key; --signers FILE names the list that the server's operator handed you")
}

// trusted says in the output what is known of a signer.
func (l *looking) trusted(yes bool) string {
	if yes {
		return "signature good, key listed in " + term.Clean(l.source)
	}
	return "SIGNATURE NOT CHECKED: no list of trusted keys"
}

// near adds the streams under a path of this machine.
func (l *looking) near(ctx context.Context, name, stream string) error {
	found, err := inspect.Local(name, stream)
	if err != nil {
		return l.app.cannotVerify(err)
	}
	if len(found) == 0 {
		return &usageError{fmt.Errorf("%s holds no batches: name a batch, the folder of a stream or a dossier, or a drop", name)}
	}
	for _, p := range found {
		// The trust documents lie beside the stream, where the path says so.
		if root, ok := strings.CutSuffix(filepath.ToSlash(p.Where), "/"+p.Stream); ok {
			if d, err := drop.OpenLocal(filepath.FromSlash(root)); err == nil {
				l.follow(ctx, d, root, p.Stream)
				d.Close()
			}
		}
		l.add(p)
	}
	return nil
}

// follow walks the trust documents of a stream's dossier: the list of keys that
// somebody was handed long ago says where to begin. What cannot be believed is
// told, and changes nothing.
func (l *looking) follow(ctx context.Context, d drop.Drop, where, stream string) {
	dossier, _, _ := strings.Cut(stream, "/")
	if l.list == nil || l.walked[where+"/"+dossier] {
		return
	}
	if l.walked == nil {
		l.walked = map[string]bool{}
	}
	l.walked[where+"/"+dossier] = true
	next, _, err := rotation.Follow(l.list, dossier, trustFiles{ctx, d, dossier}, true)
	l.list = next
	if err != nil {
		fmt.Fprintf(l.app.stderr, "caisseauto: %s/%s/%s\n", dossier, drop.TrustFolder, term.Clean(err.Error()))
	}
}

// add adds a place, once.
func (l *looking) add(p inspect.Place) {
	for _, q := range l.places {
		if q.Where == p.Where && (q.Only == p.Only || q.Only == 0) {
			return
		}
	}
	l.places = append(l.places, p)
}

// configured adds the drop of the configuration.
func (l *looking) configured(ctx context.Context, f placeFlags) error {
	if l.app.config == "" && !configHere() {
		return &usageError{errors.New("PATH: what is to be looked at? a batch, the folder of a stream or dossier, a drop, or sftp://user@host:port/path")}
	}
	c, err := l.app.commonConfig()
	if err != nil {
		return err
	}
	if err := c.NeedDrop(); err != nil {
		return err
	}
	name := c.Drop.Folder
	if !c.Drop.Local() {
		return l.far(ctx, c.Drop.URL, f)
	}
	if l.app.dossier != "" {
		name += string(os.PathSeparator) + l.app.dossier
	}
	return l.near(ctx, name, f.stream)
}

// far adds the streams under an address.
func (l *looking) far(ctx context.Context, address string, f placeFlags) error {
	c, err := l.app.server(address, f)
	if err != nil {
		return err
	}
	root, stream, only := inspect.Locate(c.Drop.Path)
	c.Drop.Path = root
	conn, err := l.dial(ctx, c)
	if err != nil {
		return err
	}
	if stream != "" {
		l.followFar(ctx, conn, stream)
		l.add(conn.place(stream, only))
		return nil
	}
	codes, err := conn.dossiers(ctx)
	if err != nil {
		return err
	}
	for _, code := range codes {
		if code == "down" || code == "up" || code == "packages" { // the address is a dossier's
			codes = []string{path.Base(root)}
			c.Drop.Path = path.Dir(root)
			if conn, err = l.dial(ctx, c); err != nil {
				return err
			}
			break
		}
	}
	for _, code := range codes {
		if l.app.dossier != "" && l.app.dossier != code {
			continue
		}
		if err := l.farDossier(ctx, conn, code); err != nil {
			return err
		}
	}
	if len(l.places) == 0 {
		return &usageError{fmt.Errorf("%s holds no dossier that this login can see", address)}
	}
	return nil
}

// farDossier adds the streams of a dossier.
func (l *looking) farDossier(ctx context.Context, conn *connection, code string) error {
	l.followFar(ctx, conn, code)
	l.add(conn.place(importer.Stream(code), 0))
	// As on this machine, a folder for packages that has none is no stream.
	packages := conn.place(importer.StreamPackages(code), 0)
	if listing, err := packages.Files.List(ctx); err != nil || len(listing.Batches) > 0 || listing.Head {
		l.add(packages)
	}
	tills, err := conn.tills(ctx, code)
	for _, till := range tills {
		l.add(conn.place(importer.StreamUp(code, till), 0))
	}
	return err
}

// followFar is follow at the other end of a line.
func (l *looking) followFar(ctx context.Context, conn *connection, stream string) {
	_ = conn.use(ctx, func(d drop.Drop) error { // what is wrong with the line is told by the next step
		l.follow(ctx, d, conn.config.Drop.Host+conn.config.Drop.Path, stream)
		return nil
	})
}

// server says how to log in where an address says: with the keys of the
// configuration, unless others are named. An unknown host key is never taken.
func (a *app) server(address string, f placeFlags) (*config.Common, error) {
	var c config.Common
	if a.config != "" || configHere() {
		have, err := a.commonConfig()
		if err != nil {
			return nil, err
		}
		c = *have
	}
	d, err := config.ParseDrop(address, ".")
	if err != nil {
		return nil, &usageError{err} // it does not repeat the address, which may hold a password
	}
	d.HostKeys, d.Key = c.Drop.HostKeys, c.Drop.Key
	if f.hostKey != "" {
		line := f.hostKey
		if data, err := os.ReadFile(line); err == nil {
			line = strings.TrimSpace(string(data))
		}
		if d.HostKeys, err = (config.PublicKeys{line}).Parse(); err != nil {
			return nil, &usageError{fmt.Errorf("--host-key: %w", err)}
		}
	}
	if f.identity != "" {
		d.Key = f.identity
	}
	if len(d.HostKeys) == 0 {
		return nil, &usageError{fmt.Errorf("which server is %s? give its own key with --host-key, from its operator, or --config with host_key in it; a key that the network shows is not taken", d.Host)}
	}
	c.Drop = d
	return &c, nil
}
