package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"caisseauto/internal/config"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

// demoProduct is the software that the demo's tills run.
const demoProduct = "caisse"

func (d *demo) release(name string) string { return filepath.Join(d.dir, "release", name) }

// makeRelease sets up the release manager, whose machine is another one in
// life: his key signs software, and the server's does not.
func (d *demo) makeRelease(ctx context.Context) error {
	r := &config.Release{Dossiers: []config.ReleaseDossier{{Code: demoDossier}}}
	host, err := keys.LoadSSH(d.server("keys/ssh_host"), nil)
	if err != nil {
		return err
	}
	r.Drop.URL, r.Drop.Key = fmt.Sprintf("sftp://release@127.0.0.1:%d/", d.port), "keys/sftp"
	r.Drop.HostKey = config.PublicKeys{keys.AuthorizedLine(host.PublicKey(), "")}
	r.Signing.Principal = "release@demo"
	if err := config.WriteRelease(d.release("release.toml"), r); err != nil {
		return err
	}
	return d.quiet(ctx, "init", "release", "--config", d.release("release.toml"))
}

// releaseLogin makes the key by which the release manager logs in to the drop,
// where he writes packages and nothing else.
func (d *demo) releaseLogin() (u config.ServeUser, err error) {
	if err := os.MkdirAll(d.release("keys"), 0o755); err != nil {
		return u, err
	}
	login, err := keys.Generate(d.release("keys/sftp"), "release")
	if err != nil {
		return u, err
	}
	return config.ServeUser{Name: "release", Dossier: demoDossier, Release: true, Keys: config.PublicKeys{keys.AuthorizedLine(login, "")}}, nil
}

// packages is how software comes to the tills: one release that works, and one
// that does not.
func (d *demo) packages(ctx context.Context) error {
	if err := d.publishRelease(ctx, "3.1", true); err != nil {
		return err
	}
	for _, number := range d.tills {
		if err := d.updateTill(ctx, number, exitDone); err != nil {
			return err
		}
	}
	if err := d.publishRelease(ctx, "3.2", false); err != nil {
		return err
	}
	for _, number := range d.tills {
		if err := d.updateTill(ctx, number, exitOperator); err != nil {
			return err
		}
	}
	return nil
}

// publishRelease publishes a version whose probe succeeds, or does not.
func (d *demo) publishRelease(ctx context.Context, version string, works bool) error {
	dir := d.release(demoProduct + "-" + version)
	probe, err := writeProgram(dir, version, works)
	if err != nil {
		return err
	}
	var done []publishResult
	err = d.cli(ctx, &done, "publish", dir, "--config", d.release("release.toml"), "--product", demoProduct, "--version", version,
		"--notes", "Version "+version, "--probe", probe, "--probe", "--check")
	if err != nil {
		return err
	}
	r := done[0]
	d.say("release    %s %s is published as batch %d: %d files, %s, signed by release@demo; the server's key could not", r.Product, r.Version, r.Batch, r.Files, term.Size(r.Size))
	return nil
}

// writeProgram writes what is to be the till's software.
func writeProgram(dir, version string, works bool) (name string, err error) {
	code, why := "0", "all is well"
	if !works {
		code, why = "1", "no printer on port 1"
	}
	name = "bin/caisse"
	script := "#!/bin/sh\n# The software of a till, version " + version + ".\nif [ \"$1\" = --check ]; then echo '" + why + "'; exit " + code + "; fi\necho caisse " + version + "\n"
	if runtime.GOOS == "windows" {
		name = "bin/caisse.cmd"
		script = "@if \"%1\"==\"--check\" (echo " + why + "& exit /b " + code + ")\r\n@echo caisse " + version + "\r\n"
	}
	for file, text := range map[string]string{name: script, "menu.txt": strings.Repeat("Croque-monsieur version "+version+"\n", 200)} {
		path := filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			return "", err
		}
	}
	return name, os.Chmod(filepath.Join(dir, "menu.txt"), 0o644)
}

// updateTill installs what is new, as the schedule does, and wants that exit
// code.
func (d *demo) updateTill(ctx context.Context, number string, want int) error {
	var out, errs bytes.Buffer
	args := []string{"import_updatecaisse", "--config", d.till(number, "till.toml"), "--json"}
	if code := run(ctx, args, nil, &out, &errs); code != want {
		return fmt.Errorf("caisseauto %v: exit code %d, want %d: %s", args, code, want, errs.String())
	}
	var r updateResult
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return err
	}
	for _, u := range r.Updates {
		why := ""
		if u.Reason != "" {
			why = " (" + u.Reason + "); exit code " + fmt.Sprint(want)
		}
		d.say("till %s   %s %s: %s%s; %s", number, u.Product, u.Version, u.Outcome, why, running(r.Runs))
	}
	return nil
}
