package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"caisseauto/importer"
	"caisseauto/internal/collect"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/status"
	"caisseauto/internal/term"
	"caisseauto/keys"
	"caisseauto/keys/rotation"
)

// A view is what status shows of the dossiers.
type view struct {
	dossiers []dossierStatus
	alarms   int // what makes the exit code 78
}

// A dossierStatus is what status prints of a dossier with --json.
type dossierStatus struct {
	*status.Dossier
	// Standing are the alarms in the server's database; none where that is
	// not at hand.
	Standing []collect.Alarm `json:"standing"`
	Units    int64           `json:"units"` // in quarantine there
}

// dropStatus shows the state once.
func (a *app) dropStatus(ctx context.Context, f statusFlags) error {
	v, err := a.gather(ctx, f)
	if err != nil {
		return err
	}
	if err := v.write(f); err != nil {
		return err
	}
	if a.json {
		err = term.JSON(a.stdout, v.dossiers)
	} else {
		err = v.print(a.stdout)
	}
	if err == nil && v.alarms > 0 {
		err = v.alarm()
	}
	return err
}

// alarm says what stands.
func (v *view) alarm() error {
	standing, units := 0, int64(0)
	for _, d := range v.dossiers {
		standing, units = standing+len(d.Standing), units+d.Units
	}
	if standing == 0 && units == 0 {
		return fmt.Errorf("%w: named above; nothing was changed", errAlarm)
	}
	return fmt.Errorf("%w: %d alarms stand and %d units are in quarantine; look at quarantine list, and take an alarm back with: caisseauto status --acknowledge ID --reason TEXT",
		errAlarm, standing, units)
}

// gather reads the drop, and on the server its database too.
func (a *app) gather(ctx context.Context, f statusFlags) (*view, error) {
	v := &view{}
	history := 0
	if f.report != "" {
		history = 200
	}
	if f.drop != "" {
		trust, _, err := a.auditTrust(f.signers, []string{f.drop})
		if err != nil {
			return nil, err
		}
		d, err := openLocal(f.drop, false)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		codes, err := a.codes(f.drop)
		if err != nil {
			return nil, err
		}
		return v, v.add(ctx, d, trust, history, codes)
	}
	err := a.withCollector(ctx, func(ctx context.Context, cfg *config.Server, db *collect.Collector) error {
		list, err := a.dossiers(cfg)
		if err != nil {
			return err
		}
		trust, err := trustOf(&cfg.Common)
		if f.signers != "" {
			trust, err = keys.LoadTrust(f.signers)
		}
		if err != nil {
			return err
		}
		d, err := a.openDrop(ctx, &cfg.Common)
		if err != nil {
			return err
		}
		defer d.Close()
		var codes []string
		for _, x := range list {
			codes = append(codes, x.Code)
		}
		if err := v.add(ctx, d, trust, history, codes); err != nil {
			return err
		}
		return v.addServer(ctx, db)
	})
	return v, err
}

