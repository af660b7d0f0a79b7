package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"caisseauto/internal/config"
	"caisseauto/internal/retail"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/internal/term"
)

// demoDossier is the company of the demo. Another one shares its server, and
// none of that one's rows may ever leave.
const (
	demoDossier = "ACME"
	demoService = "SYNC" // the account that the tills' processes run under
	demoPrices  = 250    // prices that the demo changes
	maxDemo     = 99     // tills
)

func (a *app) demoCommand() *cobra.Command {
	var dir string
	var tills int
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole exchange on this machine, in seconds",
		Long: `Makes a server with 10,000 articles, an SFTP drop and some tills in one folder,
with real keys and databases: exports, imports, changes prices, exports and
imports again. Each till keeps its own users alone. The last till is added late,
from an empty disk, and starts from a baseline. Then the tills sell 1,000
tickets, one of them without a network, and the tickets travel back, are
integrated, receipted and proven. Before that two releases of a till's software
are published, of which the second does not work and is rolled back. Every row is
compared. All files stay for a look.`,
		Example: `  caisseauto demo
  caisseauto demo --dir /tmp/demo --tills 5`,
		RunE: func(c *cobra.Command, _ []string) error {
			if tills < 1 || tills > maxDemo {
				return &usageError{fmt.Errorf("--tills %d: write a number from 1 to %d", tills, maxDemo)}
			}
			return a.demo(c.Context(), dir, tills)
		},
	}
	c.Flags().StringVar(&dir, "dir", "caisseauto-demo", "`FOLDER` to make; the one of an earlier demo is made anew")
	c.Flags().IntVar(&tills, "tills", 3, "`NUMBER` of tills")
	return c
}

// A demo is one run of it.
type demo struct {
	app   *app
	dir   string
	tills []string // those that are there; the last one comes late
	late  string   // "": none
	port  int
	start time.Time

	serving *serving
}

func (a *app) demo(ctx context.Context, dir string, tills int) error {
	d := &demo{app: a, dir: dir, start: time.Now()}
	for i := range tills {
		d.tills = append(d.tills, fmt.Sprintf("%03d", i+1))
	}
	if tills > 1 {
		d.late = d.tills[tills-1]
	}
	if err := d.folder(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.port = ln.Addr().(*net.TCPAddr).Port
	if err := d.setUp(ctx); err != nil {
		return errors.Join(err, ln.Close())
	}
	if err := d.serveOn(ctx, ln); err != nil {
		return errors.Join(err, ln.Close())
	}
	err = d.play(ctx)
	return errors.Join(err, d.serving.stop())
}

// serveOn runs the SFTP server of server.toml until it is stopped.
func (d *demo) serveOn(ctx context.Context, ln net.Listener) error {
	cfg, err := config.LoadServer(d.server("server.toml"))
	if err != nil {
		return err
	}
	server, err := d.app.sftpServer(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &serving{cancel: cancel, done: make(chan error, 1)}
	go func() { s.done <- errors.Join(server.Serve(ctx, ln), server.Close()) }()
	d.serving = s
	return nil
}

// demoMark marks a folder that a demo made, and may make anew.
const demoMark = ".caisseauto-demo"

// folder makes the demo's folder. One that something else made is refused.
func (d *demo) folder() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(d.dir, demoMark)); err != nil && len(entries) > 0 {
		return &usageError{fmt.Errorf("%s is there, and no demo made it: nothing was touched; name another folder with --dir", d.dir)}
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.dir, demoMark), []byte("made by caisseauto demo; the next one may remove this folder\n"), 0o644)
}

// play is the story.
func (d *demo) play(ctx context.Context) error {
	d.say("server     one database with two companies; only %s is exchanged, %s must never leave", demoDossier, retail.Other().Dossier)
	d.say("trust      version 1 says who the server is, 2 of 3 roots signed it; the server signs the list of tills")
	d.say("drop       SFTP on 127.0.0.1:%d; each till sees its own company's folder and nothing else", d.port)
	if err := d.round(ctx); err != nil {
		return err
	}
	n, err := d.changePrices(ctx)
	if err != nil {
		return err
	}
	d.say("server     %s prices change, one article is new, one goes", term.Count(int64(n)))
	if err := d.round(ctx); err != nil {
		return err
	}
	if err := d.users(ctx); err != nil {
		return err
	}
	if err := d.addLate(ctx); err != nil {
		return err
	}
	if err := d.packages(ctx); err != nil {
		return err
	}
	if err := d.sales(ctx); err != nil {
		return err
	}
	if err := d.table(ctx); err != nil {
		return err
	}
	d.next()
	return nil
}

func (d *demo) say(format string, args ...any) { d.app.printf("  "+format+"\n", args...) }

