package main

import (
	"context"
	"time"

	"caisseauto/internal/postgres"
	"caisseauto/internal/term"
)

const (
	// longOpen is from when on an open transaction is worth a word: the
	// server keeps every old version of every row for it.
	longOpen = time.Hour
	// largeJournal is what a journal has that some stream never reads.
	largeJournal = 1 << 30
)

// lookPostgres looks at the ERP's database where that is a server.
func lookPostgres(ctx context.Context, p *patient) {
	c, err := postgres.Examine(ctx, p.common.Database.DSN)
	if err != nil {
		p.wrong("as it says; psql with the connection string of database.dsn tries the same", "database: %v", err)
		return
	}
	p.ok("%s, PostgreSQL %s, as role %s", c.Where, c.Version, c.Role)
	if c.Replica {
		p.wrong("name the primary server in database.dsn; with several hosts there, target_session_attrs=read-write finds it", "%s is a read-only replica: nothing can be sealed or integrated there", c.Where)
	}
	if !c.Fsync {
		p.wrong("ALTER SYSTEM SET fsync = on, and restart the server", "the server runs with fsync = off: a power cut can damage the database, and take back what was signed")
	}
	if c.Ahead.Abs() > apart {
		p.wrong("let systemd-timesyncd or chrony set both clocks", "the database server's clock is %s apart from this machine's", term.Duration(c.Ahead.Abs()))
	}
	if c.OldestTransaction > longOpen {
		p.note("find out whether it was forgotten; SELECT pg_terminate_backend(PID) ends it", "%s has had a transaction open for %s: exports do not wait for it, but its rows do not come, and the server cannot tidy up behind it", c.Oldest, term.Duration(c.OldestTransaction))
	}
	if c.Prepared > 0 {
		p.note("SELECT * FROM pg_prepared_xacts; COMMIT PREPARED or ROLLBACK PREPARED those that were forgotten", "%d prepared transactions wait for their end", c.Prepared)
	}
	if c.JournalBytes > largeJournal {
		p.note("run the export of every dossier in "+p.common.File+", or take a dossier that is no longer exported out of it and out of caisseauto_stream", "the journal has grown to %s (%s entries): some stream does not read it", term.Size(c.JournalBytes), term.Count(c.JournalEntries))
	} else {
		p.ok("journal of %s entries, %s", term.Count(c.JournalEntries), term.Size(c.JournalBytes))
	}
}