// codes lists the dossiers in a folder that is a drop.
func (a *app) codes(folder string) ([]string, error) {
	if a.dossier != "" {
		return []string{a.dossier}, nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, e := range entries {
		if !e.IsDir() || !drop.ValidDir(e.Name()+"/down") {
			continue
		}
		// One whose stream down was taken away is one still, and so may be one
		// that cannot be looked into: to leave it out would hide its alarm.
		for _, sub := range []string{"down", "up", "receipts"} {
			if _, err := os.Lstat(streamFolder(folder, e.Name()+"/"+sub)); !errors.Is(err, fs.ErrNotExist) {
				list = append(list, e.Name())
				break
			}
		}
	}
	if len(list) == 0 {
		return nil, &usageError{fmt.Errorf("%s holds no dossier: name the folder in which DOSSIER/down lies", folder)}
	}
	return list, nil
}

// add reads dossiers from the drop.
func (v *view) add(ctx context.Context, d drop.Drop, trust *keys.Trust, history int, codes []string) error {
	for _, code := range codes {
		trust, distrust := followed(ctx, d, trust, code)
		if distrust != nil && !errors.Is(distrust, rotation.ErrRefused) {
			return distrust
		}
		s, err := status.Gather(ctx, statusFiles{dropFiles{d, code}}, code, trust, status.Options{Now: time.Now(), History: history})
		if err != nil {
			return fmt.Errorf("dossier %s: %w", code, err)
		}
		if distrust != nil {
			s.Down.Alarms = append(s.Down.Alarms, distrust.Error())
		}
		v.dossiers = append(v.dossiers, dossierStatus{Dossier: s, Standing: []collect.Alarm{}})
		v.alarms += s.Alarms()
	}
	return nil
}

// addServer adds what the server's own database knows: its alarms, and what is
// in quarantine now, where the receipts say what was.
func (v *view) addServer(ctx context.Context, db *collect.Collector) error {
	v.alarms = 0
	for i := range v.dossiers {
		d := &v.dossiers[i]
		standing, err := db.Alarms(ctx, collect.AlarmFilter{Dossier: d.Dossier.Dossier})
		if err != nil {
			return err
		}
		d.Standing = append(d.Standing, standing...)
		known, err := db.Tills(ctx, d.Dossier.Dossier)
		if err != nil {
			return err
		}
		for _, k := range known {
			d.Units += k.Units
			if n := slices.IndexFunc(d.Tills, func(t status.Till) bool { return t.Till == k.Till }); n >= 0 {
				d.Tills[n].Held(k.Quarantined, k.Discarded)
			}
		}
		v.alarms += d.Alarms() + len(standing) + int(d.Units)
	}
	return nil
}

// write writes the files that were asked for.
func (v *view) write(f statusFlags) error {
	var list []*status.Dossier
	for _, d := range v.dossiers {
		list = append(list, d.Dossier)
	}
	if f.report != "" {
		if err := writePage(f.report, func(w io.Writer) error { return status.HTML(w, list) }); err != nil {
			return err
		}
	}
	if f.prometheus != "" {
		return writePage(f.prometheus, func(w io.Writer) error { return status.Prometheus(w, list) })
	}
	return nil
}

// print writes the tables for a person.
func (v *view) print(w io.Writer) error {
	for _, d := range v.dossiers {
		if d.Down.Sequence > 0 {
			fmt.Fprintf(w, "dossier %s: the stream down stands at batch %d, head of %s\n", d.Dossier.Dossier, d.Down.Sequence, d.Down.Issued.UTC().Format(time.RFC3339))
		} else {
			fmt.Fprintf(w, "dossier %s: the stream down has no head\n", d.Dossier.Dossier)
		}
		if d.Packages.Sequence > 0 {
			fmt.Fprintf(w, "dossier %s: the packages stand at batch %d, head of %s\n", d.Dossier.Dossier, d.Packages.Sequence, d.Packages.Issued.UTC().Format(time.RFC3339))
		}
		if len(d.Tills) == 0 {
			fmt.Fprintf(w, "no till has sent anything yet\n")
		} else if err := table(d.Dossier).Print(w); err != nil {
			return err
		}
		for _, text := range d.Down.Alarms {
			fmt.Fprintf(w, "ALARM  dossier %s: %s\n", d.Dossier.Dossier, term.Clean(text))
		}
		for _, text := range d.Packages.Alarms {
			fmt.Fprintf(w, "ALARM  packages of %s: %s\n", d.Dossier.Dossier, term.Clean(text))
		}
		for _, t := range d.Tills {
			for _, text := range t.Alarms {
				fmt.Fprintf(w, "ALARM  till %s of %s: %s\n", t.Till, d.Dossier.Dossier, term.Clean(text))
			}
			for _, text := range t.Warnings {
				fmt.Fprintf(w, "LOOK   till %s of %s: %s\n", t.Till, d.Dossier.Dossier, term.Clean(text))
			}
		}
		for _, x := range d.Standing {
			fmt.Fprintf(w, "ALARM %d  %s  till %s of %s, %s: %s\n", x.ID, x.At, x.Till, x.Dossier, x.Kind, term.Clean(x.Text))
		}
	}
	return nil
}

// table is a dossier's, the worst tills first.
func table(d *status.Dossier) *term.Table {
	t := term.NewTable("till", "state", "applied", "behind", "sealed", "integrated", "rows waiting", "oldest", "quarantine", "heard of", "clock", "host", "version", "packages")
	for _, x := range d.Worst() {
		t.Row(x.Till, string(x.State), fmt.Sprint(x.Applied), x.Lag(), fmt.Sprint(x.Sealed), fmt.Sprint(x.Integrated), term.Count(x.Waiting),
			dash(x.Oldest(d.At)), term.Count(x.Quarantine), x.Silence(), x.Clock(), dash(x.Host), dash(x.Version), x.Installed())
	}
	return t
}

// watch shows the state on the whole terminal until ctx ends. What goes wrong
// in one round is told above what the last good one has shown.
func (a *app) watch(ctx context.Context, f statusFlags) error {
	screen, err := term.NewScreen(a.stdout)
	if errors.Is(err, term.ErrNoTerminal) {
		return &usageError{errors.New("--watch needs a terminal; without one run status on a schedule, with --html or --prometheus")}
	}
	if err != nil {
		return err
	}
	defer screen.Close()
	var last string
	var good time.Time
	for {
		var trouble string
		v, err := a.gather(ctx, f)
		if err == nil {
			err = v.write(f)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			trouble = fmt.Sprintf("cannot look: %s\nwhat follows is %s old\n\n", term.Clean(strings.ReplaceAll(err.Error(), "\n", " ")), term.Duration(time.Since(good)))
			if good.IsZero() {
				return err
			}
		default:
			var b bytes.Buffer
			if err := v.print(&b); err != nil {
				return err
			}
			last, good = b.String(), time.Now()
		}
		if err := screen.Draw(fmt.Sprintf("caisseauto status, %s, every %s; Ctrl-C ends\n\n%s%s", time.Now().Format(time.TimeOnly), f.every, trouble, last)); err != nil {
			return err
		}
		if !pause(ctx, f.every) {
			return nil
		}
	}
}

// statusFiles is a dossier's folder on a drop as the status reads it.
type statusFiles struct{ dropFiles }

// Tills lists those that have a folder, and those that have a receipt: a till
// whose folder is gone must not go from the list too.
func (f statusFiles) Tills(ctx context.Context) ([]string, error) {
	tills, err := f.drop.Tills(ctx, f.dossier)
	if errors.Is(err, drop.ErrDenied) || errors.Is(err, drop.ErrConflict) || errors.Is(err, drop.ErrTooMany) {
		return nil, fmt.Errorf("%w: %w", status.ErrFolder, err)
	}
	if err != nil {
		return nil, err
	}
	l, err := f.drop.List(ctx, f.dossier+"/"+importer.ReceiptFolder)
	if err != nil {
		return tills, ctx.Err() // each till's receipt says why it cannot be read
	}
	there := map[string]bool{}
	for _, file := range l.Files {
		there[file.Name] = true
	}
	for name := range there {
		till, ok := strings.CutSuffix(name, ".json")
		if ok && there[name+".sig"] && drop.ValidTill(till) {
			tills = append(tills, till)
		}
	}
	slices.Sort(tills)
	return slices.Compact(tills), nil
}
