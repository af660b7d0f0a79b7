package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/exporter"
	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/drop"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

type syncFlags struct {
	every    time.Duration
	noShip   bool
	newEpoch bool
	reason   string
}

func (a *app) syncCommand() *cobra.Command {
	var f syncFlags
	c := &cobra.Command{
		Use:     "sync",
		Aliases: []string{"synchroniseur"},
		Short:   "Send what waits in the outbox, read receipts, prune what they cover (till)",
		Long: `Reads the server's receipt and prunes what it covers, then seals what waits in
the outbox table (tickets, customers, JET, parameters) into one signed batch and
ships it. Nothing leaves the outbox without a receipt. With --every it stays in
the background: without a network it waits quietly and says so once. Nothing is
sealed while the drop cannot be reached, so that a restored or copied till is
found out before it gives a number out twice; --no-ship seals all the same.`,
		Example: `  caisseauto sync --config till.toml
  caisseauto sync --every 30s`,
		RunE: func(c *cobra.Command, _ []string) error { return a.sync(c.Context(), f) },
	}
	c.Flags().DurationVar(&f.every, "every", 0, "stay in the background and do it so often")
	c.Flags().BoolVar(&f.noShip, "no-ship", false, "seal into the outbox folder only; something else carries the files")
	c.Flags().BoolVar(&f.newEpoch, "new-epoch", false, "operator's decision after a restore: begin a new epoch of the till's stream")
	c.Flags().StringVar(&f.reason, "reason", "", "why, for the record; needed with --new-epoch")
	return c
}

// A synchroniser is what sync works with.
type synchroniser struct {
	app     *app
	cfg     *config.Till
	flags   syncFlags
	dossier string
	stream  string
	box     *sqlite.Outbox
	signer  keys.Signer
	trust   *keys.Trust // whose receipts count
	own     *keys.Trust // our own key: what the server is to accept
}

func (a *app) sync(ctx context.Context, f syncFlags) error {
	if f.newEpoch != (f.reason != "") {
		return &usageError{errors.New("--new-epoch and --reason go together: the decision is recorded with its reason")}
	}
	if f.every < 0 || f.every > 0 && (f.every < time.Second || f.newEpoch) {
		return &usageError{errors.New("--every takes one second or more, and does not go with --new-epoch")}
	}
	s, err := a.openSync(ctx, f)
	if err != nil {
		return err
	}
	if f.every > 0 {
		return s.background(ctx)
	}
	r, err := s.once(ctx)
	if r.done || err == nil {
		if perr := s.print(r); err == nil {
			err = perr
		}
	}
	return err
}

func (a *app) openSync(ctx context.Context, f syncFlags) (*synchroniser, error) {
	cfg, dossier, err := a.tillConfig(ctx)
	if err != nil {
		return nil, err
	}
	trust, err := trustIn(&cfg.Common, dossier)
	if err != nil {
		return nil, err
	}
	signer, err := a.signerOf(&cfg.Common)
	if err != nil {
		return nil, err
	}
	own, err := keys.ParseAllowedSigners("own key", []byte(keys.AllowedLine([]string{cfg.Signing.Principal}, tillNamespaces, signer.Public(), "")+"\n"))
	if err != nil {
		return nil, err
	}
	return &synchroniser{app: a, cfg: cfg, flags: f, dossier: dossier, signer: signer, trust: trust, own: own,
		stream: importer.StreamUp(dossier, cfg.Identity.Number),
		box:    sqlite.NewOutbox(cfg.Database.DSN, outboxOptions(cfg, dossier))}, nil
}

// outboxOptions are the till's outbox as the configuration describes it.
func outboxOptions(cfg *config.Till, dossier string) sqlite.OutboxOptions {
	o := sqlite.OutboxOptions{Table: cfg.Database.Outbox, Dossier: dossier, Till: cfg.Identity.Number}
	if j := cfg.JET; j != nil {
		o.Events = &sqlite.EventConfig{Table: j.Table, Dossier: j.Dossier, Till: j.Till, Number: j.Number, Time: j.Time,
			Code: j.Code, User: j.User, Text: j.Text, Data: j.Data}
	}
	return o
}

// installBox makes what is missing of an outbox, and takes no lock when nothing
// is.
func installBox(ctx context.Context, box *sqlite.Outbox) error {
	missing, err := box.SQL(ctx)
	if err != nil || missing == "" {
		return err
	}
	return box.Install(ctx)
}

