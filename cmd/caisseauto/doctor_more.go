package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"caisseauto/importer"
	"caisseauto/internal/drop"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/sqlite/sqlite3"
	"caisseauto/internal/term"
	"caisseauto/keys"
)

// lookOwnKey looks whether a reader with this list of trusted keys would
// accept what the server signs. The tills' own lists cannot be seen from here.
func lookOwnKey(_ context.Context, p *patient) {
	if p.server == nil {
		return
	}
	signer, err := p.app.signerOf(&p.server.Common)
	if err != nil {
		return // told by lookKeys
	}
	trust, err := keys.LoadTrust(p.common.Trust.AllowedSigners)
	if err != nil {
		return // told too
	}
	principal := p.common.Signing.Principal
	for _, d := range p.server.Dossiers {
		if err := mayReceipt(signer, principal, d.Code, trust.For(d.Code)); err != nil {
			p.wrong("the line for it, there and on the tills: "+keys.AllowedLine([]string{principal}, serverNamespaces, signer.Public(), "")+
				"; where the roots sign who is trusted, the key that the newest version has belongs under [signing]: caisseauto trust show",
				"%s does not accept what %s signs with %s for dossier %s", p.common.Trust.AllowedSigners, principal, p.common.Signing.Key, d.Code)
			return
		}
	}
	p.ok("what %s signs is accepted with %s", principal, p.common.Trust.AllowedSigners)
}

// lookReleaseKey does for a release manager what lookOwnKey does for the
// server.
func lookReleaseKey(_ context.Context, p *patient) {
	signer, err := p.app.signerOf(p.common)
	if err != nil {
		return // told by lookKeys
	}
	trust, err := keys.LoadTrust(p.common.Trust.AllowedSigners)
	if err != nil {
		return // told too
	}
	for _, d := range p.dossiers {
		if err := mayPublish(p.release, signer, trust, d.Code); err != nil {
			p.wrong("where the roots sign who is trusted, on the server: "+grantCommand(p.release)+"; else the line for it, here, at the server and at the tills: "+releaseLine(p.release, signer),
				"%s does not accept packages of %s that %s signs: %v", p.common.Trust.AllowedSigners, d.Code, p.common.Signing.Principal, err)
			return
		}
	}
	p.ok("what %s signs is accepted with %s", p.common.Signing.Principal, p.common.Trust.AllowedSigners)
}

// firstYear is before any release of this program.
var firstYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// apart is how far two clocks that are set right may be from each other.
const apart = 5 * time.Minute

// lookClock holds the time against what must be over: the making of this
// program, and of the newest head that was accepted here.
func lookClock(ctx context.Context, p *patient) {
	newest, _ := p.newestHead(ctx) // what cannot be read is told by lookDatabase
	const remedy = "set the clock, or let systemd-timesyncd or chrony do it"
	switch now := p.now.UTC(); {
	case now.Before(firstYear):
		p.wrong(remedy, "the clock says %s", now.Format(time.DateTime))
	case newest.After(now.Add(apart)):
		p.wrong(remedy+"; if it is right, the clock of the other side is or was wrong",
			"the clock says %s, %s before the newest head that was accepted here was signed", now.Format(time.DateTime), term.Duration(newest.Sub(now)))
	default:
		p.ok("clock %s UTC", now.Format(time.DateTime))
	}
}

// newestHead is when the newest head that was accepted here was signed; zero
// for none.
func (p *patient) newestHead(ctx context.Context) (newest time.Time, err error) {
	err = p.read(ctx, func(db *sqlite3.Conn) error {
		if ok, err := sqlite.Exists(db, "caisseauto_head"); err != nil || !ok {
			return err
		}
		return db.Query("SELECT issued FROM caisseauto_head ORDER BY issued DESC LIMIT 1", func(q *sqlite3.Stmt) error {
			newest, err = time.Parse(time.RFC3339Nano, q.Text(0))
			return err
		})
	})
	return newest, err
}

// read reads from the database and changes nothing in it.
func (p *patient) read(ctx context.Context, work func(*sqlite3.Conn) error) error {
	path, err := p.common.SQLite()
	if err != nil {
		return err
	}
	// Not read-only: a crash of the ERP or the POS may have left a
	// transaction that must be rolled back first.
	db, err := sqlite3.Open(path, sqlite3.ReadWrite)
	if err != nil {
		return err
	}
	defer db.Close()
	defer db.Watch(ctx)()
	db.BusyTimeout(2 * time.Second)
	if err := db.Exec("PRAGMA query_only=ON"); err != nil {
		return err
	}
	return work(db)
}