// round is one export and everybody's import.
func (d *demo) round(ctx context.Context, args ...string) error {
	var sealed []exportResult
	if err := d.cli(ctx, &sealed, append([]string{"export", "--config", d.server("server.toml")}, args...)...); err != nil {
		return err
	}
	for _, r := range sealed {
		d.say("export     batch %d, %s: %s rows of %d tables, %s, signed, in %s", r.Batch, r.Kind, term.Count(r.Rows), len(r.Tables),
			term.Size(r.Bytes), seconds(r.Elapsed))
	}
	for _, number := range d.tills {
		if err := d.importInto(ctx, number); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) importInto(ctx context.Context, number string) error {
	var got importResult
	if err := d.cli(ctx, &got, "import", "--config", d.till(number, "till.toml")); err != nil {
		return err
	}
	for _, b := range got.Batches {
		d.say("till %s   batch %d, %s: %s new, %s changed, %s deleted in one transaction of %s", number, b.Batch, b.Kind,
			term.Count(b.Inserted), term.Count(b.Updated), term.Count(b.Deleted), seconds(b.Locked))
	}
	return nil
}

// cli runs one command line as a user would, and reads its JSON result.
func (d *demo) cli(ctx context.Context, into any, args ...string) error {
	var out, errs bytes.Buffer
	if code := run(ctx, append(args, "--json"), strings.NewReader(""), &out, &errs); code != exitDone {
		return fmt.Errorf("caisseauto %s: exit code %d: %s", strings.Join(args, " "), code, errs.String())
	}
	return json.Unmarshal(out.Bytes(), into)
}

// changePrices is a day at the head office.
func (d *demo) changePrices(ctx context.Context) (n int, err error) {
	c, err := sqlite3.Open(d.server("erp.db"), sqlite3.ReadWrite)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if n, err = retail.ChangePrices(ctx, c, demoDossier, demoPrices, 7); err != nil {
		return 0, err
	}
	return n, c.Exec(`INSERT INTO article (dossier, code, libelle, famille, tva, prix, modifie_le)
		SELECT dossier, 'NOUVEAU-1', 'Crème brûlée x2', famille, tva, 390, '2026-03-02T06:00:00Z' FROM article WHERE dossier = 'ACME' ORDER BY code LIMIT 1;
		PRAGMA foreign_keys = ON;
		DELETE FROM article WHERE dossier = 'ACME' AND code = (SELECT max(code) FROM article WHERE dossier = 'ACME' AND code < 'N')`)
}

func (d *demo) server(name string) string { return filepath.Join(d.dir, "server", name) }

func (d *demo) till(number, name string) string {
	return filepath.Join(d.dir, "till-"+number, name)
}

// next tells where to look.
func (d *demo) next() {
	text := strings.NewReplacer(
		"TIME", seconds(time.Since(d.start).Seconds()),
		"DOWN", filepath.Join(d.dir, "drop", demoDossier, "down"), "UP", filepath.Join(d.dir, "drop", demoDossier, "up", d.tills[0]),
		"SIGNERS", d.server("allowed_signers"), "ERP", d.server("erp.db"), "DROP", filepath.Join(d.dir, "drop"), "DIR", d.dir,
		"SERVER", d.server("server.toml"), "TILL", d.till(d.tills[0], "till.toml"),
		"SOFTWARE", d.till(d.tills[0], "packages/caisse"), "FIRST", d.release("caisse-3.1"), "RELEASE", d.release("release.toml"),
		"CAISSEAUTO", invocation(),
	)
	d.app.printf("%s", text.Replace(`
Every row of every till was compared with the server's, by value. TIME in all.
Look at the files, with nothing but stock tools:

  ls DOWN UP
  tar --zstd -xOf DOWN/0000000002.tar.zst | head
  ssh-keygen -Y verify -f SIGNERS -I server@demo -n manifest@caisseauto \
    -s DOWN/0000000002.manifest.json.sig < DOWN/0000000002.manifest.json

And with this program, by the list of keys that a till was given:

  CAISSEAUTO verify  --signers SIGNERS DROP
  CAISSEAUTO inspect --signers SIGNERS DOWN/0000000002
  CAISSEAUTO find    --signers SIGNERS article code=100001 DROP
  CAISSEAUTO status  --config SERVER --html DIR/status.html

Change something in ERP with sqlite3, then:

  CAISSEAUTO export --config SERVER
  CAISSEAUTO serve  --config SERVER &
  CAISSEAUTO import --config TILL

Sell something at the till with sqlite3, then:

  CAISSEAUTO sync    --config TILL
  CAISSEAUTO collect --config SERVER
  CAISSEAUTO status  --config SERVER

Look at the software of a till, and publish another release:

  ls -l SOFTWARE SOFTWARE/releases
  CAISSEAUTO publish FIRST --config RELEASE --product caisse --version 3.3
  CAISSEAUTO update  --config TILL

Or have all of it run by itself, on either side:

  CAISSEAUTO run     --config SERVER
  CAISSEAUTO doctor  --config TILL
`))
}

// invocation is how the program was called: what "go run" builds is gone when
// it ends.
func invocation() string {
	if strings.Contains(os.Args[0], string(filepath.Separator)+"go-build") {
		return "go run ./cmd/caisseauto"
	}
	return os.Args[0]
}
