package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/durable"
	"caisseauto/internal/term"
	"caisseauto/internal/verify"
	"caisseauto/keys"
)

type verifyFlags struct{ signers, at, stream, contents, report string }

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify PATH…",
		Short: "Check a batch, a stream, a dossier or a whole drop, off line, by public keys alone",
		Long: `Checks every signature, archive and link of the chain under the paths: a file of a
batch, the folder of a stream or of a dossier, a drop, a copy of one on a memory
stick. It opens no network connection and no database. The verdicts are kept apart:

  signature     each statement is signed, in its namespace, by the key it names
  signer        that key belongs to the principal who may sign there
  trust         the key was not retired before, or revoked at, that number
  hash          each archive has the size and SHA-256 that were signed
  chain         each manifest names the one before it; heads and receipts fit
  freshness     the newest head has not expired (of a till's: it only is told)
  completeness  everything that heads, receipts and numbers speak of is there
  content       statements, rows and the files of packages are what the format
                says, to the last row and the last byte

The exit code is 0 when nothing is wrong, 65 when anything is. Archives are
decompressed for the last check when they have at most 16 MiB together, or with
--contents all. Where trust documents lie beside the streams, the list of keys says
where they begin: one that was handed out years ago still does. scripts/verify comes
to the same verdicts with stock tools.`,
		Example: `  caisseauto verify --signers allowed_signers /mnt/usb/drop
  caisseauto verify drop/ACME/down/0000000042.manifest.json
  caisseauto verify --report report.html /mnt/usb/drop
  caisseauto verify --at 2026-03-01 --contents all archive-2026/drop`,
		RunE: func(c *cobra.Command, args []string) error { return a.verify(c.Context(), args, f) },
	}
	c.Flags().StringVar(&f.signers, "signers", "", "allowed_signers `FILE`; else the one of the configuration, or of the current folder")
	c.Flags().StringVar(&f.at, "at", "", "judge freshness at this `TIME`, a date or 2026-03-01T08:00:00Z; else now")
	c.Flags().StringVar(&f.stream, "stream", "", "`NAME` of the stream, such as ACME/down, where the folder's path does not say it")
	c.Flags().StringVar(&f.contents, "contents", "auto", "decompress the archives and read every row and file: auto, all, none")
	c.Flags().StringVar(&f.report, "report", "", "write the report to `FILE` as one page of HTML as well, to print or to keep")
	return c
}

func (a *app) verify(ctx context.Context, paths []string, f verifyFlags) error {
	o := verify.Options{Now: time.Now(), Stream: f.stream, Contents: verify.Contents(f.contents), Open: importer.CheckContents}
	if len(paths) == 0 {
		return &usageError{errors.New("PATH: what is to be verified? a file of a batch, the folder of a stream or dossier, or a drop")}
	}
	switch o.Contents {
	case verify.Auto, verify.All, verify.None:
	default:
		return &usageError{fmt.Errorf("--contents %s: write auto, all or none", f.contents)}
	}
	if f.at != "" {
		t, _, err := when(f.at)
		if err != nil {
			return &usageError{fmt.Errorf("--at %s: write a date like 2026-11-01, or a time like 2026-11-01T08:00:00Z", f.at)}
		}
		o.Now = t
	}
	trust, source, err := a.auditTrust(f.signers, paths)
	if err != nil {
		return err
	}
	o.Trust = func(string) *keys.Trust { return trust }
	o.Trusted = []verify.Source{source}
	var p *term.Progress
	o.Progress = func(total int64) io.Writer {
		p = a.newProgress("verifying", total, true)
		return p
	}
	r, err := verify.Verify(ctx, paths, o)
	p.Done()
	if err != nil {
		return a.cannotVerify(err)
	}
	for _, s := range r.Streams {
		a.event("verified", s.Stream, s.Last, time.Duration(r.Seconds*float64(time.Second)), "batches", s.Batches, "faults", s.Faults)
	}
	if f.report != "" {
		if err := writePage(f.report, r.HTML); err != nil {
			return err
		}
	}
	if a.json {
		err = term.JSON(a.stdout, r)
	} else {
		err = a.printVerified(r)
	}
	if err == nil && !r.Proven() {
		err = fmt.Errorf("%w: %s things are wrong, named above; nothing was changed; fetch the files again, and ask their writer if they stay wrong",
			importer.ErrRefused, term.Count(int64(len(r.Faults))+r.Unnamed))
	}
	return err
}

// writePage writes a page into a file, all of it or nothing.
func writePage(path string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	return durable.WriteFile(path, b.Bytes(), 0o644)
}

// cannotVerify says what a path that cannot be looked at is.
func (a *app) cannotVerify(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return &usageError{err}
	}
	return err
}