// codes are the JET codes of the configuration; without [jet] none is written.
func codes(cfg *config.Till) config.JETCodes {
	if cfg.JET == nil {
		return config.JETCodes{}
	}
	return cfg.JET.Codes
}

// A syncResult is what one synchronisation did, and what sync prints with
// --json.
type syncResult struct {
	Stream   string  `json:"stream"`
	Till     string  `json:"till"`
	Batch    int64   `json:"batch"`
	Epoch    int64   `json:"epoch"`
	Sealed   bool    `json:"sealed"`
	Rows     int64   `json:"rows"`
	Bytes    int64   `json:"bytes"`
	Shipped  int     `json:"files_shipped"`
	Receipt  int64   `json:"receipt"` // batch that the newest receipt names
	Pruned   int64   `json:"pruned"`
	Waiting  int64   `json:"waiting"`
	Elapsed  float64 `json:"seconds"`
	done     bool
	finished bool
}

// once synchronises once.
func (s *synchroniser) once(ctx context.Context) (r syncResult, err error) {
	r = syncResult{Stream: s.stream, Till: s.cfg.Identity.Number}
	start := time.Now()
	if err := installBox(ctx, s.box); err != nil {
		return r, err
	}
	if s.flags.noShip {
		err := s.byHand(ctx, &r)
		r.Elapsed = time.Since(start).Seconds()
		return r, err
	}
	d, err := s.app.openDrop(ctx, &s.cfg.Common)
	if err != nil {
		return r, s.offline(ctx, err)
	}
	defer d.Close()
	var o exporter.Options
	if err := look(ctx, d, s.stream, s.own, &o); err != nil {
		return r, s.offline(ctx, err)
	}
	if err := s.online(ctx); err != nil {
		return r, err
	}
	// A receipt that cannot be believed keeps the rows here; it is no reason
	// to keep the tickets from going up.
	receiptErr := s.receipt(ctx, d, &r)
	if errors.Is(receiptErr, sqlite.ErrForked) {
		if !s.flags.newEpoch {
			return r, errors.Join(receiptErr, s.testify(ctx, d, o, receiptErr))
		}
		receiptErr = nil // that is what the new epoch is for
	}
	o.NewEpoch = s.flags.reason
	if err := s.seal(ctx, o, &r); err != nil {
		if errors.Is(err, exporter.ErrAhead) {
			err = errors.Join(err, s.testify(ctx, d, o, err))
		}
		return r, err
	}
	if err := s.forgive(ctx, stateAlarm); err != nil {
		return r, err
	}
	report, err := s.app.ship(ctx, d, s.cfg.Paths.Outbox, s.stream)
	if err != nil {
		return r, s.offline(ctx, fmt.Errorf("batch %d is sealed, and waits in %s: shipping: %w", r.Batch, s.folder(), err))
	}
	r.Shipped, r.done = report.Files, true
	r.Elapsed = time.Since(start).Seconds()
	return r, errors.Join(s.rest(ctx, &r), receiptErr)
}

// byHand works on the folders alone: something else carries the files, the
// receipt into the inbox too.
func (s *synchroniser) byHand(ctx context.Context, r *syncResult) error {
	inbox, err := openLocal(s.cfg.Paths.Inbox, true)
	if err != nil {
		return err
	}
	defer inbox.Close()
	receiptErr := s.receipt(ctx, inbox, r)
	if errors.Is(receiptErr, sqlite.ErrForked) && !s.flags.newEpoch {
		return receiptErr
	}
	if err := s.seal(ctx, exporter.Options{NewEpoch: s.flags.reason}, r); err != nil {
		return err
	}
	return errors.Join(s.rest(ctx, r), receiptErr)
}

func (s *synchroniser) folder() string { return streamFolder(s.cfg.Paths.Outbox, s.stream) }

func (s *synchroniser) exporter(bar *bar) *exporter.Exporter {
	e := &exporter.Exporter{
		Source: s.box, Stream: s.stream, Outbox: s.folder(),
		Signer: s.signer, Principal: s.cfg.Signing.Principal, Trust: s.own,
		HeadLife: s.cfg.Head.Expires.Duration, Till: s.state, Log: s.app.log(),
	}
	if bar != nil {
		e.Progress = bar.rows
	}
	return e
}