// mayWrite reports why this account may not write to a file: SQLite opens it
// all the same, to read.
func mayWrite(path string) error {
	if info, err := os.Stat(path); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "open", Path: path, Err: errors.New("not a file")}
	}
	// Nothing of this process has the file open: to close it here would drop
	// the locks that others in the process have (howtocorrupt.html, 2.2).
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// lookOutbox looks for what init makes in a till's database. Without the
// triggers nothing of what is sold waits to be sent.
func lookOutbox(ctx context.Context, p *patient) {
	if p.till == nil {
		return
	}
	st, err := sqlite.ReadStanding(ctx, p.common.Database.DSN, rulesOf(p.till, ""))
	if err != nil {
		return // told by lookInstalled
	}
	ledger := false
	err = p.read(ctx, func(db *sqlite3.Conn) (err error) {
		ledger, err = sqlite.Exists(db, "caisseauto_ledger")
		return err
	})
	switch {
	case err != nil:
		p.wrong("if another program holds the database, try again", "ledger: %v", err)
	case !ledger:
		p.wrong(p.init(), "the database has no ledger yet: the till was not set up")
	default:
		p.ok("the ledger is in place")
	}
	missing, err := sqlite.NewOutbox(p.common.Database.DSN, outboxOptions(p.till, cmp.Or(st.Followed, st.User, given(p.till, st)))).SQL(ctx)
	switch table := p.common.Database.Outbox; {
	case err != nil:
		p.wrong("correct the till's tables as it says; what the server takes stands in its server.toml", "outbox %s: %v", table, err)
	case missing != "":
		p.wrong(p.init()+" (--print-sql shows what it would do)", "outbox %s or its triggers are not as they should be: what is sold meanwhile may not be sent", table)
	default:
		p.ok("outbox %s and its triggers are in place", table)
	}
}

// lookHeads looks at the heads that lie on the drop, of the streams down or on
// a release manager's machine of packages: whether they verify here, and by
// this clock are neither expired nor from tomorrow.
func (p *patient) lookHeads(ctx context.Context, d drop.Drop) {
	trust, err := keys.LoadTrust(p.common.Trust.AllowedSigners)
	if err != nil {
		return // told by lookKeys
	}
	writer, seal := "the server", "export"
	if p.release != nil {
		writer, seal = "the release manager", "publish"
	}
	for _, code := range p.codes(ctx) {
		now, err := followed(ctx, d, trust, code)
		if err != nil {
			continue // told by lookTrustOnDrop
		}
		stream := p.stream(code)
		r, err := remoteHead(ctx, d, stream, now)
		switch {
		case err != nil:
			p.wrong("if it stays so: the files there were changed, or "+p.common.Trust.AllowedSigners+" lacks the key of "+writer, "head of %s on the drop: %v", stream, err)
		case withheld(r.head, now, code) != nil:
			p.wrong("on the server: caisseauto ship; if it is there, somebody keeps it from this machine", "%v", withheld(r.head, now, code))
		case r.head == nil:
			p.note("caisseauto "+seal+", as "+writer, "nothing of %s is on the drop yet", stream)
		case r.head.Issued.After(p.now.Add(apart)):
			p.wrong("set the clock here, or that of "+writer, "the head of %s on the drop was signed %s from now", stream, term.Duration(r.head.Issued.Sub(p.now)))
		case !p.now.Before(r.head.Expires):
			p.wrong("look whether caisseauto "+seal+" runs as "+writer+"; if it does, whether this clock is right", "the head of %s on the drop expired at %s", stream, r.head.Expires.UTC().Format(time.RFC3339))
		default:
			p.ok("the head of %s on the drop names batch %d, signed %s ago", stream, r.head.Sequence, term.Duration(max(0, p.now.Sub(r.head.Issued))))
		}
	}
}

// stream is the stream of a dossier that is looked at on the drop.
func (p *patient) stream(code string) string {
	if p.release != nil {
		return importer.StreamPackages(code)
	}
	return streamDown(code)
}

// lookServer tells what an SFTP server does not offer.
func (p *patient) lookServer(d drop.Drop) {
	server, ok := d.(interface{ Lacks() []string })
	if !ok {
		return // a folder
	}
	list := server.Lacks()
	for _, what := range list {
		p.note("leave it where the server is not yours; OpenSSH's sftp-server offers it", "the drop's server lacks %s", what)
	}
	if len(list) == 0 {
		p.ok("the drop's server offers all that is of use")
	}
}

// lookDrop looks where the drop is, and where that was asked for, whether it
// can be reached.
func lookDrop(ctx context.Context, p *patient) {
	url := p.common.Drop.URL
	switch {
	case url == "":
		p.note(`[drop] with url = "…", unless scripts or a medium carry the files`, "no drop is configured")
		return
	case !p.tryDrop:
		p.ok("drop %s (not tried; --drop does)", url)
		return
	}
	d, err := p.app.openDrop(ctx, p.common)
	if err == nil {
		defer d.Close()
		for _, x := range p.dossiers {
			if _, err = d.List(ctx, p.stream(x.Code)); err != nil {
				break
			}
		}
	}
	switch {
	case err == nil:
		p.ok("drop %s is there", url)
		p.lookServer(d)
		p.lookHeads(ctx, d)
		for _, code := range p.codes(ctx) {
			p.lookTrustOnDrop(ctx, d, code)
		}
	case errors.Is(err, drop.ErrDenied), errors.Is(err, keys.ErrPermission):
		p.wrong("let the drop accept the public key beside "+p.common.Drop.Key+", and compare host_key; tries that are refused may get the address shut out", "drop: %v", err)
	default:
		p.wrong("look at the address, the network and the server; what is sealed waits, and tills go on selling", "drop: %v", err)
	}
}
