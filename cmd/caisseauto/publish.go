package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/release"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

type publishFlags struct {
	product, version, os, arch string
	notes, notesFile           string
	release, seconds           int64
	requires, probe            []string
	from, to                   int64
	renew, noShip, newEpoch    bool
	reason                     string
	after                      int64
}

func (a *app) publishCommand() *cobra.Command {
	var f publishFlags
	c := &cobra.Command{
		Use:   "publish [DIR]",
		Short: "Seal a folder as a software package for the tills (release manager)",
		Long: `Seals the files of a folder into the dossier's stream of packages, with the
release manager's key, and ships it. It carries regular files, with the mode
0755 for programs and 0644 for the rest. The release number counts up by itself;
the same version for another system gets the same number. Given twice, it seals
nothing the second time. Tills install what --os and --arch say is for them.

With --rollback-from and --rollback-to, and no folder, it calls a release back:
tills where exactly the first runs go back to the second.

Tills install nothing while the head of the stream has expired ([head] expires
in release.toml, 30 days by default): --renew signs it anew.`,
		Example: `  caisseauto publish build/caisse-3.2 --product caisse --version 3.2 --probe bin/caisse --probe --check --notes "Rayon frais: prix au kilo"
  caisseauto publish dist --product caisseauto --version 1.4 --os windows --arch amd64 --requires caisse:7
  caisseauto publish --product caisse --rollback-from 9 --rollback-to 7
  caisseauto publish --renew`,
		RunE: func(c *cobra.Command, args []string) error { return a.publish(c.Context(), f, args) },
	}
	c.Flags().StringVar(&f.product, "product", "", "`NAME` of the product, as till.toml has it: a-z, 0-9, . _ -")
	c.Flags().StringVar(&f.version, "version", "", "`VERSION`, for people")
	c.Flags().Int64Var(&f.release, "release", 0, "`NUMBER` of the release (default: counts up)")
	c.Flags().StringVar(&f.os, "os", runtime.GOOS, "`SYSTEM` that it is for, as Go names it, or any")
	c.Flags().StringVar(&f.arch, "arch", runtime.GOARCH, "`PROCESSOR` that it is for, as Go names it, or any")
	c.Flags().StringArrayVar(&f.requires, "requires", nil, "`PRODUCT:RELEASE` that must be installed before, or a newer one; repeat it")
	c.Flags().StringArrayVar(&f.probe, "probe", nil, "`WORD` of the command that ends with 0 when the release works: first the program in the package, then its arguments; repeat it")
	c.Flags().Int64Var(&f.seconds, "probe-seconds", release.DefaultProbeSeconds, "`SECONDS` after which the probe has failed, 1 to 600")
	c.Flags().StringVar(&f.notes, "notes", "", "`TEXT` that says what is new")
	c.Flags().StringVar(&f.notesFile, "notes-file", "", "`FILE` that says what is new, - for the standard input")
	c.Flags().Int64Var(&f.from, "rollback-from", 0, "`RELEASE` that is called back")
	c.Flags().Int64Var(&f.to, "rollback-to", 0, "`RELEASE` that runs instead")
	c.Flags().BoolVar(&f.renew, "renew", false, "sign the head anew, and nothing else")
	c.Flags().BoolVar(&f.noShip, "no-ship", false, "seal into the outbox folder only; something else carries the files")
	c.Flags().BoolVar(&f.newEpoch, "new-epoch", false, "operator's decision, when packages that tills have seen are lost: begin a new epoch")
	c.Flags().StringVar(&f.reason, "reason", "", "why, for the record; needed with --new-epoch")
	c.Flags().Int64Var(&f.after, "after", 0, "with --new-epoch: the highest `NUMBER` of a batch that a till has seen, where the drop does not show it; give --release too, above what runs there")
	c.MarkFlagsMutuallyExclusive("notes", "notes-file")
	return c
}

func (a *app) publish(ctx context.Context, f publishFlags, args []string) error {
	q, err := a.publishRequest(f, args)
	if err != nil {
		return &usageError{err}
	}
	cfg, err := a.loadRelease()
	if err != nil {
		return err
	}
	list, err := a.releaseDossiers(cfg)
	if err != nil {
		return err
	}
	trust, err := trustOf(&cfg.Common)
	if err != nil {
		return err
	}
	signer, err := a.signerOf(&cfg.Common)
	if err != nil {
		return err
	}
	j := &publishJob{app: a, cfg: cfg, trust: trust, signer: signer, request: q, renew: f.renew}
	if !f.noShip {
		if j.drop, err = a.openDrop(ctx, &cfg.Common); err != nil {
			return fmt.Errorf("%w; nothing was published; seal without it with --no-ship", err)
		}
		defer j.drop.Close()
	}
	for _, d := range list {
		if err := j.run(ctx, d.Code); err != nil {
			return errors.Join(fmt.Errorf("dossier %s: %w", d.Code, err), j.print())
		}
	}
	return j.print()
}

