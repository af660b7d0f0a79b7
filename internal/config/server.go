package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parseServer reads a server.toml. file is its name in messages, abs its
// absolute path.
func parseServer(file, abs string, data []byte) (*Server, error) {
	s := &Server{}
	x, err := decode(file, data, s)
	if role := roleOf(file, data); role == RoleRelease || err != nil && role == RoleTill {
		return nil, otherRole(file, role, RoleServer, err)
	}
	if err != nil {
		return nil, err
	}
	c := &checker{file: file, dir: folderOf(abs), idx: x}
	c.common(&s.Common, abs, RoleServer)
	c.need("database.dsn", s.Database.DSN, `write the path of the ERP's database, like dsn = "erp.db"`)
	if p := s.Signing.Principal; releasePrincipal.MatchString(p) {
		c.fail("signing.principal", `write "server@NAME" here; a release manager has a file and a key of his own: release.toml, which "caisseauto init release" makes`, "%q is a release manager", p)
	} else if (p != "" || c.given("signing.principal")) && !serverPrincipal.MatchString(p) {
		c.fail("signing.principal", `write "server@NAME" in lower case, with your company's or site's short name`, "%q has the wrong form", p)
	}
	c.dossiers(s.Dossiers, s.Database.Driver)
	c.processes(s.Processes, []string{ActionExport, ActionCollect}, []string{ActionImport, ActionSync, ActionUpdate}, "server")
	c.processDossiers(s)
	c.serve(s)
	if err := c.result(); err != nil {
		return nil, err
	}
	return s, nil
}

// need refuses an empty value.
func (c *checker) need(path, value, hint string) {
	if value == "" {
		c.fail(path, hint, "missing")
	}
}

func (c *checker) dossiers(ds []Dossier, driver string) {
	if len(ds) == 0 {
		c.fail("dossier", `write a table [[dossier]] with code = "…" for each company`, "there is none")
	}
	seen := map[string]string{}
	for i := range ds {
		at := entry("dossier", i)
		c.code(at+".code", ds[i].Code)
		c.unique(seen, at+".code", ds[i].Code, "dossier")
		tables := map[string]string{}
		c.inSchema(at+".schema", ds[i].Schema, driver)
		for j := range ds[i].Tables {
			t, at := &ds[i].Tables[j], entry(at+".table", j)
			c.table(t, at)
			if c.inSchema(at+".schema", t.Schema, driver); t.Schema == "" {
				t.Schema = ds[i].Schema
			}
			if driver == DriverSQLite {
				// SQLite's table names are one whatever their case.
				c.unique(tables, at+".name", t.Name, "table")
			} else if _, there := tables[t.Name]; there {
				c.fail(at+".name", "each may stand once", "table %q is there already", t.Name)
			}
			tables[t.Name] = t.Name
		}
		c.parents(ds[i].Tables, entry("dossier", i), driver)
		c.touches(ds[i].Tables, entry("dossier", i), driver)
		if d := &ds[i]; d.BaselineEvery.Duration > 0 && d.BaselineEvery.Duration < time.Minute {
			c.fail(at+".baseline_every", `write "1m" or more`, "%s is too often for every row of every table", d.BaselineEvery)
		}
	}
}

// inSchema checks the name of a schema, which SQLite has not.
func (c *checker) inSchema(path, name, driver string) {
	c.name(path, name, false)
	if name != "" && driver == DriverSQLite {
		c.fail(path, `take it out, or write driver = "postgres"`, "an SQLite database has no schemas")
	}
}

func (c *checker) table(t *Table, at string) {
	c.name(at+".name", t.Name, true)
	if strings.HasPrefix(strings.ToLower(t.Name), "caisseauto_") || strings.HasPrefix(strings.ToLower(t.Name), "sqlite_") {
		c.fail(at+".name", "take it out", "%q belongs to the program itself or to SQLite", t.Name)
	}
	c.oneOf(at+".direction", &t.Direction, DirectionDown, DirectionDown, DirectionUp, DirectionBoth)
	c.oneOf(at+".capture", &t.Capture, CaptureKey, CaptureKey, CaptureColumns)
	def := ""
	if t.Direction == DirectionBoth {
		def = ConflictNewest
	}
	c.oneOf(at+".conflict", &t.Conflict, def, ConflictNewest, ConflictServer, ConflictTill, ConflictHold)
	if t.Conflict != "" && t.Direction != DirectionBoth {
		c.fail(at+".conflict", `take it out, or write direction = "both"`, "a table that goes %s has no conflicts", t.Direction)
	}
	if t.Append && t.Direction != DirectionUp {
		c.fail(at+".append", `take it out, or write direction = "up"`, "only tables that go up are append-only")
	}
	c.name(at+".dossier_column", t.DossierColumn, false)
	seen := map[string]string{}
	for i, col := range t.Exclude {
		if col == "" || strings.ContainsFunc(col, isControl) {
			c.fail(at+".exclude", "write the columns' names", "entry %d is no name", i+1)
		}
		c.unique(seen, at+".exclude", col, "column")
		if t.DossierColumn != "" && strings.EqualFold(col, t.DossierColumn) {
			c.fail(at+".exclude", "take it out of one of the two", "%q is the dossier column, which must travel", col)
		}
	}
	if c.columns(at+".touches_columns", t.TouchesColumns); len(t.TouchesColumns) > 0 && t.Touches == "" {
		c.fail(at+".touches_columns", `write touches = "…", the table whose key they hold`, "nothing is touched")
	}
	if c.name(at+".touches", t.Touches, false); t.Touches != "" && t.Direction == DirectionUp {
		c.fail(at+".touches", "take it out", "a table that goes up sends nothing down")
	}
	c.upload(t, at)
}

