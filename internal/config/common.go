package config

import (
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// common checks what all files may hold and fills in its defaults. role is
// also the name of the default key.
func (c *checker) common(m *Common, abs string, role Role) {
	m.File = abs
	if role != RoleRelease {
		c.database(&m.Database, role)
	}
	c.drop(&m.Drop)
	c.path("signing.key", &m.Signing.Key, c.defaultKey(m, role))
	c.path("trust.allowed_signers", &m.Trust.AllowedSigners, "allowed_signers")
	c.path("paths.outbox", &m.Paths.Outbox, "outbox")
	expires := releaseExpires
	if role != RoleRelease {
		c.path("paths.inbox", &m.Paths.Inbox, "inbox")
		c.path("paths.stage", &m.Paths.Stage, "stage")
		expires = 24 * time.Hour
	}
	c.differ(&m.Paths, m.Drop.Folder)
	if m.Head.Expires.Duration == 0 {
		m.Head.Expires.Duration = expires
	}
	if m.Drop.Host != "" && m.Drop.Key == "" && !m.Signing.Agent {
		m.Drop.Key = m.Signing.Key
	}
}

// defaultKey is keys/server, keys/till or keys/release; none with an agent,
// whose only fitting key is then taken.
func (c *checker) defaultKey(m *Common, role Role) string {
	if m.Signing.Agent {
		return ""
	}
	return "keys/" + string(role)
}

// differ refuses one folder for two purposes: what is fetched would be
// shipped again.
func (c *checker) differ(p *Paths, drop string) {
	switch {
	case drop != "" && (drop == p.Outbox || drop == p.Inbox || drop == p.Stage):
		c.fail("drop.url", "write another folder for the drop, or for the one in [paths]", "the drop is one of the program's own working folders")
	case p.Outbox == p.Inbox:
		c.fail("paths.inbox", "write a folder of its own for each", "the same folder as paths.outbox")
	case p.Stage != "" && (p.Stage == p.Outbox || p.Stage == p.Inbox):
		c.fail("paths.stage", "write a folder of its own for each", "the same folder as another one of [paths]")
	}
}

func (c *checker) database(d *Database, role Role) {
	c.oneOf("database.driver", &d.Driver, DriverSQLite, DriverSQLite, DriverPostgres)
	c.name("database.dsn", d.DSN, false)
	switch d.Driver {
	case DriverSQLite:
		c.sqliteDSN(d)
	case DriverPostgres:
		if hasPassword(d.DSN) {
			c.fail("database.dsn", "take it out; PostgreSQL finds it in ~/.pgpass or in the file that PGPASSFILE names", "a password must never stand in a configuration")
		}
	}
	c.name("database.outbox", d.Outbox, false)
	switch {
	case role == RoleTill && d.Outbox == "":
		d.Outbox = "MICPTRACK"
	case role == RoleServer && d.Outbox != "":
		c.fail("database.outbox", "take it out; the folder of sealed batches is outbox in [paths]", "only a till has an outbox table")
	}
}

// sqliteDSN makes the path of the database file absolute, with or without
// "file:" before it.
func (c *checker) sqliteDSN(d *Database) {
	switch {
	case d.DSN == "":
		return
	case d.DSN == ":memory:":
		c.fail("database.dsn", "write the path of the database file", "a database in memory cannot be exchanged")
		return
	case strings.HasPrefix(d.DSN, "postgres:"), strings.HasPrefix(d.DSN, "postgresql:"):
		c.fail("database.dsn", `write driver = "postgres" beside it`, "the address of a PostgreSQL database")
		return
	case strings.HasPrefix(d.DSN, "file:"):
		if strings.Contains(d.DSN, "?") {
			c.fail("database.dsn", "write the path alone; how the file is opened is the program's own business", "options after the path")
			return
		}
		p, err := filePath(d.DSN)
		if err != nil {
			c.fail("database.dsn", "", "%s", err)
			return
		}
		d.DSN = p
	}
	d.DSN = resolve(c.dir, d.DSN)
}

// pgPassword finds a password in the keyword form of a connection string.
var pgPassword = regexp.MustCompile(`(?i)(?:^|[\s?&])(?:password|sslpassword)\s*=`)

func hasPassword(dsn string) bool {
	if u, err := url.Parse(dsn); err == nil && u.User != nil {
		if _, ok := u.User.Password(); ok {
			return true
		}
	}
	return pgPassword.MatchString(dsn)
}

func (c *checker) drop(d *Drop) {
	c.name("drop.url", d.URL, false)
	if d.URL != "" {
		if err := parseDropURL(d, c.dir); err != nil {
			c.fail("drop.url", "", "%s", err)
		}
	}
	var err error
	if d.HostKeys, err = d.HostKey.Parse(); err != nil {
		c.fail("drop.host_key", "", "%s", err)
	}
	if d.Key != "" || c.given("drop.key") {
		c.path("drop.key", &d.Key, "")
	}
	switch {
	case d.Host != "" && len(d.HostKeys) == 0:
		c.fail("drop.host_key", `write host_key = "ssh-ed25519 AAAA…", the server's own key: on the server it is the .pub file of its host key; never take it from the network alone`,
			"missing: without it any machine could pass for the server")
	case d.Local() && (c.given("drop.host_key") || c.given("drop.key")):
		c.fail("drop.url", "take host_key and key out, or write an sftp:// address", "a folder of this machine has no host key and no login")
	}
}

// processes checks the [[process]] tables. may are the actions that belong
// to this file's side.
func (c *checker) processes(ps []Process, may, others []string, side string) {
	seen := map[string]string{}
	for i := range ps {
		p, at := &ps[i], entry("process", i)
		if c.name(at+".name", p.Name, true); p.Name != "" && !processName.MatchString(p.Name) {
			c.fail(at+".name", `write 1 to 64 letters A-Z a-z, digits, ".", "_" or "-"`, "%q has the wrong form", p.Name)
		}
		c.unique(seen, at+".name", p.Name, "process")
		c.action(at+".action", p, may, others, side)
		if p.Every.Duration > 0 && p.Every.Duration < time.Second {
			c.fail(at+".every", `write "1s" or more`, "%s is too often", p.Every)
		}
		if p.Every.Duration > 0 && p.Jitter.Duration > p.Every.Duration {
			c.fail(at+".jitter", "write at most what every says", "%s is longer than the time between two runs", p.Jitter)
		}
		if p.Dossier != "" || c.given(at+".dossier") {
			c.code(at+".dossier", p.Dossier)
		}
	}
}

// processName is what may name a process: it becomes part of unit names.
var processName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// erpNames are what the ERP calls the actions (see the manual's glossary):
// they may be written in place of ours.
var erpNames = map[string]string{
	"extraction": ActionExport, "export_caisseauto": ActionExport,
	"import_caisseauto": ActionImport, "synchroniseur": ActionSync, "import_updatecaisse": ActionUpdate,
}

func (c *checker) action(path string, p *Process, may, others []string, side string) {
	if ours, ok := erpNames[strings.ToLower(p.Action)]; ok {
		p.Action = ours
	}
	for _, o := range others {
		if p.Action == o {
			c.fail(path, "write "+list(may)+" here", "%q does not run on a %s", p.Action, side)
			return
		}
	}
	if p.Action == "" && !c.given(path) {
		c.fail(path, "write "+list(may), "missing")
		return
	}
	c.oneOf(path, &p.Action, "", may...)
}

// folderOf is the folder that relative paths begin at.
func folderOf(abs string) string { return filepath.Dir(abs) }