// publishRequest reads the command line.
func (a *app) publishRequest(f publishFlags, args []string) (q release.Request, err error) {
	back := f.from != 0 || f.to != 0
	switch {
	case len(args) > 1:
		return q, fmt.Errorf("one folder is published at a time, not %q", args)
	case f.renew && (len(args) > 0 || f.product != "" || back):
		return q, errors.New("--renew stands alone: it publishes nothing")
	case f.renew:
		return q, nil
	case f.product == "":
		return q, errors.New("name the product: --product NAME")
	case !release.ValidProduct(f.product):
		return q, fmt.Errorf("--product %q: 1 to 64 of a-z, 0-9, . _ -, a letter or digit first", f.product)
	case f.newEpoch != (f.reason != ""), f.after != 0 && !f.newEpoch, f.after < 0:
		return q, errors.New("--new-epoch and --reason go together, --after with them: the decision is recorded with its reason")
	case back && (f.from == 0 || f.to == 0 || len(args) > 0 || f.version != ""):
		return q, errors.New("--rollback-from and --rollback-to go together, without a folder and without --version: the files are those of the release that runs instead")
	case !back && (len(args) == 0 || f.version == ""):
		return q, errors.New("say what to publish: caisseauto publish DIR --product NAME --version VERSION")
	}
	q = release.Request{Product: f.product, Version: f.version, OS: f.os, Arch: f.arch, Release: f.release, Notes: f.notes,
		NewEpoch: f.reason, After: f.after}
	if back {
		q.Rollback = &release.Rollback{From: f.from, To: f.to}
	} else {
		q.Folder = args[0]
	}
	for _, r := range f.requires {
		product, number, _ := strings.Cut(r, ":")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 1 {
			return q, fmt.Errorf("--requires %q: write PRODUCT:RELEASE, like caisse:7", r)
		}
		q.Requires = append(q.Requires, release.Requirement{Product: product, Release: n})
	}
	if len(f.probe) > 0 {
		q.Probe = &release.Probe{Command: f.probe, Seconds: f.seconds}
	}
	if f.notesFile != "" {
		q.Notes, err = a.readNotes(f.notesFile)
	}
	return q, err
}

// readNotes reads what is new, with lines that end as the format has them.
func (a *app) readNotes(name string) (string, error) {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, 1<<20))
	return strings.ReplaceAll(string(data), "\r\n", "\n"), err
}

// A publishJob publishes one package in some dossiers.
type publishJob struct {
	app     *app
	cfg     *config.Release
	trust   *keys.Trust
	signer  keys.Signer
	request release.Request
	renew   bool
	drop    drop.Drop // nil: nothing is shipped
	results []publishResult
}

// A publishResult is one line of the table that publish prints.
type publishResult struct {
	Dossier string   `json:"dossier"`
	Batch   int64    `json:"batch"`
	Product string   `json:"product,omitempty"`
	Version string   `json:"version,omitempty"`
	Release int64    `json:"release,omitempty"`
	OS      string   `json:"os,omitempty"`
	Arch    string   `json:"arch,omitempty"`
	Back    int64    `json:"rollback_from,omitempty"`
	Sealed  bool     `json:"sealed"`
	Files   int      `json:"files"`
	Size    int64    `json:"bytes"`
	Archive int64    `json:"archive_bytes"`
	Empty   []string `json:"empty_folders_left_out,omitempty"`
	Expires string   `json:"head_expires,omitempty"`
	Shipped int      `json:"files_shipped"`
	Elapsed float64  `json:"seconds"`
}

// seen is the folder in the outbox that holds what the drop shows of the
// stream: manifests, never archives but for a rollback.
const seen = ".drop"

func (j *publishJob) run(ctx context.Context, dossier string) error {
	stream, trust := importer.StreamPackages(dossier), j.trust.For(dossier)
	bar := j.app.bar("sealing", true)
	defer bar.close()
	p := &release.Publisher{Stream: stream, Outbox: streamFolder(j.cfg.Paths.Outbox, stream), Signer: j.signer, Principal: j.cfg.Signing.Principal,
		Trust: trust, TrustVersion: versionOf(trust, dossier), HeadLife: j.cfg.Head.Expires.Duration, Progress: bar.copied, Log: j.app.log()}
	top, err := j.adopt(ctx, p)
	if err != nil {
		return err
	}
	line, err := j.seal(ctx, p, top)
	if err != nil {
		return err
	}
	bar.close()
	line.Dossier = dossier
	if j.drop != nil && line.Batch > 0 {
		r, err := j.app.ship(ctx, j.drop, j.cfg.Paths.Outbox, stream)
		if err != nil {
			return fmt.Errorf("sealed, and waiting in %s: shipping: %w; caisseauto ship --config %s will", p.Outbox, err, j.cfg.File)
		}
		line.Shipped = r.Files
	}
	j.results = append(j.results, line)
	return nil
}