// processDossiers fills in the only dossier where a process names none, and
// refuses a second export process for one dossier.
func (c *checker) processDossiers(s *Server) {
	exports := map[string]string{}
	for i := range s.Processes {
		p, path := &s.Processes[i], entry("process", i)+".dossier"
		if p.Dossier == "" && len(s.Dossiers) == 1 {
			p.Dossier = s.Dossiers[0].Code
		}
		if p.Dossier == "" {
			if p.Action == ActionExport {
				c.fail(path, "write one of "+list(s.codes()), "missing: there is one export process per dossier")
			}
			continue
		}
		if c.hasDossier(s, path, p.Dossier); p.Action != ActionExport {
			continue
		}
		if other, there := exports[p.Dossier]; there {
			c.fail(path, "take one of them out", "dossier %s has the export process %q already, and only one may seal its stream", p.Dossier, other)
		}
		exports[p.Dossier] = p.Name
	}
}

func (c *checker) hasDossier(s *Server, path, code string) {
	if !slices.Contains(s.codes(), code) {
		c.fail(path, "write one of "+list(s.codes())+", in the same case", "there is no dossier %q", code)
	}
}

func (s *Server) codes() []string {
	codes := make([]string, len(s.Dossiers))
	for i := range s.Dossiers {
		codes[i] = s.Dossiers[i].Code
	}
	return codes
}

func (c *checker) serve(s *Server) {
	v := s.Serve
	if v == nil {
		return
	}
	if v.Listen == "" && !c.given("serve.listen") {
		v.Listen = ":2022"
	}
	_, port, err := net.SplitHostPort(v.Listen)
	if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil {
		c.fail("serve.listen", `write an address and a port, like ":2022" or "192.168.1.10:2022"`, "%q is not an address to listen at", v.Listen)
	}
	c.path("serve.host_key", &v.HostKey, "keys/ssh_host")
	if v.Root == "" && !c.given("serve.root") {
		if v.Root = s.Drop.Folder; v.Root == "" {
			c.fail("serve.root", `write root = "drop", or [drop] url = "file:drop"`, "missing: the drop is not a folder of this machine")
		}
	}
	c.path("serve.root", &v.Root, "")
	names, tills, keys := map[string]string{}, map[string]string{}, map[string]string{}
	for i := range v.Users {
		u, at := &v.Users[i], entry("serve.user", i)
		c.serveUser(s, u, at)
		c.unique(names, at+".name", u.Name, "user")
		if u.Till != "" {
			c.unique(tills, at+".till", u.Dossier+"/"+u.Till, "till")
		}
		c.serveKeys(keys, at+".key", u)
	}
}

func (c *checker) serveUser(s *Server, u *ServeUser, at string) {
	if c.name(at+".name", u.Name, true); u.Name != "" && !processName.MatchString(u.Name) {
		c.fail(at+".name", `write 1 to 64 letters A-Z a-z, digits, ".", "_" or "-"`, "%q has the wrong form", u.Name)
	}
	switch {
	case u.Writer && u.Till != "":
		c.fail(at+".writer", "take one of the two out", "a user is a till or the writer, not both")
	case u.Release && (u.Writer || u.Till != ""):
		c.fail(at+".release", "take it out, and give the release manager a user and a key of his own", "a release manager's login is neither a till's nor the writer's")
	case !u.Writer && !u.Release:
		c.code(at+".till", u.Till)
	}
	if u.Dossier != "" || c.given(at+".dossier") || !u.Writer && !u.Release {
		if c.code(at+".dossier", u.Dossier); u.Dossier != "" {
			c.hasDossier(s, at+".dossier", u.Dossier)
		}
	}
}

// serveKeys checks a user's keys. One key for two users is refused: whoever
// has it could choose between the two folders.
func (c *checker) serveKeys(seen map[string]string, path string, u *ServeUser) {
	keys, err := u.Keys.Parse()
	switch {
	case err != nil:
		c.fail(path, "", "%s", err)
	case len(keys) == 0:
		c.fail(path, `write key = "ssh-ed25519 AAAA…", the user's public key`, "missing")
	}
	for _, k := range keys {
		id := string(k.Marshal())
		if other, there := seen[id]; there {
			c.fail(path, "give each user a key of its own", "the key of user %q", other)
		}
		seen[id] = u.Name
	}
}

func entry(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
