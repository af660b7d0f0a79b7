package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/drop/sftp"
	"caisseauto/keys"
)

// configFile returns the path of the configuration: --config, or the given
// name in the current folder.
func (a *app) configFile(name string) string {
	if a.config != "" {
		return a.config
	}
	return name
}

func (a *app) loadServer() (*config.Server, error) {
	return config.LoadServer(a.configFile("server.toml"))
}

func (a *app) loadTill() (*config.Till, error) { return config.LoadTill(a.configFile("till.toml")) }

func (a *app) loadRelease() (*config.Release, error) {
	return config.LoadRelease(a.configFile(config.ReleaseFile))
}

// dossiers returns the dossiers that a command is to work on: the one of
// --dossier, or all.
func (a *app) dossiers(cfg *config.Server) ([]config.Dossier, error) {
	if a.dossier == "" {
		return cfg.Dossiers, nil
	}
	d, err := cfg.Dossier(a.dossier)
	if err != nil {
		return nil, err
	}
	return []config.Dossier{*d}, nil
}

// releaseDossiers does for a release manager what dossiers does.
func (a *app) releaseDossiers(cfg *config.Release) ([]config.ReleaseDossier, error) {
	if a.dossier == "" {
		return cfg.Dossiers, nil
	}
	d, err := cfg.Dossier(a.dossier)
	if err != nil {
		return nil, err
	}
	return []config.ReleaseDossier{*d}, nil
}

// trustOf loads the allowed_signers of a configuration. Without one nobody is
// trusted; one that cannot be read is a fault of the configuration.
func trustOf(c *config.Common) (*keys.Trust, error) {
	trust, err := keys.LoadTrust(c.Trust.AllowedSigners)
	switch {
	case err == nil, errors.Is(err, keys.ErrPermission):
		return trust, err
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", keys.ErrPermission, err)
	}
	return nil, &usageError{err}
}

// openDrop opens the drop that the configuration names, or the folder of
// --from and --to.
func (a *app) openDrop(ctx context.Context, c *config.Common) (drop.Drop, error) {
	if a.medium != "" {
		d, err := drop.OpenLocal(a.medium)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: the folder %s is not there; is the medium plugged in and mounted?", drop.ErrUnavailable, a.medium)
		}
		if err != nil {
			return nil, err
		}
		return d, nil
	}
	if err := c.NeedDrop(); err != nil {
		return nil, err
	}
	if c.Drop.Local() {
		return openLocal(c.Drop.Folder, false)
	}
	login, done, err := a.loginOf(c)
	if err != nil {
		return nil, fmt.Errorf("login key of the drop: %w", err)
	}
	defer done()
	d, err := sftp.Dial(ctx, sftp.Config{
		Addr: c.Drop.Host, User: c.Drop.User, Path: c.Drop.Path,
		HostKeys: c.Drop.HostKeys, Signers: login, Log: a.log(),
	})
	if err != nil {
		return nil, err // and not a Drop that is there and nil
	}
	return d, nil
}

// mediumHas refuses a folder of --from that has nothing of a dossier: somebody
// named another folder, and "nothing new" would hide that.
func (a *app) mediumHas(dossier string) error {
	if a.medium == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(a.medium, dossier)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no folder %s in %s; name the folder that holds it", drop.ErrUnavailable, dossier, a.medium)
	} else if err != nil {
		return err
	}
	return nil
}

// openLocal opens a local folder as a drop. Only our own folders are made
// when they are missing: a drop that is not there is a disk that is not
// mounted, and filling the folder under it would hide that.
func openLocal(folder string, ours bool) (drop.Drop, error) {
	if ours {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
	}
	d, err := drop.OpenLocal(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the drop's folder %s is not there; make it, or mount the disk it is on", drop.ErrUnavailable, folder)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// streamFolder is the local folder of a stream under an outbox or inbox.
func streamFolder(root, stream string) string { return filepath.Join(root, filepath.FromSlash(stream)) }