// seal seals what waits.
func (s *synchroniser) seal(ctx context.Context, o exporter.Options, r *syncResult) error {
	bar := s.app.bar("reading rows", false)
	defer bar.close()
	got, err := s.exporter(bar).Run(ctx, o)
	if err != nil {
		return err
	}
	if got.Sealed {
		s.app.event("sealed", s.stream, got.Position.Sequence, got.Elapsed, "rows", got.Rows, "bytes", got.Archive)
	}
	r.Batch, r.Epoch, r.Sealed, r.Rows, r.Bytes = got.Position.Sequence, got.Position.Epoch, got.Sealed, got.Rows, got.Archive
	r.finished = got.Finished
	return nil
}

// receipt reads the server's receipt, and lets the outbox go of what it
// covers. Who may sign one, the newest trust document says.
func (s *synchroniser) receipt(ctx context.Context, d drop.Drop, r *syncResult) error {
	trust, err := s.app.followTrust(ctx, &s.cfg.Common, d, s.dossier, false)
	if trust != nil {
		s.trust = trust
	}
	if err != nil && !errors.Is(err, drop.ErrUnavailable) { // else the next step says so
		err = s.refused(ctx, stateReceipt, err)
	}
	return errors.Join(s.readReceipt(ctx, d, r), err)
}

func (s *synchroniser) readReceipt(ctx context.Context, d drop.Drop, r *syncResult) error {
	name := receiptPath(s.dossier, s.cfg.Identity.Number)
	doc, sig, err := drop.ReadPair(ctx, d, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the server has integrated nothing yet
	}
	if err != nil {
		return err
	}
	receipt, err := importer.OpenReceipt(name, s.stream, doc, sig, s.trust)
	if err != nil {
		return s.refused(ctx, stateReceipt, fmt.Errorf("%w; no row left the outbox", err))
	}
	pruned, err := s.box.Receipt(ctx, receipt)
	if err != nil {
		return s.refused(ctx, stateReceipt, fmt.Errorf("%s: %w", name, err))
	}
	r.Pruned = pruned.Rows
	if err := s.forgive(ctx, stateReceipt); err != nil {
		return err
	}
	last, err := s.box.Received(ctx)
	if err != nil {
		return err
	}
	if last != nil {
		r.Receipt = last.Sequence
	}
	if pruned.Tickets > 0 {
		return s.box.Event(ctx, codes(s.cfg).Purge,
			fmt.Sprintf("%d tickets integrated by the server left the outbox", pruned.Tickets), fmt.Sprintf("batch %d", receipt.Sequence))
	}
	return nil
}

func receiptPath(dossier, till string) string {
	return dossier + "/" + importer.ReceiptFolder + "/" + importer.ReceiptName(till)
}

// rest counts what still waits.
func (s *synchroniser) rest(ctx context.Context, r *syncResult) error {
	r.done = true
	w, err := s.box.Waiting(ctx)
	r.Waiting = w.Rows
	return err
}

// testify lets the head say what stopped this till: the server cannot know
// otherwise that its stream has two writers. No batch is signed.
func (s *synchroniser) testify(ctx context.Context, d drop.Drop, o exporter.Options, cause error) error {
	if err := s.box.SetState(ctx, stateAlarm, cause.Error()); err != nil {
		return err
	}
	if ok, err := s.exporter(nil).Testify(ctx, o); err != nil || !ok {
		return err
	}
	local, err := openLocal(s.cfg.Paths.Outbox, true)
	if err != nil {
		return err
	}
	defer local.Close()
	_, err = drop.MirrorPair(ctx, d, local, headName(s.stream))
	return err
}

func (s *synchroniser) print(r syncResult) error {
	if s.app.json {
		return term.JSON(s.app.stdout, r)
	}
	what, rows, size := "nothing new", "", ""
	if r.Sealed {
		what, rows, size = "sealed", term.Count(r.Rows), term.Size(r.Bytes)
	} else if r.finished {
		what = "finished"
	}
	receipt := "none yet"
	if r.Receipt > 0 {
		receipt = fmt.Sprintf("batch %d", r.Receipt)
	}
	shipped := "not yet"
	if !s.flags.noShip {
		shipped = fmt.Sprintf("%d files", r.Shipped)
	}
	t := term.NewTable("till", "batch", "", "rows", "archive", "shipped", "receipt", "pruned", "waiting", "time")
	t.Row(r.Till, fmt.Sprint(r.Batch), what, rows, size, shipped, receipt, term.Count(r.Pruned), term.Count(r.Waiting), seconds(r.Elapsed))
	return t.Print(s.app.stdout)
}