// auditTrust finds whose signatures count: in the file of --signers, in the
// configuration, or in allowed_signers of the current folder. Never in a
// folder that is to be verified: whoever made that has made its list of keys.
func (a *app) auditTrust(signers string, paths []string) (*keys.Trust, verify.Source, error) {
	path := signers
	if path == "" && (a.config != "" || configHere()) {
		c, err := a.commonConfig()
		if err != nil {
			return nil, verify.Source{}, err
		}
		path = c.Trust.AllowedSigners
	}
	if path == "" {
		path = "allowed_signers"
		if _, err := os.Stat(path); err != nil {
			return nil, verify.Source{}, &usageError{errors.New("--signers FILE: whose signatures count? give the allowed_signers file that the server's operator handed you, or --config")}
		}
		if inside(path, paths) {
			return nil, verify.Source{}, &usageError{errors.New("allowed_signers in the current folder is a part of what is to be verified, and proves nothing about it; name the one that the server's operator handed you with --signers")}
		}
	}
	trust, err := keys.LoadTrust(path)
	if err != nil {
		if errors.Is(err, keys.ErrPermission) {
			return nil, verify.Source{}, err
		}
		return nil, verify.Source{}, &usageError{err}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, verify.Source{}, err
	}
	sum := sha256.Sum256(data)
	return trust, verify.Source{File: path, SHA256: hex.EncodeToString(sum[:])}, nil
}

// inside reports whether a file lies in one of the folders.
func inside(file string, folders []string) bool {
	full, err := filepath.Abs(file)
	if err != nil {
		return true
	}
	for _, f := range folders {
		folder, err := filepath.Abs(f)
		if err != nil || strings.HasPrefix(full, folder+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

// configHere reports whether a configuration lies in the current folder.
func configHere() bool {
	_, _, err := config.Find(".")
	return err == nil
}

// commonConfig reads what all configurations have.
func (a *app) commonConfig() (*config.Common, error) {
	path, role, err := a.anySide()
	if err != nil {
		return nil, err
	}
	switch role {
	case config.RoleTill:
		cfg, err := config.LoadTill(path)
		if err != nil {
			return nil, err
		}
		return &cfg.Common, nil
	case config.RoleRelease:
		cfg, err := config.LoadRelease(path)
		if err != nil {
			return nil, err
		}
		return &cfg.Common, nil
	}
	cfg, err := config.LoadServer(path)
	if err != nil {
		return nil, err
	}
	return &cfg.Common, nil
}

// printVerified writes the report for a person.
func (a *app) printVerified(r *verify.Report) error {
	heads := []any{}
	t := term.NewTable(append([]string{"stream", "batches", "numbers", "from", "to"}, checkNames()...)...)
	for _, s := range r.Streams {
		heads = append(heads[:0], s.Stream, term.Count(s.Batches), numbers(s), day(s.From), day(s.Until))
		for _, c := range verify.Checks {
			heads = append(heads, verdictWord(s.Verdicts[c]))
		}
		t.Row(heads...)
	}
	if err := t.Print(a.stdout); err != nil {
		return err
	}
	for _, s := range r.Streams {
		for _, k := range s.Signers {
			a.printf("%s  signed by %s  %s  batches %d to %d\n", s.Stream, k.Principal, k.Fingerprint, k.First, k.Last)
		}
		for _, p := range s.Packages {
			a.printf("%s  newest: %s\n", s.Stream, p)
		}
		for _, n := range s.Notes {
			a.printf("%s  note: %s\n", s.Stream, term.Clean(n))
		}
	}
	for _, f := range r.Faults {
		rule := ""
		if f.Rule != "" {
			rule = " (rule " + f.Rule + ")"
		}
		a.printf("WRONG %s: %s%s: %s\n", term.Clean(f.File), f.Check, rule, term.Clean(f.Text))
	}
	if r.Unnamed > 0 {
		a.printf("and %s more\n", term.Count(r.Unnamed))
	}
	var batches, rows, files, bytes int64
	for _, s := range r.Streams {
		batches, rows, files, bytes = batches+s.Batches, rows+s.Rows, files+s.Files, bytes+s.Bytes
	}
	of := term.Count(rows) + " rows"
	if files > 0 {
		of += ", " + term.Count(files) + " files of packages"
	}
	a.printf("%s streams, %s batches, %s, %s of archives in %s, held against %s\n", term.Count(len(r.Streams)), term.Count(batches), of,
		term.Size(bytes), seconds(r.Seconds), strings.Join(sources(r), ", "))
	if r.Proven() {
		a.printf("nothing is wrong\n")
	}
	return nil
}

func checkNames() []string {
	var names []string
	for _, c := range verify.Checks {
		names = append(names, string(c))
	}
	return names
}

func sources(r *verify.Report) []string {
	var list []string
	for _, s := range r.Trusted {
		list = append(list, s.File)
	}
	return list
}

// verdictWord is how a verdict stands in a table: what is wrong catches the eye.
func verdictWord(v verify.Verdict) string {
	switch v {
	case verify.Wrong:
		return "WRONG"
	case verify.Unchecked:
		return "-"
	}
	return string(v)
}

func numbers(s *verify.Stream) string {
	if s.Last == 0 {
		return "-"
	}
	return fmt.Sprintf("%d-%d", s.First, s.Last)
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format("2006-01-02 15:04")
}