// seal publishes, or renews the head. top is the highest number on the drop.
func (j *publishJob) seal(ctx context.Context, p *release.Publisher, top int64) (line publishResult, err error) {
	start := time.Now()
	if j.renew {
		last, err := p.Renew()
		if last != nil {
			line.Batch = last.Sequence
			line.Expires = time.Now().Add(p.HeadLife).UTC().Format(time.RFC3339)
		}
		line.Elapsed = time.Since(start).Seconds()
		return line, err
	}
	q := j.request
	q.After = max(q.After, top)
	q.Archives = []string{j.seenFolder(p.Stream)}
	if q.Rollback != nil {
		if err := j.fetchArchive(ctx, p, q); err != nil {
			return line, err
		}
	}
	r, err := p.Publish(ctx, q)
	if err != nil {
		return line, err
	}
	b := r.Batch
	if r.Sealed {
		j.app.event("sealed", p.Stream, b.Sequence, r.Elapsed, "product", b.Product, "version", b.Version, "release", b.Release, "bytes", b.Archive.Size)
	}
	line = publishResult{Batch: b.Sequence, Product: b.Product, Version: b.Version, Release: b.Release, OS: b.OS, Arch: b.Arch, Sealed: r.Sealed,
		Files: len(b.Files), Size: b.Package.Size(), Archive: b.Archive.Size, Empty: r.Empty, Elapsed: r.Elapsed.Seconds()}
	if b.Rollback != nil {
		line.Back = b.Rollback.From
	}
	return line, nil
}

func (j *publishJob) seenRoot() string { return filepath.Join(j.cfg.Paths.Outbox, seen) }

func (j *publishJob) seenFolder(stream string) string { return streamFolder(j.seenRoot(), stream) }

// adopt looks at what the drop holds, and takes over what another machine has
// published. It returns the highest number there.
func (j *publishJob) adopt(ctx context.Context, p *release.Publisher) (top int64, err error) {
	if j.drop == nil {
		return 0, nil
	}
	if err := j.see(ctx, p.Stream, drop.MirrorOptions{Skip: isArchive}); err != nil {
		return 0, fmt.Errorf("looking at the drop: %w; nothing was published", err)
	}
	n, top, err := p.Adopt(j.seenFolder(p.Stream))
	if n > 0 {
		j.app.log().Warn("taken over from the drop: another machine has published", "stream", p.Stream, "packages", n)
	}
	if j.request.NewEpoch != "" && release.IsOver(err) {
		err = nil // that is what it is for
	}
	return top, err
}

// fetchArchive brings the archive that a rollback needs, where the outbox has
// it no longer.
func (j *publishJob) fetchArchive(ctx context.Context, p *release.Publisher, q release.Request) error {
	n, err := p.Needs(q)
	if err != nil || n == 0 || j.drop == nil {
		return err
	}
	bar := j.app.bar("fetching", true)
	defer bar.close()
	return j.see(ctx, p.Stream, drop.MirrorOptions{From: n, To: n, Progress: bar.copied})
}

// see copies what the drop shows of a stream to where it is looked at.
func (j *publishJob) see(ctx context.Context, stream string, o drop.MirrorOptions) error {
	local, err := openLocal(j.seenRoot(), true)
	if err != nil {
		return err
	}
	defer local.Close()
	o.Log = j.app.log()
	_, err = mirrorInbox(ctx, j.seenRoot(), local, j.drop, stream, o)
	return err
}

func (j *publishJob) print() error {
	if j.app.json {
		return term.JSON(j.app.stdout, j.results)
	}
	if len(j.results) == 0 {
		return nil
	}
	if j.renew {
		t := term.NewTable("dossier", "newest batch", "head is good until", "shipped")
		for _, r := range j.results {
			if r.Batch == 0 {
				t.Row(r.Dossier, "none", "no package is published yet", "")
				continue
			}
			t.Row(r.Dossier, fmt.Sprint(r.Batch), r.Expires, j.shipped(r))
		}
		return t.Print(j.app.stdout)
	}
	t := term.NewTable("dossier", "batch", "package", "release", "for", "files", "size", "archive", "shipped", "time")
	for _, r := range j.results {
		number := fmt.Sprint(r.Release)
		if r.Back > 0 {
			number = fmt.Sprintf("%d, back from %d", r.Release, r.Back)
		}
		if !r.Sealed {
			number += ", as before"
		}
		t.Row(r.Dossier, fmt.Sprint(r.Batch), r.Product+" "+r.Version, number, r.OS+"/"+r.Arch, term.Count(int64(r.Files)), term.Size(r.Size), term.Size(r.Archive), j.shipped(r), seconds(r.Elapsed))
	}
	if err := t.Print(j.app.stdout); err != nil {
		return err
	}
	for _, dir := range j.results[0].Empty {
		fmt.Fprintf(j.app.stderr, "caisseauto: the folder %s has no file in it and is not in the package\n", dir)
	}
	return nil
}

func (j *publishJob) shipped(r publishResult) string {
	if j.drop == nil {
		return "not yet"
	}
	return fmt.Sprintf("%d files", r.Shipped)
}
